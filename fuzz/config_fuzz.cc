// Hyper-parameters as JSON, for a checkpoint of each family: the first byte says which one.
#include <string>

#include "fuzz/checkpoint.h"

using namespace lsrt;

int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  static const char* const kGoldens[] = {"lm-rank0", "encoder-rank0", "vil-rank0"};
  lsrt_fuzz::Front front(data, size);
  const std::string folder = LSRT_TEST_DATA "/golden/" + std::string(kGoldens[front.take<uint8_t>() % 3]);
  FamilyOptions options;
  options.dict_path = folder + "/dict.txt";
  if (!options.config.add_text({"fuzz", front.data(), front.size()}).ok()) return 0;
  const Config& config = options.config;
  for (const char* name : {"mem_len", "window_len", "eps", "x", ""}) {
    const auto count = config.count(name, 1, 100);
    if (count.ok())
      lsrt_fuzz::require(count.value() >= 1 && count.value() <= 100, "a count is within its bounds");
    const auto number = config.number(name, 0);
    const auto text = config.text(name, "");
    const bool both = number.ok() && text.ok() && config.has(name);
    lsrt_fuzz::require(!both, "a value is no number and a text at once");
  }
  const auto source = TensorSource::open(folder + "/checkpoint.safetensors");
  lsrt_fuzz::require(source.ok(), "the golden checkpoint is there");
  lsrt_fuzz::plan_and_write(*source.value(), options);
  return 0;
}
