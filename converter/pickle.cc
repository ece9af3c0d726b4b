#include "converter/pickle.h"

#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <map>
#include <utility>

#include "converter/pickle_opcodes.h"

namespace lsrt {
namespace {

constexpr size_t kMaxValues = 2u << 20;
constexpr size_t kMaxOpcodes = 32u << 20;
constexpr size_t kMaxStack = 2u << 20;
constexpr size_t kMaxMemo = 2u << 20;
constexpr size_t kMaxGlobalName = 512;  // it is copied at every use
constexpr int kMaxProtocol = 5;

using Ids = std::vector<PickleId>;

class Unpickler {
 public:
  Unpickler(const std::string& path, const uint8_t* data, uint64_t begin, uint64_t end)
      : path_(path), data_(data), position_(begin), end_(end) {}

  Result<Pickle> read() {
    for (size_t count = 0; count < kMaxOpcodes; ++count) {
      opcode_position_ = position_;
      LSRT_ASSIGN(const uint8_t opcode, read_unsigned(1));
      if (opcode == STOP) {
        LSRT_ASSIGN(pickle_.root, pop());
        pickle_.end = position_;
        return std::move(pickle_);
      }
      LSRT_TRY(execute(opcode));
    }
    return error("a pickle of at most 32 Mi opcodes");
  }

 private:
  Status error(const char* expected) const {
    return fail(Error::kCheckpoint, "%s: damaged pickle at byte %llu: expected %s", path_.c_str(),
                static_cast<unsigned long long>(opcode_position_), expected);
  }

  // Reading bytes. Lengths are compared with the bytes left, never added to a position first.

  Result<std::string_view> read_bytes(uint64_t size) {
    if (size > end_ - position_) return error("more bytes: the data ends inside a value");
    const std::string_view bytes(reinterpret_cast<const char*>(data_ + position_), size);
    position_ += size;
    return bytes;
  }

  Result<uint64_t> read_unsigned(int size) {
    LSRT_ASSIGN(const std::string_view bytes, read_bytes(size));
    uint64_t value = 0;
    for (int i = 0; i < size; ++i) value |= static_cast<uint64_t>(static_cast<uint8_t>(bytes[i])) << (8 * i);
    return value;
  }

  Result<std::string_view> read_counted(int length_size) {
    LSRT_ASSIGN(const uint64_t size, read_unsigned(length_size));
    return read_bytes(size);
  }

  Result<std::string_view> read_line() {
    const void* newline = std::memchr(data_ + position_, '\n', end_ - position_);
    if (newline == nullptr) return error("a newline after a text argument");
    LSRT_ASSIGN(const std::string_view line,
                read_bytes(static_cast<const uint8_t*>(newline) - (data_ + position_)));
    ++position_;
    return line;
  }

  // The value stack. Entries below the innermost mark are out of reach, as in CPython.

  Status push(PickleId id) {
    if (stack_.size() >= kMaxStack) return error("a stack of at most 2 Mi values");
    stack_.push_back(id);
    return {};
  }

  Status push_new(PickleValue value) {
    if (pickle_.values.size() >= kMaxValues) return error("at most 2 Mi values");
    pickle_.values.push_back(std::move(value));
    return push(static_cast<PickleId>(pickle_.values.size() - 1));
  }

  Status push_kind(PickleKind kind) {
    PickleValue value;
    value.kind = kind;
    return push_new(std::move(value));
  }

  Status push_integer(PickleKind kind, int64_t integer) {
    PickleValue value;
    value.kind = kind;
    value.integer = integer;
    return push_new(std::move(value));
  }

  Status push_text(PickleKind kind, std::string_view text) {
    PickleValue value;
    value.kind = kind;
    value.text = text;
    return push_new(std::move(value));
  }

  Status push_items(PickleKind kind, Ids items) {
    PickleValue value;
    value.kind = kind;
    value.items = std::move(items);
    return push_new(std::move(value));
  }

  Status push_object(PickleId callable, PickleId args, PickleId state) {
    if (pickle_[args].kind != PickleKind::tuple) return error("a tuple of arguments");
    PickleValue value;
    value.kind = PickleKind::object;
    value.callable = callable;
    value.args = args;
    value.state = state;
    return push_new(std::move(value));
  }

  Result<PickleId> pop() {
    if (stack_.size() <= (marks_.empty() ? 0 : marks_.back())) return error("a value on the stack");
    const PickleId id = stack_.back();
    stack_.pop_back();
    return id;
  }

  Result<Ids> pop_count(size_t count) {
    Ids ids(count);
    for (size_t i = count; i-- > 0;) {
      LSRT_ASSIGN(ids[i], pop());
    }
    return ids;
  }

