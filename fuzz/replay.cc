// Runs a fuzz target on files, and on all files in folders: replay PATH... In every test run it is given the
// target's corpus: seeds, and the inputs of all past findings.
#include <sys/resource.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>
#include <vector>

#include "fuzz/fuzz.h"

// Only libFuzzer mutates.
extern "C" size_t LLVMFuzzerMutate(uint8_t*, size_t size, size_t) { return size; }

// No input may make its reader take more than the 2^27 pixels that an image may have and what goes on around them.
constexpr long kMostMegabytes = 1024;

static long peak_megabytes() {
  rusage usage = {};
  getrusage(RUSAGE_SELF, &usage);
  return usage.ru_maxrss / 1024;
}

int main(int count, char** arguments) {
  std::vector<std::filesystem::path> files;
  for (int i = 1; i < count; ++i) {
    if (!std::filesystem::is_directory(arguments[i])) {
      files.push_back(arguments[i]);
      continue;
    }
    for (const auto& entry : std::filesystem::directory_iterator(arguments[i])) files.push_back(entry.path());
  }
  std::sort(files.begin(), files.end());
  for (const auto& path : files) {
    std::ifstream file(path, std::ios::binary);
    const std::vector<char> bytes{std::istreambuf_iterator<char>(file), {}};
    lsrt_fuzz::require(file.good() || file.eof(), "the file can be read");
    std::printf("%s\n", path.c_str());
    std::fflush(stdout);
    LLVMFuzzerTestOneInput(reinterpret_cast<const uint8_t*>(bytes.data()), bytes.size());
    lsrt_fuzz::require(peak_megabytes() <= kMostMegabytes, "the memory that a file can demand is bounded");
  }
  std::printf("%zu inputs, %ld MB at most\n", files.size(), peak_megabytes());
  return files.empty() ? 1 : 0;
}
