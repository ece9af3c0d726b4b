// Hyper-parameters as JSON, for checkpoints of all families: the first byte says which one.
#include <filesystem>
#include <iterator>
#include <string>

#include "fuzz/checkpoint.h"

using namespace lsrt;

int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  static const char* const kGoldens[] = {"lm-rank0/checkpoint.safetensors",
                                         "encoder-rank0/checkpoint.safetensors",
                                         "vil-rank0/checkpoint.safetensors",
                                         "lm-preln-rank2/checkpoint.pt",
                                         "lra-dual/checkpoint.model",
                                         "vil-3stage-odd-window-ape/checkpoint.pth",
                                         "lm-postln-relu-bias/checkpoint.pt",
                                         "lra-conv-cls/checkpoint.model",
                                         "mamba1-hf"};
  lsrt_fuzz::Front front(data, size);
  const std::filesystem::path checkpoint =
      std::filesystem::path(LSRT_TEST_DATA "/golden") / kGoldens[front.take<uint8_t>() % std::size(kGoldens)];
  FamilyOptions options;
  options.dict_path = checkpoint.parent_path() / "dict.txt";
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
  const auto source = TensorSource::open(checkpoint);
  lsrt_fuzz::require(source.ok(), "the golden checkpoint is there");
  lsrt_fuzz::plan_and_write(*source.value(), options);
  return 0;
}
