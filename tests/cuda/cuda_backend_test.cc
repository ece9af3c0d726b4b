// The CUDA backend on the driver of tests: goldens, streams and their snapshots have the bits of the CPU in
// int8; any call of the driver may fail.
#define DOCTEST_CONFIG_IMPLEMENT
#include <dlfcn.h>
#include <doctest/doctest.h>

#include <cstdlib>

#include "converter/random_model.h"
#include "runtime/device/cuda/cuda.h"
#include "runtime/text/sampler.h"
#include "runtime/text/session.h"
#include "tests/cuda/driver/fake_cuda.h"
#include "tests/support/backends.h"
#include "tests/support/golden_inputs.h"
#include "tests/support/goldens.h"
#include "tests/support/tiny_models.h"

using namespace lsrt;
using namespace lsrt_test;

namespace {

std::shared_ptr<Backend> cuda_backend(std::shared_ptr<const Model> model) {
  return take(create_cuda_backend(std::move(model)));
}

// A function of the driver of tests.
template <typename F>
F* hook(const char* name) {
  static void* library = dlopen(LSRT_FAKE_CUDA, RTLD_NOW);
  return reinterpret_cast<F*>(dlsym(library, name));
}
int alive() { return hook<int()>("fake_cuda_alive")(); }
void fail_call(const char* symbol, int after) {
  hook<void(const char*, int)>("fake_cuda_fail")(symbol, after);
}
void set_device(const FakeDevice& device) { hook<void(const FakeDevice*)>("fake_cuda_device")(&device); }
constexpr FakeDevice kOrin = {8, 7, 12060, false};

Status feed(Session& session, size_t n) {
  const std::vector<int32_t> tokens(n, 1);
  std::vector<float> out(session.vocabulary());
  return session.feed(tokens.data(), n, Session::Output::kLast, out.data());
}

}  // namespace

TEST_CASE("goldens") {
  for (const std::string& name : golden_names()) {
    for (const char* precision : {"int8", "float32"}) {
      CAPTURE(name);
      CAPTURE(std::string(precision));
      auto model = convert_golden(name, precision);
      const std::vector<Array> inputs = golden_inputs(*model);
      ArrayOptions options;
      options.intermediate = true;
      if (model->family == Family::kLm)
        options.memory = 4 * model->memory;  // with its own table of positions
      const auto expected = take(run_arrays(cpu(model), inputs, options));
      const auto got = take(run_arrays(cuda_backend(model), inputs, options));
      REQUIRE(expected.size() == got.size());
      for (size_t i = 0; i < got.size(); ++i) {
        if (std::string(precision) == "int8") {
          CHECK(expected[i].bytes == got[i].bytes);
        } else {
          CHECK(difference(expected[i], got[i]) < 2e-4f);  // float products are summed in another order
        }
      }
    }
  }
  CHECK(alive() == 0);
}

TEST_CASE("streams repeat what they recorded, and snapshots go both ways") {
  for (const char* name : {"lm-preln-rank2", "mamba2-hf"}) {
    auto model = convert_golden(name, "int8");
    CausalOptions options;
    options.max_rows = 13;
    auto a = take(Session::create(cpu(model), options)),
         b = take(Session::create(cuda_backend(model), options));
    std::vector<int32_t> tokens(40);
    for (size_t i = 0; i < tokens.size(); ++i) tokens[i] = static_cast<int32_t>(i * 7 % a->vocabulary());
    std::vector<float> x(tokens.size() * a->vocabulary()), y(x.size());
    const auto feed = [&](size_t n) {
      REQUIRE(a->feed(tokens.data(), n, Session::Output::kAll, x.data()).ok());
      REQUIRE(b->feed(tokens.data(), n, Session::Output::kAll, y.data()).ok());
      REQUIRE(x == y);
    };
    feed(40);
    hook<int()>("fake_cuda_repetitions")();
    hook<int()>("fake_cuda_launches")();
    for (size_t i = 0; i < 20; ++i) feed(1);
    CHECK(hook<int()>("fake_cuda_repetitions")() == 20);
    std::vector<uint8_t> saved(b->snapshot_bytes(nullptr)), same(a->snapshot_bytes(nullptr));
    REQUIRE(b->save(nullptr, saved.data()).ok());
    REQUIRE(a->save(nullptr, same.data()).ok());
    CHECK(saved == same);
    REQUIRE(a->load(saved.data(), saved.size(), "", nullptr).ok());
    REQUIRE(b->load(same.data(), same.size(), "", nullptr).ok());
    feed(9);
  }
  CHECK(alive() == 0);
}

