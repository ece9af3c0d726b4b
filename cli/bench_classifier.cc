#include <cmath>

#include "cli/bench.h"
#include "runtime/classify/encoder_network.h"
#include "runtime/classify/slide_network.h"
#include "runtime/classify/vision_network.h"
#include "runtime/device/threads.h"

namespace lsrt::tool {
namespace {

// The first result, then the repetitions.
template <typename F>
Status repeat(Bench* bench, const char* test, uint64_t n, const F& classify) {
  LSRT_TRY(classify());
  bench->first_result_ms = bench->clock.ms();
  BenchRow row{test, 0, n, {}, {}};
  for (uint32_t i = 0; i < bench->options.repetitions; ++i)
    LSRT_TRY(timed(&row, bench->profiler.get(), classify));
  bench->rows.push_back(std::move(row));
  return Status();
}

// Tiles in the order in which a square would be read.
Status bench_slide(Bench* bench, BenchRandom* random) {
  SlideOptions options;
  options.threads = choose_threads(*bench->model, bench->options.engine.threads);
  options.max_tiles = std::max<size_t>(1, bench->options.prompt);
  LSRT_ASSIGN(std::unique_ptr<SlideNetwork> network, SlideNetwork::create(bench->backend, options));
  const auto& stem = std::get<TileStem>(bench->model->stages[0].stem);
  const size_t n = network->max_tiles();
  const auto side = std::min<size_t>(stem.cells, static_cast<size_t>(std::sqrt(n)) + 1);
  std::vector<float> tiles(n * network->features()), coords(2 * n), embedding(network->width());
  for (float& feature : tiles) feature = static_cast<float>(random->below(256)) / 64.0f - 2.0f;
  for (size_t i = 0; i < n; ++i) {
    coords[2 * i] = static_cast<float>(i / side % stem.cells * stem.tile);
    coords[2 * i + 1] = static_cast<float>(i % side * stem.tile);
  }
  return repeat(bench, "slide", n,
                [&] { return network->run(tiles.data(), coords.data(), n, embedding.data()); });
}

}  // namespace

Status bench_classifier(Bench* bench) {
  ClassifierOptions options;
  options.threads = choose_threads(*bench->model, bench->options.engine.threads);
  BenchRandom random;
  if (bench->model->family == Family::kSlide) return bench_slide(bench, &random);
  if (bench->model->family == Family::kVil) {
    LSRT_ASSIGN(std::unique_ptr<VisionNetwork> network, VisionNetwork::create(bench->backend, options));
    std::vector<float> pixels(3 * network->image_size() * network->image_size());
    for (float& pixel : pixels) pixel = static_cast<float>(random.below(256)) / 64.0f - 2.0f;
    std::vector<float> logits(network->classes());
    return repeat(bench, "image", 1, [&] { return network->run(pixels.data(), 1, logits.data()); });
  }
  LSRT_ASSIGN(std::unique_ptr<EncoderNetwork> network, EncoderNetwork::create(bench->backend, options));
  // As long as the model takes, as often as it compares.
  const std::vector<size_t> lengths(network->documents(), network->max_length());
  std::vector<int32_t> tokens(network->documents() * network->max_length());
  const auto& stem = std::get<TokenStem>(bench->model->stages[0].stem);
  for (int32_t& token : tokens) token = static_cast<int32_t>(random.below(stem.embedding.shape[0]));
  std::vector<float> logits(network->classes());
  return repeat(bench, "document", 1,
                [&] { return network->run(tokens.data(), lengths.data(), 1, logits.data()); });
}

}  // namespace lsrt::tool
