// Bytes in memory and what to call them: what readers take, so that a mapped file, a buffer of an application
// and a fuzzer's input are the same to them. Nothing is owned.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

namespace lsrt {

struct Bytes {
  std::string name;  // a path or what stands for one, for messages
  const uint8_t* data = nullptr;
  size_t size = 0;

  std::string_view text() const { return {reinterpret_cast<const char*>(data), size}; }
};

}  // namespace lsrt
