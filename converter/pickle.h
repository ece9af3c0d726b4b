// An inert unpickler: reads a Python pickle (protocols 0 to 5) into a table of plain values. It never imports
// and never calls anything. Where Python would call a class or function, the table gets an `object` that
// records what would have been called with which arguments, and the reader of the table gives meaning to the
// few it knows.
//
// Values refer to each other by index, so that shared and cyclic values, which pickles may hold, cost nothing
// and need no recursion. Whoever walks the table must bound its depth and its work: a cycle never ends, and a
// small pickle can describe a tree of exponential size.
//
// Limits, against files made to exhaust the reader: 2 Mi values, 32 Mi opcodes, a stack of 2 Mi entries.
// Not supported (Error::kCheckpoint): extension registry codes, out-of-band buffers, escapes in protocol 0
// strings.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "runtime/mapped_file.h"
#include "runtime/status.h"

namespace lsrt {

using PickleId = uint32_t;  // index of a value
constexpr PickleId kNoValue = UINT32_MAX;

enum class PickleKind : uint8_t {
  none,
  boolean,      // integer: 0 or 1
  integer,      // integer
  big_integer,  // text: over 8 bytes, little-endian two's complement (or decimal digits, from protocol 0)
  real,         // real
  text,         // text: meant to be UTF-8, not checked
  bytes,        // text
  list,         // items
  tuple,        // items
  set,          // items
  dict,         // items: key, value, key, value, ...; repeated keys are kept, the last one counts
  global,       // items: module, name (both text)
  object,       // callable(args), then state and items; see below
  persistent,   // items: the one value that identifies something outside the pickle
};

struct PickleValue {
  PickleKind kind = PickleKind::none;
  bool is_mapping = false;       // object: items are keys and values, as in dict
  PickleId callable = kNoValue;  // object: the class or function
  PickleId args = kNoValue;      // object: its arguments, a tuple
  PickleId state = kNoValue;     // object: what __setstate__ or __dict__ would have received
  int64_t integer = 0;
  double real = 0;
  std::string_view text;  // into the mapped file
  std::vector<PickleId> items;
};

struct Pickle {
  std::vector<PickleValue> values;
  PickleId root = kNoValue;
  uint64_t end = 0;  // position in the file after the STOP opcode

  const PickleValue& operator[](PickleId id) const { return values[id]; }

  // "module.name" of a global, else "".
  std::string global_name(PickleId id) const;

  // "module.name" of the callable of an object, else "".
  std::string class_name(PickleId id) const;
};

// Reads one pickle from bytes [begin, end) of the file. Error::kCheckpoint with path and position in the
// file.
Result<Pickle> read_pickle(const std::string& path, const MappedFile& file, uint64_t begin, uint64_t end);

}  // namespace lsrt
