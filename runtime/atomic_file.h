// A file that appears whole or not at all: written under a temporary name beside the target, then renamed
// over it. A reader never sees a part of it, and a failed or abandoned write leaves the old target as it was.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>

#include "runtime/status.h"

namespace lsrt {

class AtomicFile {
 public:
  // Starts the temporary file. Error::kFile: no such folder, not permitted, the target exists and is not a
  // regular file (a folder, a device).
  static Result<AtomicFile> open(const std::string& path);

  AtomicFile(AtomicFile&& other) noexcept;
  AtomicFile& operator=(AtomicFile&& other) noexcept;
  ~AtomicFile();  // removes the temporary unless committed

  // Appends. Error::kFile with the system's reason (disk full, ...); the file can then only be dropped.
  Status write(const void* data, size_t size);

  // Replaces bytes that were written. For a number that is only known once the rest is there.
  Status overwrite(uint64_t offset, const void* data, size_t size);

  // Where the bytes are until commit(), to check them before they count.
  const std::string& temporary_path() const { return temporary_; }

  // Brings the bytes to the disk and renames the temporary to the target. Nothing may be written afterwards.
  Status commit();

 private:
  AtomicFile() = default;

  std::string path_;
  std::string temporary_;  // empty once committed or moved from
  int descriptor_ = -1;
};

}  // namespace lsrt