  Result<Ids> pop_to_mark() {
    if (marks_.empty()) return error("a mark on the stack");
    Ids ids(stack_.begin() + static_cast<ptrdiff_t>(marks_.back()), stack_.end());
    stack_.resize(marks_.back());
    marks_.pop_back();
    return ids;
  }

  // Adding to containers. The container stays on the stack.

  Status extend(PickleId id, const Ids& added, bool mapping) {
    PickleValue& target = pickle_.values[id];
    if (mapping && added.size() % 2 != 0) return error("a value for every key");
    const PickleKind kind = target.kind;
    const bool fits = kind == PickleKind::object ? target.items.empty() || target.is_mapping == mapping
                      : mapping                  ? kind == PickleKind::dict
                                                 : kind == PickleKind::list || kind == PickleKind::set;
    if (!fits) return error(mapping ? "a dictionary to fill" : "a list or set to fill");
    target.is_mapping = mapping && kind == PickleKind::object;
    target.items.insert(target.items.end(), added.begin(), added.end());
    return {};
  }

  Status extend_top(const Ids& added, bool mapping) {
    LSRT_ASSIGN(const PickleId id, pop());
    LSRT_TRY(extend(id, added, mapping));
    return push(id);
  }

  Status build() {
    LSRT_ASSIGN(const Ids ids, pop_count(2));
    PickleValue& target = pickle_.values[ids[0]];
    if (target.kind != PickleKind::object) return error("an object to give a state to");
    target.state = ids[1];
    return push(ids[0]);
  }

  // The memo: values by number, for sharing.

  Status put(uint64_t number) {
    if (memo_.size() >= kMaxMemo) return error("a memo of at most 2 Mi values");
    LSRT_ASSIGN(const PickleId id, pop());
    memo_[number] = id;
    return push(id);
  }

  Status get(uint64_t number) {
    const auto found = memo_.find(number);
    if (found == memo_.end()) return error("a number that was memorised before");
    return push(found->second);
  }

  // Numbers written as text (protocol 0).

  Result<int64_t> parse_integer(std::string_view text) const {
    const std::string digits(text.substr(0, 24));  // bounded: the longest int64 has 20 characters
    char* last = nullptr;
    errno = 0;
    const long long value = std::strtoll(digits.c_str(), &last, 10);
    if (text.empty() || errno != 0 || last != digits.c_str() + text.size()) return error("a decimal integer");
    return value;
  }

  Status push_decimal(std::string_view text) {
    if (text == "00" || text == "01") return push_integer(PickleKind::boolean, text == "01");
    if (!text.empty() && text.back() == 'L') text.remove_suffix(1);
    if (text.size() > 18) return push_text(PickleKind::big_integer, text);
    LSRT_ASSIGN(const int64_t value, parse_integer(text));
    return push_integer(PickleKind::integer, value);
  }

  Status push_real(double real) {
    PickleValue value;
    value.kind = PickleKind::real;
    value.real = real;
    return push_new(std::move(value));
  }

  Status push_decimal_real(std::string_view text) {
    const std::string digits(text.substr(0, 64));
    char* last = nullptr;
    const double value = std::strtod(digits.c_str(), &last);
    if (text.empty() || last != digits.c_str() + text.size()) return error("a decimal number");
    return push_real(value);
  }

  // Little-endian two's complement of any length.
  Status push_long(std::string_view bytes) {
    if (bytes.size() > 8) return push_text(PickleKind::big_integer, bytes);
    uint64_t value = !bytes.empty() && (bytes.back() & 0x80) ? UINT64_MAX : 0;
    for (size_t i = bytes.size(); i-- > 0;) value = value << 8 | static_cast<uint8_t>(bytes[i]);
    return push_integer(PickleKind::integer, static_cast<int64_t>(value));
  }

  // repr() of a Python 2 str, in quotes.
  Status push_quoted(std::string_view text) {
    if (text.size() < 2 || text.front() != text.back() || (text.front() != '\'' && text.front() != '"')) {
      return error("a quoted string");
    }
    return push_unescaped(text.substr(1, text.size() - 2));
  }

  Status push_unescaped(std::string_view text) {
    if (text.find('\\') != std::string_view::npos) return error("a string without escapes");
    return push_text(PickleKind::text, text);
  }

  Status push_global(PickleId module, PickleId name) {
    if (pickle_[module].kind != PickleKind::text || pickle_[name].kind != PickleKind::text) {
      return error("a module and a name, both text");
    }
    if (pickle_[module].text.size() > kMaxGlobalName || pickle_[name].text.size() > kMaxGlobalName) {
      return error("a module and a name of at most 512 bytes");
    }
    return push_items(PickleKind::global, {module, name});
  }

