// A whole file mapped into memory, read-only. Pages are loaded on first use and can be dropped by the system,
// so that a large file costs address space and not memory. The file must not be shortened while it is mapped:
// reading past its new end kills the process (SIGBUS), as with any mapping.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>

#include "runtime/status.h"

namespace lsrt {

class MappedFile {
 public:
  // Error::kFile, naming the path: missing, not permitted, not a regular file, empty.
  static Result<MappedFile> open(const std::string& path);

  MappedFile() = default;
  MappedFile(MappedFile&& other) noexcept;
  MappedFile& operator=(MappedFile&& other) noexcept;
  ~MappedFile();

  const uint8_t* data() const { return data_; }
  size_t size() const { return size_; }  // bytes, over 0 after open()

 private:
  const uint8_t* data_ = nullptr;
  size_t size_ = 0;
};

}  // namespace lsrt
