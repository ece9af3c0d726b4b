// Folders that are one checkpoint, whole or in shards. An input is a byte that says which files there are,
// two bytes of length each of config.json, of the index and of the first shard, then these and the second
// shard. A shard that begins with a brace has no length of its header, as in safetensors_fuzz.cc.
#include <algorithm>
#include <filesystem>
#include <string>
#include <vector>

#include "fuzz/checkpoint.h"
#include "fuzz/headers.h"
#include "tests/support/files.h"

using namespace lsrt;
using lsrt_fuzz::require;

namespace {

enum Files : uint8_t { kConfig = 1, kWhole = 2, kIndex = 4, kTorch = 8 };

std::string_view text(const std::vector<uint8_t>& bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

}  // namespace

int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  static const lsrt_test::TemporaryFolder folder;
  lsrt_fuzz::Front front(data, size);
  const auto files = front.take<uint8_t>();
  const size_t lengths[] = {front.take<uint16_t>(), front.take<uint16_t>(), front.take<uint16_t>()};
  const uint8_t* next = front.data();
  size_t left = front.size();
  const auto part = [&](size_t length) {
    const size_t n = std::min(length, left);
    const std::vector<uint8_t> bytes(next, next + n);
    next += n, left -= n;
    return bytes;
  };
  const auto config = part(lengths[0]), index = part(lengths[1]);
  const auto first = lsrt_fuzz::with_header_length(part(lengths[2])),
             second = lsrt_fuzz::with_header_length(part(left));
  const auto place = [&](bool there, const char* name, const std::vector<uint8_t>& bytes) {
    if (there) return lsrt_test::write_file(folder / name, text(bytes));
    std::filesystem::remove(folder / name);
  };
  place(files & kConfig, "config.json", config);
  place(files & kWhole, "model.safetensors", first);
  place(files & kIndex, "model.safetensors.index.json", index);
  place(files & kTorch, "pytorch_model.bin", first);
  place(files & kIndex, "a.safetensors", first);
  place(files & kIndex, "b.safetensors", second);

  const std::string path = folder / "";
  const auto opened = TensorSource::open(path);
  if (!opened.ok()) {
    require(opened.status().message().find(path.substr(0, path.size() - 1)) == 0,
            "a refusal names the folder or its file first");
    return 0;
  }
  const TensorSource& source = *opened.value();
  require(source.metadata().at("config").is_object(), "a folder has a configuration");
  if (!lsrt_fuzz::read_tensors(source)) return 0;
  lsrt_fuzz::plan_and_write(source, {});
  return 0;
}
