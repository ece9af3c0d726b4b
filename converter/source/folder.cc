#include "converter/source/folder.h"

#include <filesystem>
#include <set>
#include <string_view>

#include "base/mapped_file.h"
#include "base/text.h"
#include "converter/source/json_text.h"

namespace lsrt {
namespace {

using nlohmann::json;

constexpr char kConfig[] = "config.json";
constexpr char kWhole[] = "model.safetensors";
constexpr char kIndex[] = "model.safetensors.index.json";
constexpr char kTorch[] = "pytorch_model.bin";
constexpr size_t kMaxShards = 1024;  // each stays mapped

// Python writes numbers that JSON has no word for; they become texts.
std::string quote_words(std::string_view text) {
  std::string out;
  bool quoted = false;
  for (size_t i = 0; i < text.size(); ++i) {
    const std::string_view rest = text.substr(i);
    if (quoted && rest[0] == '\\' && rest.size() > 1) {
      out += rest.substr(0, 2), ++i;
      continue;
    }
    if (rest[0] == '"') quoted = !quoted;
    std::string_view word;
    for (std::string_view known : {"-Infinity", "Infinity", "NaN"}) {
      if (!quoted && word.empty() && rest.substr(0, known.size()) == known) word = known;
    }
    if (word.empty()) {
      out += rest[0];
    } else {
      out += '"', out += word, out += '"';
      i += word.size() - 1;
    }
  }
  return out;
}

Result<json> read_object(const std::string& path) {
  LSRT_ASSIGN(const MappedFile file, MappedFile::open(path));
  constexpr JsonLimits kLimits{32, 1u << 20};
  std::string problem;
  json object =
      parse_json(quote_words({reinterpret_cast<const char*>(file.data()), file.size()}), kLimits, &problem);
  if (problem.empty() && !object.is_object()) problem = "it is not an object";
  if (problem.empty()) return object;
  return fail(Error::kCheckpoint, "%s: is not what this file should be: %s", path.c_str(), problem.c_str());
}

bool is_file_name(const std::string& name) {
  return !name.empty() && name[0] != '.' && name.find('/') == std::string::npos &&
         name.find('\0') == std::string::npos;
}

Status read_index(const std::string& folder, CheckpointFolder* to) {
  const std::string path = folder + "/" + kIndex;
  LSRT_ASSIGN(const json index, read_object(path));
  const auto map = index.find("weight_map");
  if (map == index.end() || !map->is_object() || map->empty()) {
    return fail(Error::kCheckpoint, "%s: expected a weight_map of tensor names to files", path.c_str());
  }
  std::set<std::string> files;
  for (const auto& [tensor, file] : map->items()) {
    if (!file.is_string() || !is_file_name(file.get<std::string>())) {
      return fail(Error::kCheckpoint, "%s: tensor %s: expected the name of a file of this folder",
                  path.c_str(), printable(tensor).c_str());
    }
    files.insert(file.get<std::string>());
    to->listed.push_back(tensor);
  }
  if (files.size() > kMaxShards) {
    return fail(Error::kUnsupported, "%s: names %zu files, at most %zu are read", path.c_str(), files.size(),
                kMaxShards);
  }
  for (const std::string& file : files) to->files.push_back(folder + "/" + file);
  return {};
}

}  // namespace

Result<CheckpointFolder> read_folder(const std::string& path) {
  const auto has = [&](const char* name) {
    std::error_code ignored;
    return std::filesystem::exists(path + "/" + name, ignored);
  };
  CheckpointFolder folder;
  if (!has(kConfig)) {
    return fail(Error::kFile, "%s: is a folder without %s: expected a checkpoint's folder or its file",
                path.c_str(), kConfig);
  }
  LSRT_ASSIGN(folder.config, read_object(path + "/" + kConfig));
  if (has(kWhole)) {
    folder.files = {path + "/" + kWhole};
  } else if (has(kIndex)) {
    LSRT_TRY(read_index(path, &folder));
  } else if (has(kTorch)) {
    folder.files = {path + "/" + kTorch};
  } else {
    return fail(Error::kFile, "%s: has no weights: expected %s, %s or %s", path.c_str(), kWhole, kIndex,
                kTorch);
  }
  return folder;
}

}  // namespace lsrt
