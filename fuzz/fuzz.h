// What the fuzz targets share. A target is one file, <name>_fuzz.cc, which defines LLVMFuzzerTestOneInput()
// for bytes of anybody's choice, and holds a property by require(). It runs in two ways: under libFuzzer (the
// fuzz preset), and in every test run over the files in fuzz/corpus/<name> (replay.cc).
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>

extern "C" {
int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size);
// Of libFuzzer, for mutators of our own.
size_t LLVMFuzzerMutate(uint8_t* data, size_t size, size_t most);
size_t LLVMFuzzerCustomMutator(uint8_t* data, size_t size, size_t most, unsigned seed);
}

namespace lsrt_fuzz {

// A finding, which the fuzzer keeps as it keeps a crash.
inline void require(bool holds, const char* what) {
  if (holds) return;
  std::fprintf(stderr, "the fuzzed code broke a promise: %s\n", what);
  std::abort();
}

// Numbers off the front of an input; zeros when it is used up.
class Front {
 public:
  Front(const uint8_t* data, size_t size) : data_(data), size_(size) {}

  template <typename T>
  T take() {
    T value = 0;
    const size_t n = size_ < sizeof value ? size_ : sizeof value;
    if (n > 0) std::memcpy(&value, data_, n);
    data_ += n, size_ -= n;
    return value;
  }
  const uint8_t* data() const { return data_; }
  size_t size() const { return size_; }

 private:
  const uint8_t* data_;
  size_t size_;
};

}  // namespace lsrt_fuzz
