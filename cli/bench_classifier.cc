#include "cli/bench.h"
#include "runtime/classify/encoder_network.h"
#include "runtime/classify/vision_network.h"
#include "runtime/device/threads.h"

namespace lsrt::tool {
namespace {

// The first result, then the repetitions.
template <typename F>
Status repeat(Bench* bench, const char* test, const F& classify) {
  LSRT_TRY(classify());
  bench->first_result_ms = bench->clock.ms();
  BenchRow row{test, 0, 1, {}, {}};
  for (uint32_t i = 0; i < bench->options.repetitions; ++i)
    LSRT_TRY(timed(&row, bench->profiler.get(), classify));
  bench->rows.push_back(std::move(row));
  return Status();
}

}  // namespace

Status bench_classifier(Bench* bench) {
  ClassifierOptions options;
  options.threads = choose_threads(*bench->model, bench->options.engine.threads);
  BenchRandom random;
  if (bench->model->family == Family::kVil) {
    LSRT_ASSIGN(std::unique_ptr<VisionNetwork> network, VisionNetwork::create(bench->backend, options));
    std::vector<float> pixels(3 * network->image_size() * network->image_size());
    for (float& pixel : pixels) pixel = static_cast<float>(random.below(256)) / 64.0f - 2.0f;
    std::vector<float> logits(network->classes());
    return repeat(bench, "image", [&] { return network->run(pixels.data(), 1, logits.data()); });
  }
  LSRT_ASSIGN(std::unique_ptr<EncoderNetwork> network, EncoderNetwork::create(bench->backend, options));
  // As long as the model takes, as often as it compares.
  const std::vector<size_t> lengths(network->documents(), network->max_length());
  std::vector<int32_t> tokens(network->documents() * network->max_length());
  const auto& stem = std::get<TokenStem>(bench->model->stages[0].stem);
  for (int32_t& token : tokens) token = static_cast<int32_t>(random.below(stem.embedding.shape[0]));
  std::vector<float> logits(network->classes());
  return repeat(bench, "document",
                [&] { return network->run(tokens.data(), lengths.data(), 1, logits.data()); });
}

}  // namespace lsrt::tool
