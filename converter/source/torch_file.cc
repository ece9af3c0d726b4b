#include "converter/source/torch_file.h"

#include <algorithm>
#include <utility>
#include <vector>

#include "base/text.h"
#include "converter/source/pickle.h"
#include "converter/source/torch_state.h"
#include "converter/source/torch_tensor.h"
#include "converter/source/zip_archive.h"

namespace lsrt {
namespace {

// The folder that holds data.pkl, with its slash: "archive/".
Result<std::string> find_zip_root(const Bytes& file, const ZipDirectory& directory) {
  constexpr std::string_view kPickle = "data.pkl";
  std::string root;
  for (const auto& [name, entry] : directory) {
    const size_t slash = name.find('/');
    if (slash == std::string_view::npos || name.substr(slash + 1) != kPickle) continue;
    if (!root.empty()) {
      return fail(Error::kCheckpoint,
                  "%s: damaged PyTorch file: data.pkl is in '%s' and in '%s', expected in one folder",
                  file.name.c_str(), printable(root).c_str(), printable(name.substr(0, slash + 1)).c_str());
    }
    root = name.substr(0, slash + 1);
  }
  if (root.empty()) {
    return fail(Error::kCheckpoint,
                "%s: is a zip archive without data.pkl: expected a checkpoint written by torch.save",
                file.name.c_str());
  }
  if (directory.count(root + "constants.pkl") != 0) {
    return fail(Error::kCheckpoint,
                "%s: is a TorchScript archive: expected a checkpoint written by torch.save",
                file.name.c_str());
  }
  return root;
}

// Optional; PyTorch 2.1 and later write it.
Status check_byte_order(const Bytes& file, const ZipDirectory& directory, const std::string& root) {
  const std::string name = root + "byteorder";
  const auto found = directory.find(name);
  if (found == directory.end()) return {};
  LSRT_ASSIGN(const ByteRange range, locate_zip_entry(file, name, found->second));
  const std::string_view order(reinterpret_cast<const char*>(file.data + range.begin), range.size);
  if (order == "little") return {};
  return fail(Error::kCheckpoint, "%s: byte order '%s': expected 'little'", file.name.c_str(),
              printable(order).c_str());
}

// Entries that overlap have contents that two readers may take differently.
Status check_apart(const Bytes& file, std::vector<ByteRange> entries) {
  std::sort(entries.begin(), entries.end(),
            [](const ByteRange& a, const ByteRange& b) { return a.begin < b.begin; });
  uint64_t end = 0;
  for (const ByteRange& entry : entries) {
    if (entry.begin < end) {
      return fail(Error::kCheckpoint,
                  "%s: damaged zip archive at byte %llu: expected entries that do not overlap",
                  file.name.c_str(), static_cast<unsigned long long>(entry.begin));
    }
    end = entry.begin + entry.size;
  }
  return {};
}

// The sizes of the storages that a pickle refers to, by key, as its references state them.
Result<std::map<std::string_view, TorchStorage>> find_storages(const Bytes& file, const Pickle& pickle) {
  std::map<std::string_view, TorchStorage> found;
  for (PickleId id = 0; id < pickle.values.size(); ++id) {
    const std::optional<TorchStorage> storage = find_torch_storage(pickle, id);
    if (!storage) continue;
    const auto [place, is_new] = found.emplace(storage->key, *storage);
    if (!is_new && (place->second.type.size != storage->type.size || place->second.count != storage->count)) {
      return fail(Error::kCheckpoint, "%s: storage '%s' has two sizes", file.name.c_str(),
                  printable(storage->key).c_str());
    }
  }
  return found;
}

class LegacyReader {
 public:
  explicit LegacyReader(const Bytes& file) : file_(file) {}

  Result<SourceContents> read() {
    LSRT_TRY(check_magic());
    LSRT_TRY(check_version());
    LSRT_TRY(check_machine());
    LSRT_ASSIGN(Pickle object, next_pickle());
    LSRT_ASSIGN(const Pickle keys, next_pickle());
    LSRT_ASSIGN(const TorchStorages storages, place_storages(object, keys));
    SourceContents contents;
    contents.format = "pytorch-legacy";
    LSRT_TRY(read_torch_state(file_, std::move(object), storages, &contents));
    return contents;
  }

