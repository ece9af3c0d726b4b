// The device contract: models' code follows no device address and hands no launch a pointer of the host's;
// steps of equal shape are equal sequences of launches; failures stick to the stream.
#include <doctest/doctest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>

#include "runtime/classify/encoder_network.h"
#include "runtime/classify/slide_network.h"
#include "runtime/classify/vision_network.h"
#include "runtime/text/session.h"
#include "tests/support/backends.h"
#include "tests/support/fenced_backend.h"
#include "tests/support/golden_inputs.h"
#include "tests/support/goldens.h"

using namespace lsrt;
using namespace lsrt_test;

namespace {

// Whether a child that runs f ends by this signal.
template <typename F>
bool dies(int signal_number, const F& f) {
  const pid_t child = fork();
  if (child == 0) {
    std::signal(signal_number, SIG_DFL);
    f();
    _exit(0);
  }
  int status = 0;
  waitpid(child, &status, 0);
  return WIFSIGNALED(status) && WTERMSIG(status) == signal_number;
}

}  // namespace

#ifndef LSRT_ASAN
TEST_CASE("the fence is one") {
  auto model = convert_golden("lm-preln-rank2", "int8");
  auto backend = FencedBackend::create(model);
  const Dev<void> memory = take(backend->allocate(100));
  CHECK(dies(SIGSEGV, [&] { *memory.as<volatile uint8_t>().address() = 1; }));
  const auto& stem = std::get<TokenStem>(model->stages[0].stem);
  const auto* weight = static_cast<const volatile uint8_t*>(backend->weights(stem.embedding.data).address());
  CHECK(dies(SIGSEGV, [&] { (void)*weight; }));
  StreamPlan plan;
  auto stream = take(backend->create_stream(plan));
  const auto launched = stream->launched("test", 1);
  CHECK(dies(SIGSEGV, [&] { (void)*static_cast<const volatile uint8_t*>(stem.embedding.data); }));
  CHECK_FALSE(dies(SIGSEGV, [&] { (void)*weight; }));
}
#endif

TEST_CASE("all goldens compute the same bits behind the fence") {
  for (const std::string& name : golden_names()) {
    for (const char* precision : {"int8", "float32"}) {
      CAPTURE(name);
      CAPTURE(std::string(precision));
      auto model = convert_golden(name, precision);
      const std::vector<Array> inputs = golden_inputs(*model);
      ArrayOptions options;
      options.threads = 2;
      options.intermediate = true;
      if (model->family == Family::kLm)
        options.memory = 4 * model->memory;  // with its own table of positions
      const auto expected = take(run_arrays(cpu(model), inputs, options));
      const auto got = take(run_arrays(FencedBackend::create(model), inputs, options));
      REQUIRE(expected.size() == got.size());
      for (size_t i = 0; i < got.size(); ++i) CHECK(expected[i].bytes == got[i].bytes);
    }
  }
}

TEST_CASE("steps of one shape are one sequence of launches") {
  for (const char* precision : {"int8", "float32"}) {
    for (const char* name : {"lm-preln-rank2", "mamba1-hf"}) {
      auto model = convert_golden(name, precision);
      auto backend = FencedBackend::create(model);
      CausalOptions options;
      options.max_rows = 13;
      auto session = take(Session::create(backend, options));
      std::vector<int32_t> tokens(400, 1);
      std::vector<float> out(tokens.size() * session->vocabulary());
      REQUIRE(session->feed(tokens.data(), tokens.size(), Session::Output::kAll, out.data()).ok());
      for (size_t i = 0; i < 100; ++i) {
        REQUIRE(session->feed(tokens.data(), 1, Session::Output::kLast, out.data()).ok());
      }
      CHECK(backend->sequences() >= 130);
      CHECK(backend->shapes() < 20);
      CHECK(backend->differences() == 0);
    }
  }
}

TEST_CASE("the first failure of a stream comes back from synchronize, once") {
  auto backend = cpu(nullptr);
  auto stream = take(backend->create_stream(StreamPlan()));
  CHECK(backend->synchronize(*stream).ok());
  const CpuStream& cpu_stream = lsrt::cpu_stream(*stream);
  cpu_stream.fail(Status(Error::kMemory, "first"));
  cpu_stream.fail(Status(Error::kDevice, "second"));
  const Status status = backend->synchronize(*stream);
  CHECK(status.code() == Error::kMemory);
  CHECK(status.message() == "first");
  CHECK(backend->synchronize(*stream).ok());
}

TEST_CASE("planning prepares nothing") {
  class Unready : public CpuBackend {
   public:
    using CpuBackend::CpuBackend;
    Result<const Linear*> prepare(const LinearView&) override { return fail(Error::kDevice, "prepared"); }
    Result<Dev<void>> allocate(size_t) override { return fail(Error::kDevice, "allocated"); }
  };
  for (const std::string& name : golden_names()) {
    CAPTURE(name);
    auto model = convert_golden(name, "float32");
    KernelChoice choice;
    Unready backend(*find_kernels(nullptr, &choice), model);
    if (model->family == Family::kLm) CHECK(CausalNetwork::plan(backend, {}).ok());
    if (model->family == Family::kVil) CHECK(VisionNetwork::plan(backend, {}).ok());
    if (model->family == Family::kEncoder) CHECK(EncoderNetwork::plan(backend, {}).ok());
    if (model->family == Family::kSlide) CHECK(SlideNetwork::plan(backend, {}).ok());
  }
}

TEST_CASE("a device without a family of operations refuses by name") {
  class Poor : public CpuBackend {
   public:
    using CpuBackend::CpuBackend;
    const Ops& ops() const override { return table_; }
    Ops table_ = [this] {
      Ops ops{};
      ops.linear = CpuBackend::ops().linear, ops.rows = CpuBackend::ops().rows;
      return ops;
    }();
  };
  KernelChoice choice;
  const Kernels& kernels = *find_kernels(nullptr, &choice);
  const auto poor = [&](const char* name) {
    return std::make_shared<Poor>(kernels, convert_golden(name, "int8"));
  };
  const Status text = Session::create(poor("lm-preln-rank2"), {}).status();
  CHECK(text.code() == Error::kUnsupported);
  CHECK(text.message().find("causal long-short attention") != std::string::npos);
  CHECK(Session::create(poor("mamba1-hf"), {}).status().message().find("selective state spaces") !=
        std::string::npos);
  CHECK(VisionNetwork::create(poor("vil-4stage"), {}).status().code() == Error::kUnsupported);
  CHECK(EncoderNetwork::create(poor("lra-listops"), {}).status().code() == Error::kUnsupported);
  CHECK(SlideNetwork::create(poor("longnet"), {}).status().code() == Error::kUnsupported);
  const auto filters = poor("gfnet");
  filters->table_.image = filters->CpuBackend::ops().image;
  CHECK(VisionNetwork::create(filters, {}).status().message() == "backend 'cpu' has no filters of a grid");
}
