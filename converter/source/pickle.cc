#include "converter/source/pickle.h"

#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <utility>

#include "converter/source/pickle_machine.h"
#include "converter/source/pickle_opcodes.h"

namespace lsrt {
namespace {

constexpr size_t kMaxOpcodes = 32u << 20;
constexpr int kMaxProtocol = 5;

using Ids = PickleMachine::Ids;

// Reads opcodes and their arguments, and has the machine carry them out.
class Unpickler {
 public:
  Unpickler(const Bytes& file, uint64_t begin, uint64_t end)
      : data_(file.data), position_(begin), end_(end), machine_(file) {}

  Result<Pickle> read() {
    for (size_t count = 0; count < kMaxOpcodes; ++count) {
      machine_.set_position(position_);
      LSRT_ASSIGN(const uint8_t opcode, read_unsigned(1));
      if (opcode == STOP) return machine_.finish(position_);
      LSRT_TRY(execute(opcode));
    }
    return machine_.error("a pickle of at most 32 Mi opcodes");
  }

 private:
  // Bytes. Lengths are compared with the bytes left, never added to a position first.

  Result<std::string_view> read_bytes(uint64_t size) {
    if (size > end_ - position_) return machine_.error("more bytes: the data ends inside a value");
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
    if (!newline) return machine_.error("a newline after a text argument");
    LSRT_ASSIGN(const std::string_view line,
                read_bytes(static_cast<const uint8_t*>(newline) - (data_ + position_)));
    ++position_;
    return line;
  }

  // Numbers written as text (protocol 0).

  Result<int64_t> parse_integer(std::string_view text) const {
    const std::string digits(text.substr(0, 24));  // bounded: the longest int64 has 20 characters
    char* last = nullptr;
    errno = 0;
    const long long value = std::strtoll(digits.c_str(), &last, 10);
    if (text.empty() || errno != 0 || last != digits.c_str() + text.size())
      return machine_.error("a decimal integer");
    return value;
  }

  Status push_decimal(std::string_view text) {
    if (text == "00" || text == "01") return machine_.push_integer(PickleKind::boolean, text == "01");
    if (!text.empty() && text.back() == 'L') text.remove_suffix(1);
    if (text.size() > 18) return machine_.push_text(PickleKind::big_integer, text);
    LSRT_ASSIGN(const int64_t value, parse_integer(text));
    return machine_.push_integer(PickleKind::integer, value);
  }

  Status push_decimal_real(std::string_view text) {
    const std::string digits(text.substr(0, 64));
    char* last = nullptr;
    const double value = std::strtod(digits.c_str(), &last);
    if (text.empty() || last != digits.c_str() + text.size()) return machine_.error("a decimal number");
    return machine_.push_real(value);
  }

  // Little-endian two's complement of any length.
  Status push_long(std::string_view bytes) {
    if (bytes.size() > 8) return machine_.push_text(PickleKind::big_integer, bytes);
    uint64_t value = !bytes.empty() && (bytes.back() & 0x80) ? UINT64_MAX : 0;
    for (size_t i = bytes.size(); i-- > 0;) value = value << 8 | static_cast<uint8_t>(bytes[i]);
    return machine_.push_integer(PickleKind::integer, static_cast<int64_t>(value));
  }

  // repr() of a Python 2 str, in quotes.
  Status push_quoted(std::string_view text) {
    if (text.size() < 2 || text.front() != text.back() || (text.front() != '\'' && text.front() != '"')) {
      return machine_.error("a quoted string");
    }
    return push_unescaped(text.substr(1, text.size() - 2));
  }

  Status push_unescaped(std::string_view text) {
    if (text.find('\\') != std::string_view::npos) return machine_.error("a string without escapes");
    return machine_.push_text(PickleKind::text, text);
  }

  Status push_global_lines() {
    for (int part = 0; part < 2; ++part) {  // module, name
      LSRT_ASSIGN(const std::string_view line, read_line());
      LSRT_TRY(machine_.push_text(PickleKind::text, line));
    }
    return machine_.push_global();
  }

  // The class as two lines; the values above the mark are the arguments.
  Status push_instance() {
    LSRT_ASSIGN(Ids args, machine_.pop_to_mark());
    LSRT_TRY(push_global_lines());
    LSRT_ASSIGN(const PickleId callable, machine_.pop());
    LSRT_TRY(machine_.mark());
    for (const PickleId id : args) LSRT_TRY(machine_.push(id));
    return machine_.push_instance(callable);
  }

  Status push_counted(PickleKind kind, int length_size) {
    LSRT_ASSIGN(const std::string_view text, read_counted(length_size));
    return machine_.push_text(kind, text);
  }

