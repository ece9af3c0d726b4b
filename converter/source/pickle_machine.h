// The machine that a pickle's opcodes drive: a table of values, a stack of them with marks, a memo. Reading
// opcodes and their arguments is pickle.cc's part.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <string_view>
#include <vector>

#include "base/status.h"
#include "converter/source/pickle.h"

namespace lsrt {

class PickleMachine {
 public:
  using Ids = std::vector<PickleId>;

  explicit PickleMachine(const Bytes& file) : file_(file) {}

  // For messages: where the opcode at work begins.
  void set_position(uint64_t position) { position_ = position; }
  Status error(const char* expected) const;

  // Values and the stack. Entries below the innermost mark are out of reach, as in CPython.
  Status push(PickleId id);
  Status push_kind(PickleKind kind);
  Status push_integer(PickleKind kind, int64_t integer);
  Status push_real(double real);
  Status push_text(PickleKind kind, std::string_view text);
  Status push_items(PickleKind kind, Ids items);
  Result<PickleId> pop();
  Result<Ids> pop_count(size_t count);
  Status mark();
  Result<Ids> pop_to_mark();
  Status pop_value_or_mark();
  Status duplicate();

  // Compound values.
  Status push_tuple(size_t count);
  Status push_from_mark(PickleKind kind);
  Status push_persistent();
  Status push_global();                     // module and name are on the stack
  Status push_object(bool with_keywords);   // callable, arguments and perhaps keywords are
  Status push_instance(PickleId callable);  // of protocol 0; kNoValue: the first value above the mark

  // Adding to the container or object below; it stays on the stack.
  Status extend(const Ids& added, bool mapping);
  Status build();

  // The memo: values by number, for sharing.
  Status put(uint64_t number);
  Status put_next() { return put(memo_.size()); }
  Status get(uint64_t number);

  // What stands on top at the end is the root.
  Result<Pickle> finish(uint64_t end);

 private:
  Status push_new(PickleValue value);
  Status push_call(PickleId callable, PickleId args, PickleId state);

  const Bytes& file_;
  uint64_t position_ = 0;
  Pickle pickle_;
  Ids stack_;
  std::vector<size_t> marks_;          // stack heights
  std::map<uint64_t, PickleId> memo_;  // not hashed: the numbers are the file's choice
};

}  // namespace lsrt