  Status push_global_lines() {
    LSRT_ASSIGN(const std::string_view module, read_line());
    LSRT_ASSIGN(const std::string_view name, read_line());
    LSRT_TRY(push_text(PickleKind::text, module));
    LSRT_TRY(push_text(PickleKind::text, name));
    LSRT_ASSIGN(const Ids ids, pop_count(2));
    return push_global(ids[0], ids[1]);
  }

  // INST: the class as two lines; OBJ: the class as the first value. The other values are the arguments.
  Status push_instance(bool class_in_lines) {
    LSRT_ASSIGN(Ids args, pop_to_mark());
    if (class_in_lines) {
      LSRT_TRY(push_global_lines());
      LSRT_ASSIGN(const PickleId global, pop());
      args.insert(args.begin(), global);
    }
    if (args.empty()) return error("a class to make an instance of");
    const PickleId callable = args[0];
    args.erase(args.begin());
    LSRT_TRY(push_items(PickleKind::tuple, std::move(args)));
    LSRT_ASSIGN(const PickleId tuple, pop());
    return push_object(callable, tuple, kNoValue);
  }

  Status push_tuple(size_t count) {
    LSRT_ASSIGN(Ids items, pop_count(count));
    return push_items(PickleKind::tuple, std::move(items));
  }

  Status push_from_mark(PickleKind kind) {
    LSRT_ASSIGN(Ids items, pop_to_mark());
    if (kind == PickleKind::dict && items.size() % 2 != 0) return error("a value for every key");
    return push_items(kind, std::move(items));
  }

  Status push_counted(PickleKind kind, int length_size) {
    LSRT_ASSIGN(const std::string_view text, read_counted(length_size));
    return push_text(kind, text);
  }