 private:
  Status error(const char* expected) const {
    return fail(Error::kCheckpoint, "%s: damaged PyTorch file at byte %llu: expected %s", file_.name.c_str(),
                static_cast<unsigned long long>(position_), expected);
  }

  Result<Pickle> next_pickle() {
    LSRT_ASSIGN(Pickle pickle, read_pickle(file_, position_, file_.size));
    position_ = pickle.end;
    return pickle;
  }

  Status check_magic() {
    constexpr std::string_view kMagic("\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19", 10);
    LSRT_ASSIGN(const Pickle magic, next_pickle());
    const PickleValue& root = magic[magic.root];
    if (root.kind == PickleKind::big_integer && root.text == kMagic) return {};
    return fail(Error::kCheckpoint,
                "%s: is a pickle, but not one of torch.save: expected its magic number first",
                file_.name.c_str());
  }

  Status check_version() {
    LSRT_ASSIGN(const Pickle version, next_pickle());
    const PickleValue& root = version[version.root];
    if (root.kind == PickleKind::integer && root.integer == 1001) return {};
    return error("protocol version 1001");
  }

  Status check_machine() {
    LSRT_ASSIGN(const Pickle machine, next_pickle());
    LSRT_ASSIGN(const nlohmann::json facts, pickle_to_json(file_, machine, machine.root));
    if (facts.is_object() && facts.value("little_endian", nlohmann::json()) == true) return {};
    return error("a file from a little-endian machine");
  }

  // The storages follow each other without a table of positions: each size leads to the next.
  Result<TorchStorages> place_storages(const Pickle& object, const Pickle& keys) {
    LSRT_ASSIGN(const auto referenced, find_storages(file_, object));
    const PickleValue& list = keys[keys.root];
    if (list.kind != PickleKind::list) return error("a list of storage keys");
    TorchStorages storages;
    for (const PickleId id : list.items) {
      const auto storage = referenced.find(keys[id].text);
      if (storage == referenced.end() || storage->second.type.size == 0)
        return error("a storage of a known type");
      const uint64_t left = file_.size - position_;
      if (left < 8) return error("the size of a storage");
      uint64_t count = 0;
      for (int i = 8; i-- > 0;) count = count << 8 | file_.data[position_ + i];
      if (count != storage->second.count) return error("a storage of the size that the pickle states");
      if (count > (left - 8) / storage->second.type.size) return error("a storage that ends inside the file");
      const ByteRange range{position_ + 8, count * storage->second.type.size};
      if (!storages.emplace(storage->first, range).second) return error("each storage once");
      position_ = range.begin + range.size;
    }
    return storages;
  }

  const Bytes& file_;
  uint64_t position_ = 0;
};

}  // namespace

Result<SourceContents> read_torch_zip(const Bytes& file) {
  LSRT_ASSIGN(const ZipDirectory directory, read_zip_directory(file));
  LSRT_ASSIGN(const std::string root, find_zip_root(file, directory));
  LSRT_TRY(check_byte_order(file, directory, root));

  std::vector<ByteRange> used;  // with their headers
  const auto locate = [&](std::string_view name) -> Result<ByteRange> {
    const ZipEntry& entry = directory.find(name)->second;
    LSRT_ASSIGN(const ByteRange range, locate_zip_entry(file, name, entry));
    used.push_back({entry.header, range.begin + range.size - entry.header});
    return range;
  };
  LSRT_ASSIGN(const ByteRange range, locate(root + "data.pkl"));
  const std::string folder = root + "data/";
  TorchStorages storages;
  for (auto entry = directory.lower_bound(folder); entry != directory.end(); ++entry) {
    const std::string_view name = entry->first;
    if (name.substr(0, folder.size()) != folder) break;
    LSRT_ASSIGN(const ByteRange storage, locate(name));
    storages.emplace(name.substr(folder.size()), storage);
  }
  LSRT_TRY(check_apart(file, std::move(used)));
  LSRT_ASSIGN(Pickle pickle, read_pickle(file, range.begin, range.begin + range.size));
  SourceContents contents;
  contents.format = "pytorch-zip";
  LSRT_TRY(read_torch_state(file, std::move(pickle), storages, &contents));
  return contents;
}

Result<SourceContents> read_torch_legacy(const Bytes& file) { return LegacyReader(file).read(); }

}  // namespace lsrt
