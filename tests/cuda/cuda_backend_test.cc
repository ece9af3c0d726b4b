// The CUDA backend on the driver of tests: goldens, streams and their snapshots have the bits of the CPU in
// int8; any call of the driver may fail.
#define DOCTEST_CONFIG_IMPLEMENT
#include <dlfcn.h>
#include <doctest/doctest.h>

#include <cstdlib>

#include "runtime/device/cuda/cuda.h"
#include "runtime/text/session.h"
#include "tests/support/backends.h"
#include "tests/support/golden_inputs.h"
#include "tests/support/goldens.h"

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

TEST_CASE("any call of the driver may fail") {
  auto model = convert_golden("lm-preln-rank2", "int8");
  const auto run = [&]() -> Status {
    LSRT_ASSIGN(std::shared_ptr<Backend> backend, create_cuda_backend(model));
    LSRT_ASSIGN(const std::unique_ptr<Session> session, Session::create(backend, CausalOptions()));
    std::vector<int32_t> tokens(3, 1);
    std::vector<float> out(3 * session->vocabulary());
    LSRT_TRY(session->feed(tokens.data(), 3, Session::Output::kAll, out.data()));
    return session->feed(tokens.data(), 3, Session::Output::kAll, out.data());
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

int main(int argc, char** argv) {
  setenv("LSRT_CUDA_LIBRARY", LSRT_FAKE_CUDA, 1);
  return doctest::Context(argc, argv).run();
}
