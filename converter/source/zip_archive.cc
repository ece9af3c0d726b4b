#include "converter/source/zip_archive.h"

#include <algorithm>

#include "base/text.h"

namespace lsrt {
namespace {

// Record layouts: PKWARE APPNOTE.TXT 6.3, sections 4.3.7, 4.3.12, 4.3.14 to 4.3.16 and 4.5.3.
constexpr uint64_t kLocalSize = 30;
constexpr uint64_t kEntrySize = 46;
constexpr uint64_t kEndSize = 22;
constexpr uint64_t kEnd64LocatorSize = 20;
constexpr uint64_t kEnd64Size = 56;
constexpr uint64_t kMaxComment = 0xFFFF;
constexpr uint64_t kIn64 = 0xFFFFFFFF;  // a 32-bit field whose value is in a zip64 record
constexpr uint16_t kEncrypted = 1;

struct DirectoryPlace {
  uint64_t offset = 0;
  uint64_t size = 0;
  uint64_t count = 0;
};

class DirectoryReader {
 public:
  explicit DirectoryReader(const Bytes& file) : file_(file), data_(file.data), size_(file.size) {}

  Result<ZipDirectory> read() {
    LSRT_ASSIGN(const DirectoryPlace place, find_directory());
    ZipDirectory directory;
    uint64_t position = place.offset;
    const uint64_t end = place.offset + place.size;
    for (uint64_t i = 0; i < place.count; ++i) LSRT_TRY(read_entry(&position, end, &directory));
    return directory;
  }

  Result<ByteRange> locate(std::string_view name, const ZipEntry& entry) const {
    const std::string shown = printable(name);
    if (entry.flags & kEncrypted) {
      return fail(Error::kCheckpoint, "%s: entry '%s' is encrypted", file_.name.c_str(), shown.c_str());
    }
    if (entry.method != 0 || entry.packed_size != entry.size) {
      return fail(Error::kCheckpoint,
                  "%s: entry '%s' is compressed (method %u): expected it stored, as torch.save does",
                  file_.name.c_str(), shown.c_str(), entry.method);
    }
    const uint64_t header = entry.header;
    if (!fits(header, kLocalSize) || number(header, 4) != 0x04034B50) {
      return error(header, "the local header of an entry");
    }
    const uint64_t name_size = number(header + 26, 2);
    const uint64_t data = header + kLocalSize + name_size + number(header + 28, 2);
    if (!fits(header + kLocalSize, name_size) || text(header + kLocalSize, name_size) != name) {
      return error(header, "the same entry name as in the directory");
    }
    if (!fits(data, entry.size)) return error(header, "an entry that ends inside the file");
    return ByteRange{data, entry.size};
  }

 private:
  Status error(uint64_t position, const char* expected) const {
    return fail(Error::kCheckpoint, "%s: damaged zip archive at byte %llu: expected %s", file_.name.c_str(),
                static_cast<unsigned long long>(position), expected);
  }

  bool fits(uint64_t position, uint64_t size) const { return size <= size_ && position <= size_ - size; }

  std::string_view text(uint64_t position, uint64_t size) const {
    return {reinterpret_cast<const char*>(data_ + position), size};
  }

  // Little-endian; the caller has checked that it fits.
  uint64_t number(uint64_t position, int size) const {
    uint64_t value = 0;
    for (int i = size; i-- > 0;) value = value << 8 | data_[position + i];
    return value;
  }

  // The end record is last in the file, followed only by a comment whose length it states.
  Result<uint64_t> find_end() const {
    const uint64_t furthest = std::min(size_, kEndSize + kMaxComment);
    for (uint64_t back = kEndSize; back <= furthest; ++back) {
      const uint64_t position = size_ - back;
      if (number(position, 4) == 0x06054B50 && number(position + 20, 2) == back - kEndSize) return position;
    }
    return fail(Error::kCheckpoint,
                "%s: the zip archive has no end record: expected one in the last 64 KiB of its %llu bytes; "
                "the file is probably cut short",
                file_.name.c_str(), static_cast<unsigned long long>(size_));
  }

