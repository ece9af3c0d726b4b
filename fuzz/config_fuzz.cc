// Hyper-parameters as JSON, for checkpoints of all families: the first byte says which one. What follows the
// first zero byte are other options: tokens of a block and of memory, and a byte of how many labels and which
// files.
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
                                         "mamba1-hf",
                                         "lra-listops/checkpoint.model",
                                         "mamba1-original",
                                         "mamba2-hf",
                                         "mamba2-original-groups",
                                         "falcon-mamba-hf",
                                         "longformer-absolute-pad/checkpoint.pth",
                                         "longformer-exact-2global-unshared/checkpoint.pth",
                                         "longformer-relative/checkpoint.pth",
                                         "gfnet/checkpoint.pth",
                                         "gfnet-pyramid/checkpoint.pth",
                                         "longnet/checkpoint.pth",
                                         "longnet-mean/checkpoint.pth"};
  lsrt_fuzz::Front front(data, size);
  const std::filesystem::path checkpoint =
      std::filesystem::path(LSRT_TEST_DATA "/golden") / kGoldens[front.take<uint8_t>() % std::size(kGoldens)];
  const std::string_view rest(reinterpret_cast<const char*>(front.data()), front.size());
  const std::string_view text = rest.substr(0, rest.find('\0'));
  FamilyOptions options;
  options.dict_path = checkpoint.parent_path() / "dict.txt";
  if (text.size() < rest.size()) {
    lsrt_fuzz::Front more(front.data() + text.size() + 1, rest.size() - text.size() - 1);
    // Options are the caller's, who may wait for tables of millions of tokens; the instrumented code may not.
    const auto bounded = [](uint32_t tokens) { return tokens > kMaxStreamTokens ? tokens : tokens % 8192; };
    options.block = bounded(more.take<uint32_t>()), options.memory = bounded(more.take<uint32_t>());
    const auto flags = more.take<uint8_t>();
    options.labels.assign(flags % 16, "label");
    if (flags & 16) options.dict_path.clear();
    if (flags & 32) options.dict_path = LSRT_TEST_DATA "/golden/lm-preln-rank2/dict.txt";
    if (flags & 64) options.tokenizer_path = LSRT_TEST_DATA "/tokenizer/tokenizer.json";
  }
  if (!options.config.add_text({"fuzz", front.data(), text.size()}).ok()) return 0;
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
