// An inert unpickler: reads a Python pickle (protocols 0 to 5) into a table of plain values. It never imports
// and never calls anything. Where Python would call a class or function, the table gets an `object` that
// records what would have been called with which arguments, and the reader of the table gives meaning to the
// few it knows.
//
// Values refer to each other by index, so that shared and cyclic values, which pickles may hold, cost nothing
// and need no recursion. Whoever walks the table must bound its depth and its work: a cycle never ends, and a
// small pickle can describe a tree of exponential size. The same holds for text: it lies in the file and is
// shared, so copies must be counted.
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

#include "base/bytes.h"
#include "base/status.h"

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
  std::string_view text;  // into the file
  std::vector<PickleId> items;
};

// A class or function. Its two parts are compared where they lie.
struct PickleName {
  std::string_view module, name;  // into the file; both null: none

  explicit operator bool() const { return name.data() != nullptr; }
  bool operator==(std::string_view full) const;  // "module.name"
  bool operator!=(std::string_view full) const { return !(*this == full); }
  bool in_package(std::string_view package) const;  // its module is the package or lies in it
  size_t size() const { return module.size() + 1 + name.size(); }
  std::string text() const;  // "module.name", size() bytes; "": none
};

struct Pickle {
  std::vector<PickleValue> values;
  PickleId root = kNoValue;
  uint64_t end = 0;  // position in the file after the STOP opcode

  const PickleValue& operator[](PickleId id) const { return values[id]; }

  PickleName global_name(PickleId id) const;  // none if it is no global
  PickleName class_name(PickleId id) const;   // of the callable of an object; none if it is no object
};

// Reads one pickle from bytes [begin, end) of the file. Error::kCheckpoint with its name and the position.
Result<Pickle> read_pickle(const Bytes& file, uint64_t begin, uint64_t end);

}  // namespace lsrt
