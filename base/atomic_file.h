// A file that appears whole or not at all. Its bytes go into a file without a name (O_TMPFILE), so that a
// killed process leaves nothing behind; where the file system has none, into one of a random name beside the
// target. Once they are on the disk they get a name and replace the target. A reader never sees a part of it,
// and a failed or abandoned write leaves the old target as it was.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>

#include "base/status.h"

namespace lsrt {

class AtomicFile {
 public:
  enum class Temporary { kUnnamed, kNamed };  // kNamed: what file systems without unnamed files get anyway

  // Starts the file. A target that is a symbolic link stays one: the file that it names is replaced. The
  // result has the old file's permissions, a new one those that the umask asks for. Error::kFile: no such
  // folder, not permitted, the target exists and is not a regular file (a folder, a device).
  static Result<AtomicFile> open(const std::string& path, Temporary temporary = Temporary::kUnnamed);

  AtomicFile(AtomicFile&& other) noexcept;
  AtomicFile& operator=(AtomicFile&& other) noexcept;
  ~AtomicFile();  // nothing is left unless committed

  // Appends. Error::kFile with the system's reason (disk full, ...); the file can then only be dropped.
  Status write(const void* data, size_t size);

  // Replaces bytes that were written. For a number that is only known once the rest is there.
  Status overwrite(uint64_t offset, const void* data, size_t size);

  // Where this process can open the bytes until commit(), to check them before they count.
  std::string temporary_path() const;

  // Brings the bytes to the disk and puts them in the target's place. Nothing may be written afterwards.
  Status commit();

 private:
  AtomicFile() = default;
  Status give_name();  // to an unnamed file: temporary_

  std::string path_;       // as given, for messages
  std::string target_;     // where the links end
  std::string temporary_;  // empty: the file has no name
  int descriptor_ = -1;
};

}  // namespace lsrt
