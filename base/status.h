// Errors as values. Every fallible function returns Status or Result<T>; nothing throws, prints or aborts.
#pragma once

#include <cstdarg>
#include <cstdint>
#include <cstdio>
#include <string>
#include <type_traits>
#include <utility>
#include <variant>

namespace lsrt {

// Values are part of the C ABI (lsrt_status in lsrt.h): groups with gaps, never renumbered.
enum class Error : uint32_t {
  kOk = 0x00,
  kArgument = 0x10,     // a parameter is out of range or inconsistent
  kUnsupported = 0x11,  // valid, but this build or machine cannot do it
  kFile = 0x20,         // a file cannot be opened, read or written
  kModel = 0x21,        // a model file is damaged or breaks the format
  kVersion = 0x22,      // a model file needs a newer (or has an abandoned) format version
  kMemory = 0x30,       // an allocation failed or a given buffer is too small
  kDevice = 0x40,       // a backend's device failed
  kCheckpoint = 0x50,   // a source checkpoint is damaged, incomplete or of an unknown family
  kCancelled = 0x60,    // the caller asked to stop
};

class [[nodiscard]] Status {
 public:
  Status() = default;
  Status(Error code, std::string message) : code_(code), message_(std::move(message)) {}
  bool ok() const { return code_ == Error::kOk; }
  Error code() const { return code_; }
  const std::string& message() const { return message_; }

 private:
  Error code_ = Error::kOk;
  std::string message_;
};

// printf-style construction: fail(Error::kModel, "%s: tensor %zu ...", path, i).
[[gnu::format(printf, 2, 3)]] inline Status fail(Error code, const char* format, ...) {
  char text[1024];
  va_list args;
  va_start(args, format);
  std::vsnprintf(text, sizeof text, format, args);
  va_end(args);
  return Status(code, text);
}

// A value or the Status that explains its absence.
template <typename T>
class [[nodiscard]] Result {
 public:
  Result(T value) : value_(std::move(value)) {}
  Result(Status status) : value_(std::move(status)) {}
  bool ok() const { return value_.index() == 0; }
  T& value() { return std::get<0>(value_); }
  const T& value() const { return std::get<0>(value_); }
  T take() { return std::move(std::get<0>(value_)); }
  Status status() const { return ok() ? Status() : std::get<1>(value_); }

 private:
  static_assert(!std::is_same_v<T, Status>, "return Status itself");
  std::variant<T, Status> value_;
};

}  // namespace lsrt

#define LSRT_CONCAT_(a, b) a##b
#define LSRT_CONCAT(a, b) LSRT_CONCAT_(a, b)

// LSRT_TRY(expression returning Status): returns it from the enclosing function if it is an error.
#define LSRT_TRY(expression)                     \
  do {                                           \
    ::lsrt::Status lsrt_status_ = (expression);  \
    if (!lsrt_status_.ok()) return lsrt_status_; \
  } while (0)

// LSRT_ASSIGN(declaration, expression returning Result<T>): unwraps the value or returns the error.
#define LSRT_ASSIGN(declaration, expression) \
  LSRT_ASSIGN_(LSRT_CONCAT(lsrt_result_, __COUNTER__), declaration, expression)
#define LSRT_ASSIGN_(name, declaration, expression) \
  auto name = (expression);                         \
  if (!name.ok()) return name.status();             \
  declaration = name.take()
