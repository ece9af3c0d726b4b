// The directory of a zip file, for archives whose entries are stored and used in place. Nothing is
// decompressed. Every position and size comes from the file and is checked against it; duplicate names are
// refused, since two readers could pick different ones. Zip64 is understood; archives in several parts and
// encryption are not.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <string_view>

#include "base/bytes.h"
#include "base/status.h"
#include "converter/source/tensor_source.h"

namespace lsrt {

struct ZipEntry {
  uint64_t header = 0;  // position of the local header, which precedes the data
  uint64_t packed_size = 0;
  uint64_t size = 0;
  uint16_t flags = 0;
  uint16_t method = 0;  // 0: stored
};

using ZipDirectory = std::map<std::string_view, ZipEntry>;  // names lie in the mapped file

Result<ZipDirectory> read_zip_directory(const Bytes& file);

// Where the bytes of a stored entry lie. Error::kCheckpoint naming the entry when it is compressed, encrypted
// or not inside the file.
Result<ByteRange> locate_zip_entry(const Bytes& file, std::string_view name, const ZipEntry& entry);

}  // namespace lsrt
