#include "converter/source/pickle_machine.h"

#include <utility>

namespace lsrt {
namespace {

constexpr size_t kMaxValues = 2u << 20;
constexpr size_t kMaxStack = 2u << 20;
constexpr size_t kMaxMemo = 2u << 20;
constexpr size_t kMaxGlobalName = 512;

}  // namespace

Status PickleMachine::error(const char* expected) const {
  return fail(Error::kCheckpoint, "%s: damaged pickle at byte %llu: expected %s", file_.name.c_str(),
              static_cast<unsigned long long>(position_), expected);
}

Status PickleMachine::push(PickleId id) {
  if (stack_.size() >= kMaxStack) return error("a stack of at most 2 Mi values");
  stack_.push_back(id);
  return {};
}

Status PickleMachine::push_new(PickleValue value) {
  if (pickle_.values.size() >= kMaxValues) return error("at most 2 Mi values");
  pickle_.values.push_back(std::move(value));
  return push(static_cast<PickleId>(pickle_.values.size() - 1));
}

Status PickleMachine::push_kind(PickleKind kind) {
  PickleValue value;
  value.kind = kind;
  return push_new(std::move(value));
}

Status PickleMachine::push_integer(PickleKind kind, int64_t integer) {
  PickleValue value;
  value.kind = kind;
  value.integer = integer;
  return push_new(std::move(value));
}

Status PickleMachine::push_real(double real) {
  PickleValue value;
  value.kind = PickleKind::real;
  value.real = real;
  return push_new(std::move(value));
}

Status PickleMachine::push_text(PickleKind kind, std::string_view text) {
  PickleValue value;
  value.kind = kind;
  value.text = text;
  return push_new(std::move(value));
}

Status PickleMachine::push_items(PickleKind kind, Ids items) {
  PickleValue value;
  value.kind = kind;
  value.items = std::move(items);
  return push_new(std::move(value));
}

Result<PickleId> PickleMachine::pop() {
  if (stack_.size() <= (marks_.empty() ? 0 : marks_.back())) return error("a value on the stack");
  const PickleId id = stack_.back();
  stack_.pop_back();
  return id;
}

Result<PickleMachine::Ids> PickleMachine::pop_count(size_t count) {
  Ids ids(count);
  for (size_t i = count; i-- > 0;) {
    LSRT_ASSIGN(ids[i], pop());
  }
  return ids;
}

Status PickleMachine::mark() {
  if (marks_.size() >= kMaxStack) return error("at most 2 Mi marks");
  marks_.push_back(stack_.size());
  return {};
}

Result<PickleMachine::Ids> PickleMachine::pop_to_mark() {
  if (marks_.empty()) return error("a mark on the stack");
  Ids ids(stack_.begin() + static_cast<ptrdiff_t>(marks_.back()), stack_.end());
  stack_.resize(marks_.back());
  marks_.pop_back();
  return ids;
}

Status PickleMachine::pop_value_or_mark() {
  if (!marks_.empty() && marks_.back() == stack_.size()) return pop_to_mark().status();
  return pop().status();
}

Status PickleMachine::duplicate() {
  LSRT_ASSIGN(const PickleId id, pop());
  LSRT_TRY(push(id));
  return push(id);
}

Status PickleMachine::push_tuple(size_t count) {
  LSRT_ASSIGN(Ids items, pop_count(count));
  return push_items(PickleKind::tuple, std::move(items));
}

Status PickleMachine::push_from_mark(PickleKind kind) {
  LSRT_ASSIGN(Ids items, pop_to_mark());
  if (kind == PickleKind::dict && items.size() % 2 != 0) return error("a value for every key");
  return push_items(kind, std::move(items));
}

Status PickleMachine::push_persistent() {
  LSRT_ASSIGN(Ids ids, pop_count(1));
  return push_items(PickleKind::persistent, std::move(ids));
}

Status PickleMachine::push_global() {
  LSRT_ASSIGN(Ids ids, pop_count(2));
  const PickleValue &module = pickle_[ids[0]], &name = pickle_[ids[1]];
  if (module.kind != PickleKind::text || name.kind != PickleKind::text) {
    return error("a module and a name, both text");
  }
  if (module.text.size() > kMaxGlobalName || name.text.size() > kMaxGlobalName) {
    return error("a module and a name of at most 512 bytes");
  }
  return push_items(PickleKind::global, std::move(ids));
}

Status PickleMachine::push_call(PickleId callable, PickleId args, PickleId state) {
  if (pickle_[args].kind != PickleKind::tuple) return error("a tuple of arguments");
  PickleValue value;
  value.kind = PickleKind::object;
  value.callable = callable;
  value.args = args;
  value.state = state;
  return push_new(std::move(value));
}

Status PickleMachine::push_object(bool with_keywords) {
  LSRT_ASSIGN(const Ids ids, pop_count(with_keywords ? 3 : 2));
  // Keyword arguments stand in for the state, which normally follows and replaces them.
  return push_call(ids[0], ids[1], with_keywords ? ids[2] : kNoValue);
}

Status PickleMachine::push_instance(PickleId callable) {
  LSRT_ASSIGN(Ids args, pop_to_mark());
  if (callable == kNoValue) {
    if (args.empty()) return error("a class to make an instance of");
    callable = args[0];
    args.erase(args.begin());
  }
  LSRT_TRY(push_items(PickleKind::tuple, std::move(args)));
  LSRT_ASSIGN(const PickleId tuple, pop());
  return push_call(callable, tuple, kNoValue);
}

Status PickleMachine::extend(const Ids& added, bool mapping) {
  LSRT_ASSIGN(const PickleId id, pop());
  PickleValue& target = pickle_.values[id];
  if (mapping && added.size() % 2 != 0) return error("a value for every key");
  const PickleKind kind = target.kind;
  const bool fits = kind == PickleKind::object ? target.items.empty() || target.is_mapping == mapping
                    : mapping                  ? kind == PickleKind::dict
                                               : kind == PickleKind::list || kind == PickleKind::set;
  if (!fits) return error(mapping ? "a dictionary to fill" : "a list or set to fill");
  target.is_mapping = mapping && kind == PickleKind::object;
  target.items.insert(target.items.end(), added.begin(), added.end());
  return push(id);
}

Status PickleMachine::build() {
  LSRT_ASSIGN(const Ids ids, pop_count(2));
  PickleValue& target = pickle_.values[ids[0]];
  if (target.kind != PickleKind::object) return error("an object to give a state to");
  target.state = ids[1];
  return push(ids[0]);
}

Status PickleMachine::put(uint64_t number) {
  if (memo_.size() >= kMaxMemo) return error("a memo of at most 2 Mi values");
  LSRT_ASSIGN(const PickleId id, pop());
  memo_[number] = id;
  return push(id);
}

Status PickleMachine::get(uint64_t number) {
  const auto found = memo_.find(number);
  if (found == memo_.end()) return error("a number that was memorised before");
  return push(found->second);
}

Result<Pickle> PickleMachine::finish(uint64_t end) {
  LSRT_ASSIGN(pickle_.root, pop());
  pickle_.end = end;
  return std::move(pickle_);
}

}  // namespace lsrt
