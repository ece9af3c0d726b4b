// A whole file mapped into memory, read-only. Pages are loaded on first use and can be dropped by the system,
// so that a large file costs address space and not memory. The file must not be shortened while it is mapped:
// reading past its new end kills the process (SIGBUS), as with any mapping.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>

#include "base/status.h"

namespace lsrt {

// A regular file that is not empty, open for reading.
class OpenFile {
 public:
  // Error::kFile, naming the path: missing, not permitted, not a regular file, empty.
  static Result<OpenFile> open(const std::string& path);

  OpenFile(OpenFile&& other) noexcept;
  OpenFile& operator=(OpenFile&& other) noexcept;
  ~OpenFile();

  int descriptor() const { return descriptor_; }
  size_t size() const { return size_; }  // when it was opened
  // Copies bytes [offset, offset + size) of the file. Error::kFile, naming the path: the system's reason, or
  // that the file was shortened meanwhile.
  Status read(size_t offset, void* to, size_t size) const;

 private:
  explicit OpenFile(int descriptor) : descriptor_(descriptor) {}
  int descriptor_;
  size_t size_ = 0;
  std::string path_;
};

// Bytes of a mapped file take no memory until they are used again, and are then read again.
void forget_mapped(const void* data, size_t size);

class MappedFile {
 public:
  // Errors as OpenFile::open().
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
