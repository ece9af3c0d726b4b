// Safetensors checkpoints, and that what was read can be written. An input that begins with a brace is a file
// without the header's length, which a mutation would seldom get right: it ends at the last brace.
#include <cctype>
#include <map>
#include <string>
#include <vector>

#include "converter/source/safetensors.h"
#include "fuzz/checkpoint.h"
#include "fuzz/headers.h"
#include "tests/support/files.h"

using namespace lsrt;
using lsrt_fuzz::require;

namespace {

void check_written(const TensorSource& source) {
  static const lsrt_test::TemporaryFolder folder;
  const std::string path = folder / "again.safetensors";
  std::vector<NamedTensor> tensors;
  for (const SourceTensor& tensor : source.tensors()) {
    std::string type = source_type_name(tensor.type);
    for (char& letter : type) letter = static_cast<char>(std::toupper(letter));
    tensors.push_back({tensor.name, type, tensor.shape, source.files()[0].data + tensor.file_offset});
  }
  const auto metadata = source.metadata().get<std::map<std::string, std::string>>();
  require(write_safetensors(path, tensors, metadata).ok(), "what was read can be written");
  const auto opened = TensorSource::open(path);
  require(opened.ok(), "and read again");
  const TensorSource& again = *opened.value();
  require(again.metadata() == source.metadata(), "with its metadata");
  require(again.tensors().size() == source.tensors().size(), "and all tensors");
  for (const SourceTensor& tensor : source.tensors()) {
    const SourceTensor* found = again.find(tensor.name);
    require(found && found->type == tensor.type && found->shape == tensor.shape, "of the same kind");
    const size_t bytes = static_cast<size_t>(tensor.count()) * source_type_size(tensor.type);
    require(std::memcmp(source.files()[0].data + tensor.file_offset,
                        again.files()[0].data + found->file_offset, bytes) == 0,
            "and the same bytes");
  }
  if (tensors.empty()) return;
  tensors.push_back(tensors[0]);
  require(!write_safetensors(path, tensors, {}).ok(), "two tensors of one name are refused");
  tensors.back().name += '\xff';
  require(!write_safetensors(path, tensors, {}).ok(), "and a name that is no text");
}

}  // namespace

int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::vector<uint8_t> file = lsrt_fuzz::with_header_length({data, data + size});
  lsrt_fuzz::read_checkpoint(file.data(), file.size());
  const auto opened = TensorSource::read({"fuzz", file.data(), file.size()});
  if (opened.ok() && opened.value()->format() == "safetensors") check_written(*opened.value());
  return 0;
}