TEST_CASE("what is chosen on the device is what the sampler chooses") {
  auto model = convert_golden("lm-preln-rank2", "int8");
  CausalOptions options;
  options.max_rows = 13;
  auto a = take(Session::create(cpu(model), options)),
       b = take(Session::create(cuda_backend(model), options));
  for (const bool filtered : {false, true}) {
    SamplerParams params;
    params.seed = 3;
    if (filtered) params.top_k = 9, params.top_p = 0.9f, params.min_p = 0.01f, params.repeat_penalty = 1.5f;
    Sampler one = take(Sampler::create(model->vocabulary, params)), other = one, fed = one;
    std::vector<int32_t> tokens(40, 1);
    for (int i = 0; i < 20; ++i) {
      const int32_t token = take(a->next(tokens.data(), tokens.size(), &one));
      REQUIRE(take(b->next(tokens.data(), tokens.size(), &other)) == token);
      tokens.assign(1, token);
    }
    CHECK(a->position() == b->position());
    // Nothing that fails has changed the sampler.
    const int32_t wrong = -1;
    CHECK(b->next(&wrong, 1, &other).status().code() == Error::kArgument);
    CHECK(b->next(nullptr, 0, &other).status().code() == Error::kArgument);
    CHECK(b->next(tokens.data(), 1, &other, [](size_t) { return false; }).status().code() ==
          Error::kCancelled);
    CHECK(other.state().recent == one.state().recent);
    CHECK(std::equal(one.state().random, one.state().random + 4, other.state().random));
    CHECK_FALSE(std::equal(one.state().random, one.state().random + 4, fed.state().random));
  }
  a.reset(), b.reset();
  CHECK(alive() == 0);
}

TEST_CASE("any call of the driver may fail") {
  auto model = convert_golden("lm-preln-rank2", "int8");
  const auto run = [&]() -> Status {
    LSRT_ASSIGN(std::shared_ptr<Backend> backend, create_cuda_backend(model));
    LSRT_ASSIGN(const std::unique_ptr<Session> session, Session::create(backend, CausalOptions()));
    std::vector<int32_t> tokens(3, 1);
    std::vector<float> out(3 * session->vocabulary());
    LSRT_ASSIGN(Sampler sampler, Sampler::create(model->vocabulary, SamplerParams()));
    LSRT_TRY(session->feed(tokens.data(), 3, Session::Output::kAll, out.data()));
    LSRT_TRY(session->feed(tokens.data(), 3, Session::Output::kAll, out.data()));
    return session->next(tokens.data(), 3, &sampler).status();
  };
  REQUIRE(run().ok());
  for (const char* symbol :
       {"cuDeviceGet", "cuDevicePrimaryCtxRetain", "cuModuleLoadData", "cuModuleGetFunction", "cuMemAlloc_v2",
        "cuMemsetD8Async", "cuMemcpyHtoDAsync_v2", "cuMemcpyDtoHAsync_v2", "cuStreamCreate",
        "cuStreamSynchronize", "cuStreamBeginCapture_v2", "cuStreamEndCapture", "cuGraphInstantiateWithFlags",
        "cuGraphLaunch", "cuLaunchKernel"}) {
    for (int after = 0; after < 3; ++after) {
      CAPTURE(std::string(symbol));
      CAPTURE(after);
      fail_call(symbol, after);
      const Status status = run();
      if (after == 0) CHECK_FALSE(status.ok());
      if (!status.ok()) CHECK_FALSE(status.message().empty());
      fail_call("", 0);
      CHECK(alive() == 0);
    }
  }
  CHECK(run().ok());
}

TEST_CASE("a step of the base shape is one graph of at most 100 launches") {
  // Launches depend on layers, not on widths: where chunks are completed, narrow ones do.
  const auto launches = [](Session& session, size_t n) {
    REQUIRE(feed(session, n).ok());
    CHECK(hook<int()>("fake_cuda_repetitions")() == 1);
    return hook<int()>("fake_cuda_launches")();
  };
  const auto stream = [](std::shared_ptr<const Model> model) {
    auto session = take(Session::create(cuda_backend(std::move(model)), CausalOptions()));
    hook<int()>("fake_cuda_launches")(), hook<int()>("fake_cuda_repetitions")();
    return session;
  };
  auto base = stream(take(Model::load_bytes(take(random_model("enwik8-base", {})), "base")));
  const int plain = launches(*base, 1);
  LmParameters narrow = tiny_lm_parameters();
  narrow.layers = 12, narrow.rank = 1, narrow.chunk = narrow.block = 16;
  const std::shared_ptr<const Model> model = take(
      Model::load_bytes(take(random_model(plan_lm(narrow, WeightSource()), Precision::kInt8)), "narrow"));
  auto session = stream(model);
  CHECK(launches(*session, 1) == plain);
  launches(*session, 14);
  const int completing = launches(*session, 1);
  MESSAGE("launches of a step: ", plain, ", of one that completes a chunk: ", completing);
  CHECK(plain <= 100);
  CHECK(completing <= 136);
  CHECK(launches(*session, 1) == plain);
  // A choice is one launch more, which is not in the graph.
  Sampler sampler = take(Sampler::create(model->vocabulary, SamplerParams()));
  const int32_t token = 1;
  REQUIRE(session->next(&token, 1, &sampler).ok());
  CHECK(hook<int()>("fake_cuda_repetitions")() == 1);
  CHECK(hook<int()>("fake_cuda_launches")() == plain + 1);
}