  Result<DirectoryPlace> find_directory() const {
    LSRT_ASSIGN(const uint64_t end, find_end());
    DirectoryPlace place{number(end + 16, 4), number(end + 12, 4), number(end + 10, 2)};
    uint64_t disk = number(end + 4, 2);
    uint64_t limit = end;
    if (end >= kEnd64LocatorSize && number(end - kEnd64LocatorSize, 4) == 0x07064B50) {
      const uint64_t end64 = number(end - kEnd64LocatorSize + 8, 8);
      if (!fits(end64, kEnd64Size) || number(end64, 4) != 0x06064B50) {
        return error(end - kEnd64LocatorSize, "the position of a zip64 end record");
      }
      place = {number(end64 + 48, 8), number(end64 + 40, 8), number(end64 + 32, 8)};
      disk = number(end64 + 16, 4);
      limit = end64;
    }
    if (disk != 0) return error(end, "an archive in one part");
    if (place.size > limit || place.offset > limit - place.size) {
      return error(end, "a directory before the end record");
    }
    return place;
  }

  Status read_entry(uint64_t* position, uint64_t end, ZipDirectory* directory) const {
    const uint64_t at = *position;
    if (end - at < kEntrySize || number(at, 4) != 0x02014B50) return error(at, "a directory entry");
    const uint64_t name_size = number(at + 28, 2);
    const uint64_t extra_size = number(at + 30, 2);
    const uint64_t comment_size = number(at + 32, 2);
    if (name_size + extra_size + comment_size > end - at - kEntrySize) {
      return error(at, "an entry that ends inside the directory");
    }
    ZipEntry entry;
    entry.flags = static_cast<uint16_t>(number(at + 8, 2));
    entry.method = static_cast<uint16_t>(number(at + 10, 2));
    entry.packed_size = number(at + 20, 4);
    entry.size = number(at + 24, 4);
    entry.header = number(at + 42, 4);
    LSRT_TRY(read_zip64_extra(at + kEntrySize + name_size, extra_size, &entry));
    const std::string_view name = text(at + kEntrySize, name_size);
    if (!directory->emplace(name, entry).second) {
      return fail(Error::kCheckpoint, "%s: damaged zip archive at byte %llu: entry '%s' appears twice",
                  file_.name.c_str(), static_cast<unsigned long long>(at), printable(name).c_str());
    }
    *position = at + kEntrySize + name_size + extra_size + comment_size;
    return {};
  }

  // Replaces the fields that did not fit 32 bits; the extra field lists exactly those, in this order.
  Status read_zip64_extra(uint64_t position, uint64_t size, ZipEntry* entry) const {
    uint64_t* fields[] = {&entry->size, &entry->packed_size, &entry->header};
    const auto is_wide = [](const uint64_t* field) { return *field == kIn64; };
    if (std::none_of(std::begin(fields), std::end(fields), is_wide)) return {};
    while (size >= 4) {
      const uint64_t id = number(position, 2);
      uint64_t left = number(position + 2, 2);
      position += 4;
      size -= 4;
      if (left > size) break;
      if (id != 1) {
        position += left;
        size -= left;
        continue;
      }
      for (uint64_t* field : fields) {
        if (!is_wide(field)) continue;
        if (left < 8) return error(position, "a 64-bit size or position");
        *field = number(position, 8);
        position += 8;
        left -= 8;
      }
      return {};
    }
    return error(position, "a zip64 extra field");
  }

  const Bytes& file_;
  const uint8_t* data_;
  uint64_t size_;
};

}  // namespace

Result<ZipDirectory> read_zip_directory(const Bytes& file) { return DirectoryReader(file).read(); }

Result<ByteRange> locate_zip_entry(const Bytes& file, std::string_view name, const ZipEntry& entry) {
  return DirectoryReader(file).locate(name, entry);
}

}  // namespace lsrt
