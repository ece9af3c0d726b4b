#include "converter/torch_file.h"

#include <utility>

#include "converter/pickle.h"
#include "converter/source_text.h"
#include "converter/torch_state.h"
#include "converter/torch_tensor.h"
#include "converter/zip_archive.h"

namespace lsrt {
namespace {

// The folder that holds data.pkl, with its slash: "archive/".
Result<std::string> find_zip_root(const std::string& path, const ZipDirectory& directory) {
  constexpr std::string_view kPickle = "data.pkl";
  for (const auto& [name, entry] : directory) {
    const size_t slash = name.find('/');
    if (slash == std::string_view::npos || name.substr(slash + 1) != kPickle) continue;
    std::string root(name.substr(0, slash + 1));
    if (directory.count(root + "constants.pkl") != 0) {
      return fail(Error::kCheckpoint,
                  "%s: is a TorchScript archive: expected a checkpoint written by torch.save", path.c_str());
    }
    return root;
  }
  return fail(Error::kCheckpoint,
              "%s: is a zip archive without data.pkl: expected a checkpoint written by torch.save",
              path.c_str());
}

// Optional; PyTorch 2.1 and later write it.
Status check_byte_order(const std::string& path, const MappedFile& file, const ZipDirectory& directory,
                        const std::string& root) {
  const std::string name = root + "byteorder";
  const auto found = directory.find(name);
  if (found == directory.end()) return {};
  LSRT_ASSIGN(const ByteRange range, locate_zip_entry(path, file, name, found->second));
  const std::string_view order(reinterpret_cast<const char*>(file.data() + range.begin), range.size);
  if (order == "little") return {};
  return fail(Error::kCheckpoint, "%s: byte order '%s': expected 'little'", path.c_str(),
              printable(order).c_str());
}

// The sizes of the storages that a pickle refers to, by key, as its references state them.
Result<std::map<std::string_view, TorchStorage>> find_storages(const std::string& path,
                                                               const Pickle& pickle) {
  std::map<std::string_view, TorchStorage> found;
  for (PickleId id = 0; id < pickle.values.size(); ++id) {
    const std::optional<TorchStorage> storage = find_torch_storage(pickle, id);
    if (!storage) continue;
    const auto [place, is_new] = found.emplace(storage->key, *storage);
    if (!is_new && (place->second.type.size != storage->type.size || place->second.count != storage->count)) {
      return fail(Error::kCheckpoint, "%s: storage '%s' has two sizes", path.c_str(),
                  printable(storage->key).c_str());
    }
  }
  return found;
}

class LegacyReader {
 public:
  LegacyReader(const std::string& path, const MappedFile& file) : path_(path), file_(file) {}

  Result<SourceContents> read() {
    LSRT_TRY(check_magic());
    LSRT_TRY(check_version());
    LSRT_TRY(check_machine());
    LSRT_ASSIGN(Pickle object, next_pickle());
    LSRT_ASSIGN(const Pickle keys, next_pickle());
    LSRT_ASSIGN(const TorchStorages storages, place_storages(object, keys));
    SourceContents contents;
    contents.format = "pytorch-legacy";
    LSRT_TRY(read_torch_state(path_, file_.size(), std::move(object), storages, &contents));
    return contents;
  }

 private:
  Status error(const char* expected) const {
    return fail(Error::kCheckpoint, "%s: damaged PyTorch file at byte %llu: expected %s", path_.c_str(),
                static_cast<unsigned long long>(position_), expected);
  }

  Result<Pickle> next_pickle() {
    LSRT_ASSIGN(Pickle pickle, read_pickle(path_, file_, position_, file_.size()));
    position_ = pickle.end;
    return pickle;
  }

  Status check_magic() {
    constexpr std::string_view kMagic("\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19", 10);
    LSRT_ASSIGN(const Pickle magic, next_pickle());
    const PickleValue& root = magic[magic.root];
    if (root.kind == PickleKind::big_integer && root.text == kMagic) return {};
    return fail(Error::kCheckpoint,
                "%s: is a pickle, but not one of torch.save: expected its magic number first", path_.c_str());
  }

  Status check_version() {
    LSRT_ASSIGN(const Pickle version, next_pickle());
    const PickleValue& root = version[version.root];
    if (root.kind == PickleKind::integer && root.integer == 1001) return {};
    return error("protocol version 1001");
  }

  Status check_machine() {
    LSRT_ASSIGN(const Pickle machine, next_pickle());
    LSRT_ASSIGN(const nlohmann::json facts, pickle_to_json(path_, machine, machine.root));
    if (facts.is_object() && facts.value("little_endian", nlohmann::json()) == true) return {};
    return error("a file from a little-endian machine");
  }

  // The storages follow each other without a table of positions: each size leads to the next.
  Result<TorchStorages> place_storages(const Pickle& object, const Pickle& keys) {
    LSRT_ASSIGN(const auto referenced, find_storages(path_, object));
    const PickleValue& list = keys[keys.root];
    if (list.kind != PickleKind::list) return error("a list of storage keys");
    TorchStorages storages;
    for (const PickleId id : list.items) {
      const auto storage = referenced.find(keys[id].text);
      if (storage == referenced.end() || storage->second.type.size == 0)
        return error("a storage of a known type");
      const uint64_t left = file_.size() - position_;
      if (left < 8) return error("the size of a storage");
      uint64_t count = 0;
      for (int i = 8; i-- > 0;) count = count << 8 | file_.data()[position_ + i];
      if (count != storage->second.count) return error("a storage of the size that the pickle states");
      if (count > (left - 8) / storage->second.type.size) return error("a storage that ends inside the file");
      const ByteRange range{position_ + 8, count * storage->second.type.size};
      if (!storages.emplace(storage->first, range).second) return error("each storage once");
      position_ = range.begin + range.size;
    }
    return storages;
  }

  const std::string& path_;
  const MappedFile& file_;
  uint64_t position_ = 0;
};

}  // namespace

Result<SourceContents> read_torch_zip(const std::string& path, const MappedFile& file) {
  LSRT_ASSIGN(const ZipDirectory directory, read_zip_directory(path, file));
  LSRT_ASSIGN(const std::string root, find_zip_root(path, directory));
  LSRT_TRY(check_byte_order(path, file, directory, root));

  const std::string pickle_name = root + "data.pkl";
  LSRT_ASSIGN(const ByteRange range, locate_zip_entry(path, file, pickle_name, directory.at(pickle_name)));
  LSRT_ASSIGN(Pickle pickle, read_pickle(path, file, range.begin, range.begin + range.size));

  const std::string folder = root + "data/";
  TorchStorages storages;
  for (auto entry = directory.lower_bound(folder); entry != directory.end(); ++entry) {
    const std::string_view name = entry->first;
    if (name.substr(0, folder.size()) != folder) break;
    LSRT_ASSIGN(const ByteRange storage, locate_zip_entry(path, file, name, entry->second));
    storages.emplace(name.substr(folder.size()), storage);
  }
  SourceContents contents;
  contents.format = "pytorch-zip";
  LSRT_TRY(read_torch_state(path, file.size(), std::move(pickle), storages, &contents));
  return contents;
}

Result<SourceContents> read_torch_legacy(const std::string& path, const MappedFile& file) {
  return LegacyReader(path, file).read();
}

}  // namespace lsrt