TEST_CASE("an error is reported once, with the launch's name, and sticks") {
  auto model = convert_golden("lm-preln-rank2", "int8");
  auto backend = std::shared_ptr<Backend>(cuda_backend(model));
  auto session = take(Session::create(backend, CausalOptions()));
  REQUIRE(feed(*session, 1).ok());
  fail_call("lsrt_gemv", 3);
  CHECK(feed(*session, 1).message() ==
        "CUDA cannot finish what was launched up to lsrt_log_softmax: CUDA_ERROR_FAKE (719)");
  fail_call("", 0);
  hook<int()>("fake_cuda_launches")();
  for (int i = 0; i < 2; ++i) {
    const Status again = feed(*session, 1);
    CHECK(again.message().find("failed before") != std::string::npos);
  }
  CHECK(hook<int()>("fake_cuda_launches")() == 0);
  session.reset();
  session = take(Session::create(backend, CausalOptions()));
  CHECK(feed(*session, 1).ok());
  fail_call("cuLaunchKernel", 2);  // while a step is recorded
  CHECK(feed(*session, 2).message().find("CUDA cannot launch lsrt_") == 0);
  fail_call("", 0);

  setenv("LSRT_CUDA_WAIT", "1", 1);  // names the launch itself
  session = take(Session::create(cuda_backend(model), CausalOptions()));
  unsetenv("LSRT_CUDA_WAIT");
  REQUIRE(feed(*session, 1).ok());
  fail_call("lsrt_gemv", 3);
  CHECK(feed(*session, 1).message() == "CUDA cannot finish lsrt_gemv: CUDA_ERROR_FAKE (719)");
  fail_call("", 0);
}

TEST_CASE("devices and drivers that are too old are named, and what the build has") {
  const auto message = [](const FakeDevice& device) {
    set_device(device);
    const auto backend = create_cuda_backend(nullptr);
    set_device(kOrin);
    CHECK_FALSE(backend.ok());
    CHECK(backend.status().code() == Error::kUnsupported);
    return backend.status().message();
  };
  CHECK(message({6, 2, 12060, false}).find("emulated (sm_62), the driver is of CUDA 12.6; this build has ") !=
        std::string::npos);
  CHECK(message({8, 7, 10020, false}).find("(sm_87), the driver is of CUDA 10.2") != std::string::npos);
}

TEST_CASE("a device that shares memory with the CPU reads the model where it lies") {
  auto model = convert_golden("lm-preln-rank2", "int8");
  const auto bytes = hook<unsigned long long()>("fake_cuda_bytes");
  const auto logits = [&](std::shared_ptr<Backend> backend) {
    auto session = take(Session::create(std::move(backend), CausalOptions()));
    const int32_t tokens[] = {1, 2, 3};
    std::vector<float> out(session->vocabulary());
    REQUIRE(session->feed(tokens, 3, Session::Output::kLast, out.data()).ok());
    return out;
  };
  const auto expected = logits(cpu(model));
  REQUIRE(bytes() == 0);
  set_device({8, 7, 12060, true});
  {
    std::shared_ptr<Backend> backend = cuda_backend(model);
    CHECK(bytes() == 0);
    CHECK(logits(backend) == expected);
    CHECK(alive() == 3);  // context, module and what is registered
  }
  CHECK(alive() == 0);
  // Where that fails it is copied, as always on other devices.
  for (const char* symbol : {"cuMemHostRegister_v2", "cuMemHostGetDevicePointer_v2", ""}) {
    if (!*symbol) set_device(kOrin);
    fail_call(symbol, 0);
    std::shared_ptr<Backend> backend = cuda_backend(model);
    fail_call("", 0);
    CHECK(bytes() == model->file_bytes());
    CHECK(logits(backend) == expected);
    backend.reset();
    CHECK(alive() == 0);
  }
}

TEST_CASE("steps of any length do not pile up") {
  auto session =
      take(Session::create(cuda_backend(convert_golden("lm-preln-rank2", "int8")), CausalOptions()));
  const int before = alive();
  for (size_t n = 1; n <= 70; ++n) REQUIRE(feed(*session, n).ok());
  CHECK(alive() - before <= 64);
}

int main(int argc, char** argv) {
  setenv("LSRT_CUDA_LIBRARY", LSRT_FAKE_CUDA, 0);  // scripts/gpu-check.sh names a real one
  return doctest::Context(argc, argv).run();
}
