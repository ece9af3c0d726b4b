// Files of tests: a temporary folder, the golden cases and other data, bytes of a file.
#pragma once

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>
#include <string_view>

namespace lsrt_test {

// A folder of its own for each object, removed with it.
class TemporaryFolder {
 public:
  TemporaryFolder() {
    std::string pattern = (std::filesystem::temp_directory_path() / "lsrt-test-XXXXXX").string();
    const char* made = mkdtemp(pattern.data());
    if (made == nullptr) std::abort();  // nothing here may then write to "/name"
    path_ = made;
  }
  ~TemporaryFolder() { std::filesystem::remove_all(path_); }
  TemporaryFolder(const TemporaryFolder&) = delete;
  TemporaryFolder& operator=(const TemporaryFolder&) = delete;

  std::string operator/(const std::string& name) const { return path_ + "/" + name; }
  size_t entries() const {
    return static_cast<size_t>(std::distance(std::filesystem::directory_iterator(path_), {}));
  }

 private:
  std::string path_;
};

extern const char* const kDataFolder;    // tests/data
extern const char* const kSharedFolder;  // ../shared of the project

// What the repository holds for tests: golden/, images/, readers/.
inline std::string data_path(const std::string& name) { return std::string(kDataFolder) + "/" + name; }

// A file of a golden case: case.json, io.safetensors, ...
inline std::string golden_path(const std::string& name, const std::string& file) {
  return data_path("golden/" + name + "/" + file);
}

// Trained checkpoints and larger data, which not every machine has: a test that misses them says so and
// skips.
inline std::string shared_path(const std::string& name) { return std::string(kSharedFolder) + "/" + name; }

// The checkpoint of a golden case, whatever its container: the folder itself if it holds a configuration.
inline std::string golden_checkpoint(const std::string& name) {
  if (std::filesystem::exists(golden_path(name, "config.json"))) return data_path("golden/" + name);
  for (const char* file : {"checkpoint.pt", "checkpoint.pth", "checkpoint.model", "checkpoint.safetensors"}) {
    if (std::filesystem::exists(golden_path(name, file))) return golden_path(name, file);
  }
  return golden_path(name, "checkpoint");  // is not there: whoever opens it says so
}

inline std::string read_file(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

inline void write_file(const std::string& path, std::string_view bytes) {
  std::filesystem::remove(path);  // ext4 waits for the disk when a file is cut to nothing and written anew
  std::ofstream(path, std::ios::binary).write(bytes.data(), static_cast<std::streamsize>(bytes.size()));
}

}  // namespace lsrt_test
