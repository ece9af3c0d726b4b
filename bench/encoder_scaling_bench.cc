// Time and memory of an encoder of the Long Range Arena's published shape against the length of the document,
// for three kinds of attention. Prints a CSV that scripts/plot_scaling.py draws.
//
// With one thread, ms is CPU time.
//
//   encoder_scaling_bench [longest] [threads] [mixer]      default 65536 1, all mixers
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <ctime>
#include <random>

#include "converter/families/names_encoder.h"
#include "converter/random_model.h"
#include "runtime/classify/encoder_network.h"

using namespace lsrt;

namespace {

constexpr uint32_t kWindow = 8, kRank = 32;

struct Kind {
  const char* name;
  uint32_t rank;
  bool full;
};
constexpr Kind kKinds[] = {{"long-short", kRank, false}, {"window", 0, false}, {"full", 0, true}};

EncoderParameters shape(const Kind& kind, uint32_t length) {
  EncoderParameters p;
  p.layers = 2, p.d = 64, p.heads = 2, p.hidden = 128;
  p.vocabulary = 512, p.max_length = length;
  p.window = kWindow, p.rank = kind.rank;
  p.full.assign(p.layers, kind.full);
  p.classifier_hidden = 128, p.classes = 10;
  return p;
}

// One thread: its CPU time, which other programs do not add to. Several: elapsed time.
double seconds(size_t threads) {
  if (threads == 1) return static_cast<double>(std::clock()) / CLOCKS_PER_SEC;
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

Status measure(const Kind& kind, uint32_t length, size_t threads) {
  LSRT_ASSIGN(ModelBytes bytes,
              random_model(plan_encoder(shape(kind, length), WeightSource()), Precision::kInt8));
  LSRT_ASSIGN(std::shared_ptr<const Model> model, Model::load_bytes(std::move(bytes), kind.name));
  LSRT_ASSIGN(std::unique_ptr<Backend> backend, Backend::create({}, model));
  const std::string isa = backend->info().isa;
  std::shared_ptr<Backend> shared = std::move(backend);
  ClassifierOptions options;
  options.threads = threads;
  LSRT_ASSIGN(const size_t memory, EncoderNetwork::plan(*shared, options));
  LSRT_ASSIGN(std::unique_ptr<EncoderNetwork> network, EncoderNetwork::create(shared, options));

  std::mt19937 random(1);
  std::vector<int32_t> tokens(length);
  for (int32_t& token : tokens) token = static_cast<int32_t>(random() % 512);
  const size_t n = length;
  std::vector<float> logits(network->classes());
  // The smallest of several times: what the machine does besides only adds. Long runs are not repeated as
  // often.
  double best = 1e30, spent = 0;
  for (int run = 0; run < 30 && (run < 3 || spent < 2) && (run < 1 || spent < 20); ++run) {
    const double start = seconds(threads);
    LSRT_TRY(network->run(tokens.data(), &n, 1, logits.data()));
    const double taken = seconds(threads) - start;
    spent += taken;
    best = std::min(best, taken);
  }
  std::printf("%s,%u,%zu,%s,%.3f,%zu\n", kind.name, length, threads, isa.c_str(), best * 1e3, memory);
  std::fflush(stdout);
  return Status();
}

}  // namespace

int main(int argc, char** argv) {
  const auto longest = static_cast<uint32_t>(argc > 1 ? std::atoi(argv[1]) : 65536);
  const auto threads = static_cast<size_t>(argc > 2 ? std::atoi(argv[2]) : 1);
  std::printf("mixer,length,threads,isa,ms,bytes\n");
  for (const Kind& kind : kKinds) {
    if (argc > 3 && std::strcmp(argv[3], kind.name) != 0) continue;
    for (uint32_t length = 1024; length <= longest; length *= 2) {
      const Status status = measure(kind, length, threads);
      if (status.ok()) continue;
      std::fprintf(stderr, "encoder_scaling_bench: %s\n", status.message().c_str());
      return 1;
    }
  }
  return 0;
}