  Status execute(uint8_t opcode) {
    switch (opcode) {
      case PROTO: {
        LSRT_ASSIGN(const uint64_t protocol, read_unsigned(1));
        return protocol <= kMaxProtocol ? Status() : error("pickle protocol 5 or lower");
      }
      case FRAME:
        return read_bytes(8).status();  // the length of a block, of use to streaming readers only
      case MARK:
        if (marks_.size() >= kMaxStack) return error("at most 2 Mi marks");
        marks_.push_back(stack_.size());
        return {};
      case POP:
        if (!marks_.empty() && marks_.back() == stack_.size()) return pop_to_mark().status();
        return pop().status();
      case POP_MARK:
        return pop_to_mark().status();
      case DUP: {
        LSRT_ASSIGN(const PickleId id, pop());
        LSRT_TRY(push(id));
        return push(id);
      }

      case NONE:
        return push_kind(PickleKind::none);
      case NEWTRUE:
      case NEWFALSE:
        return push_integer(PickleKind::boolean, opcode == NEWTRUE);
      case BININT: {
        LSRT_ASSIGN(const uint64_t value, read_unsigned(4));
        return push_integer(PickleKind::integer, static_cast<int32_t>(value));
      }
      case BININT1:
      case BININT2: {
        LSRT_ASSIGN(const uint64_t value, read_unsigned(opcode == BININT1 ? 1 : 2));
        return push_integer(PickleKind::integer, static_cast<int64_t>(value));
      }
      case LONG1:
      case LONG4: {
        LSRT_ASSIGN(const std::string_view bytes, read_counted(opcode == LONG1 ? 1 : 4));
        return push_long(bytes);
      }
      case INT:
      case LONG: {
        LSRT_ASSIGN(const std::string_view line, read_line());
        return push_decimal(line);
      }
      case BINFLOAT: {  // the one big-endian number of the format
        LSRT_ASSIGN(const uint64_t swapped, read_unsigned(8));
        const uint64_t bits = __builtin_bswap64(swapped);
        double value;
        std::memcpy(&value, &bits, sizeof value);
        return push_real(value);
      }
      case FLOAT: {
        LSRT_ASSIGN(const std::string_view line, read_line());
        return push_decimal_real(line);
      }

      case STRING: {
        LSRT_ASSIGN(const std::string_view line, read_line());
        return push_quoted(line);
      }
      case UNICODE: {
        LSRT_ASSIGN(const std::string_view line, read_line());
        return push_unescaped(line);
      }
      case SHORT_BINSTRING:
      case SHORT_BINUNICODE:
        return push_counted(PickleKind::text, 1);
      case BINSTRING:
      case BINUNICODE:
        return push_counted(PickleKind::text, 4);
      case BINUNICODE8:
        return push_counted(PickleKind::text, 8);
      case SHORT_BINBYTES:
        return push_counted(PickleKind::bytes, 1);
      case BINBYTES:
        return push_counted(PickleKind::bytes, 4);
      case BINBYTES8:
      case BYTEARRAY8:
        return push_counted(PickleKind::bytes, 8);

      case EMPTY_LIST:
        return push_kind(PickleKind::list);
      case EMPTY_DICT:
        return push_kind(PickleKind::dict);
      case EMPTY_SET:
        return push_kind(PickleKind::set);
      case EMPTY_TUPLE:
        return push_kind(PickleKind::tuple);
      case TUPLE1:
      case TUPLE2:
      case TUPLE3:
        return push_tuple(opcode - TUPLE1 + 1);
      case TUPLE:
        return push_from_mark(PickleKind::tuple);
      case LIST:
        return push_from_mark(PickleKind::list);
      case DICT:
        return push_from_mark(PickleKind::dict);
      case FROZENSET:
        return push_from_mark(PickleKind::set);
      case APPEND: {
        LSRT_ASSIGN(const Ids added, pop_count(1));
        return extend_top(added, false);
      }
      case SETITEM: {
        LSRT_ASSIGN(const Ids added, pop_count(2));
        return extend_top(added, true);
      }
      case APPENDS:
      case ADDITEMS:
      case SETITEMS: {
        LSRT_ASSIGN(const Ids added, pop_to_mark());
        return extend_top(added, opcode == SETITEMS);
      }

      case GLOBAL:
        return push_global_lines();
      case STACK_GLOBAL: {
        LSRT_ASSIGN(const Ids ids, pop_count(2));
        return push_global(ids[0], ids[1]);
      }
      case REDUCE:
      case NEWOBJ: {
        LSRT_ASSIGN(const Ids ids, pop_count(2));
        return push_object(ids[0], ids[1], kNoValue);
      }
      case NEWOBJ_EX: {  // keyword arguments stand in for the state, which normally follows and replaces them
        LSRT_ASSIGN(const Ids ids, pop_count(3));
        return push_object(ids[0], ids[1], ids[2]);
      }
      case INST:
      case OBJ:
        return push_instance(opcode == INST);
      case BUILD:
        return build();
      case BINPERSID: {
        LSRT_ASSIGN(Ids ids, pop_count(1));
        return push_items(PickleKind::persistent, std::move(ids));
      }
      case PERSID: {
        LSRT_ASSIGN(const std::string_view line, read_line());
        LSRT_TRY(push_text(PickleKind::text, line));
        LSRT_ASSIGN(Ids ids, pop_count(1));
        return push_items(PickleKind::persistent, std::move(ids));
      }

      case PUT:
      case GET: {
        LSRT_ASSIGN(const std::string_view line, read_line());
        LSRT_ASSIGN(const int64_t number, parse_integer(line));
        return opcode == PUT ? put(static_cast<uint64_t>(number)) : get(static_cast<uint64_t>(number));
      }
      case BINPUT:
      case LONG_BINPUT: {
        LSRT_ASSIGN(const uint64_t number, read_unsigned(opcode == BINPUT ? 1 : 4));
        return put(number);
      }
      case BINGET:
      case LONG_BINGET: {
        LSRT_ASSIGN(const uint64_t number, read_unsigned(opcode == BINGET ? 1 : 4));
        return get(number);
      }
      case MEMOIZE:
        return put(memo_.size());
      default:
        return error("a known pickle opcode");
    }
  }

  const std::string& path_;
  const uint8_t* data_;
  uint64_t position_;
  uint64_t end_;
  uint64_t opcode_position_ = 0;
  Pickle pickle_;
  Ids stack_;
  std::vector<size_t> marks_;          // stack heights
  std::map<uint64_t, PickleId> memo_;  // not hashed: the numbers are the file's choice
};

}  // namespace

std::string Pickle::global_name(PickleId id) const {
  if (id == kNoValue || values[id].kind != PickleKind::global) return "";
  const PickleValue& global = values[id];
  return std::string(values[global.items[0]].text) + "." + std::string(values[global.items[1]].text);
}

std::string Pickle::class_name(PickleId id) const {
  return id == kNoValue || values[id].kind != PickleKind::object ? "" : global_name(values[id].callable);
}

Result<Pickle> read_pickle(const std::string& path, const MappedFile& file, uint64_t begin, uint64_t end) {
  return Unpickler(path, file.data(), begin, end).read();
}

}  // namespace lsrt