  Status execute(uint8_t opcode) {
    switch (opcode) {
      case PROTO: {
        LSRT_ASSIGN(const uint64_t protocol, read_unsigned(1));
        return protocol <= kMaxProtocol ? Status() : machine_.error("pickle protocol 5 or lower");
      }
      case FRAME:
        return read_bytes(8).status();  // the length of a block, of use to streaming readers only
      case MARK:
        return machine_.mark();
      case POP:
        return machine_.pop_value_or_mark();
      case POP_MARK:
        return machine_.pop_to_mark().status();
      case DUP:
        return machine_.duplicate();

      case NONE:
        return machine_.push_kind(PickleKind::none);
      case NEWTRUE:
      case NEWFALSE:
        return machine_.push_integer(PickleKind::boolean, opcode == NEWTRUE);
      case BININT: {
        LSRT_ASSIGN(const uint64_t value, read_unsigned(4));
        return machine_.push_integer(PickleKind::integer, static_cast<int32_t>(value));
      }
      case BININT1:
      case BININT2: {
        LSRT_ASSIGN(const uint64_t value, read_unsigned(opcode == BININT1 ? 1 : 2));
        return machine_.push_integer(PickleKind::integer, static_cast<int64_t>(value));
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
        return machine_.push_real(value);
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
        return machine_.push_kind(PickleKind::list);
      case EMPTY_DICT:
        return machine_.push_kind(PickleKind::dict);
      case EMPTY_SET:
        return machine_.push_kind(PickleKind::set);
      case EMPTY_TUPLE:
        return machine_.push_kind(PickleKind::tuple);
      case TUPLE1:
      case TUPLE2:
      case TUPLE3:
        return machine_.push_tuple(opcode - TUPLE1 + 1);
      case TUPLE:
        return machine_.push_from_mark(PickleKind::tuple);
      case LIST:
        return machine_.push_from_mark(PickleKind::list);
      case DICT:
        return machine_.push_from_mark(PickleKind::dict);
      case FROZENSET:
        return machine_.push_from_mark(PickleKind::set);
      case APPEND: {
        LSRT_ASSIGN(const Ids added, machine_.pop_count(1));
        return machine_.extend(added, false);
      }
      case SETITEM: {
        LSRT_ASSIGN(const Ids added, machine_.pop_count(2));
        return machine_.extend(added, true);
      }
      case APPENDS:
      case ADDITEMS:
      case SETITEMS: {
        LSRT_ASSIGN(const Ids added, machine_.pop_to_mark());
        return machine_.extend(added, opcode == SETITEMS);
      }

      case GLOBAL:
        return push_global_lines();
      case STACK_GLOBAL:
        return machine_.push_global();
      case REDUCE:
      case NEWOBJ:
      case NEWOBJ_EX:
        return machine_.push_object(opcode == NEWOBJ_EX);
      case INST:
        return push_instance();
      case OBJ:
        return machine_.push_instance(kNoValue);
      case BUILD:
        return machine_.build();
      case BINPERSID:
        return machine_.push_persistent();
      case PERSID: {
        LSRT_ASSIGN(const std::string_view line, read_line());
        LSRT_TRY(machine_.push_text(PickleKind::text, line));
        return machine_.push_persistent();
      }

      case PUT:
      case GET: {
        LSRT_ASSIGN(const std::string_view line, read_line());
        LSRT_ASSIGN(const int64_t number, parse_integer(line));
        const auto index = static_cast<uint64_t>(number);
        return opcode == PUT ? machine_.put(index) : machine_.get(index);
      }
      case BINPUT:
      case LONG_BINPUT: {
        LSRT_ASSIGN(const uint64_t number, read_unsigned(opcode == BINPUT ? 1 : 4));
        return machine_.put(number);
      }
      case BINGET:
      case LONG_BINGET: {
        LSRT_ASSIGN(const uint64_t number, read_unsigned(opcode == BINGET ? 1 : 4));
        return machine_.get(number);
      }
      case MEMOIZE:
        return machine_.put_next();
      default:
        return machine_.error("a known pickle opcode");
    }
  }

  const uint8_t* data_;
  uint64_t position_;
  uint64_t end_;
  PickleMachine machine_;
};

}  // namespace

bool PickleName::operator==(std::string_view full) const {
  return *this && full.size() == size() && full.substr(0, module.size()) == module &&
         full[module.size()] == '.' && full.substr(module.size() + 1) == name;
}

bool PickleName::in_package(std::string_view package) const {
  return module.substr(0, package.size()) == package &&
         (module.size() == package.size() || module[package.size()] == '.');
}

std::string PickleName::text() const { return *this ? std::string(module) + "." + std::string(name) : ""; }

PickleName Pickle::global_name(PickleId id) const {
  if (id == kNoValue || values[id].kind != PickleKind::global) return {};
  const PickleValue& global = values[id];
  return {values[global.items[0]].text, values[global.items[1]].text};
}

PickleName Pickle::class_name(PickleId id) const {
  if (id == kNoValue || values[id].kind != PickleKind::object) return {};
  return global_name(values[id].callable);
}

Result<Pickle> read_pickle(const Bytes& file, uint64_t begin, uint64_t end) {
  return Unpickler(file, begin, end).read();
}

}  // namespace lsrt
