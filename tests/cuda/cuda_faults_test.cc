// Tests of the tests: mistakes made on purpose in the kernels are noticed wherever they are made.
#include <functional>

#include "tests/cuda/emulated.h"

namespace {

using namespace lsrt_test;
namespace cuda = lsrt::cuda;
using emulation::Fault;

// What a launch says with a mistake in it.
std::string with_fault(Fault fault, const std::string& at, const std::function<std::string()>& run) {
  emulation::config.fault = fault, emulation::config.fault_at = at;
  const std::string error = run();
  emulation::config = {};
  return error;
}

// The launch is right as it is, in whatever order threads run; and each of its barriers is needed.
void check_barriers(const std::function<std::string()>& run, size_t at_least) {
  for (const auto order :
       {emulation::Order::kReverse, emulation::Order::kShuffled, emulation::Order::kForward}) {
    emulation::config.order = order;
    REQUIRE(run() == "");
  }
  const std::set<std::string> barriers = emulation::barriers();
  REQUIRE(barriers.size() >= at_least);
  for (const std::string& barrier : barriers) {
    INFO("without the barrier at ", barrier);
    CHECK(with_fault(Fault::kBarrier, barrier, run) != "");
  }
}

constexpr uint32_t kRows = 70, kDepth = 200, kOutputs = 140;

struct Arrays {
  Random random{1};
  DeviceArray<float> x{floats(random, 20000)}, y{40000}, z{20000};
  DeviceArray<int8_t> q{kRows * 256}, w{lsrt::panel_count(kOutputs) * lsrt::panel_bytes(kDepth), 1};
  DeviceArray<lsrt::RowScale> row_scale{kRows};
  DeviceArray<int32_t> sums{512}, rows{std::vector<int32_t>(512)};
  DeviceArray<uint64_t> position{1};
  cuda::Panels panels{w.data(), x.data(), sums.data(), x.data(), kOutputs, kDepth};
  cuda::Norm norm{x.data(), x.data(), 1e-5f, 0};

  Arrays() {
    for (size_t i = 0; i < rows.size(); ++i) rows[i] = static_cast<int32_t>(i % 60);
    position[0] = 21;
  }
  cuda::Cache cache(DeviceArray<int8_t>& keys, DeviceArray<int8_t>& values, uint32_t capacity) const {
    return {keys.data(), values.data(), x.data(), x.data(), sums.data(), capacity};
  }
};

TEST_CASE("barriers of rows and products") {
  const Arrays a;
  check_barriers([&] { return launch_error(cuda::LogSoftmaxParams{a.y.data(), 600, 2}); }, 4);
  check_barriers([&] { return launch_error(cuda::GemvParams{a.panels, a.x.data(), a.y.data(), {}}); }, 3);
  check_barriers(
      [&] {
        return launch_error(
            cuda::ProductParams{a.panels, a.q.data(), a.row_scale.data(), a.y.data(), kRows, {}});
      },
      1);
}

TEST_CASE("barriers of a choice") {
  const Arrays a;
  DeviceArray<float> logprobs(floats(const_cast<Random&>(a.random), 200, 5));
  DeviceArray<uint8_t> with_text(200, 1);
  DeviceArray<int32_t> penalized(std::vector<int32_t>{199, 3, 70}), token(1);
  DeviceArray<uint64_t> scratch(400);
  check_barriers(
      [&] {
        return launch_error(cuda::ChooseParams{logprobs.data(), with_text.data(), penalized.data(),
                                               scratch.data(), token.data(), 0.5, 1, 0.9f, 0.1f, 2, 20, 200,
                                               3});
      },
      4);
}

TEST_CASE("barriers of landmarks and the cls row") {
  const Arrays a;
  check_barriers(
      [&] {
        return launch_error(
            cuda::LandmarkSumsParams{a.x.data(), a.x.data(), a.x.data(), a.y.data(), 90, 2, 20, 40, 70});
      },
      2);
  check_barriers(
      [&] {
        return launch_error(cuda::LandmarkJoinParams{a.x.data(), a.y.data(), a.z.data(), a.z.data() + 4000, 2,
                                                     20, 40, 70, 0});
      },
      1);
  check_barriers(
      [&] {
        return launch_error(cuda::ClsAttendParams{a.x.data(), a.x.data(), a.x.data(), a.x.data(), a.y.data(),
                                                  a.z.data(), 40, 2, 20, 300});
      },
      3);
}

TEST_CASE("barriers of grouped attention") {
  const Arrays a;
  DeviceArray<int8_t> keys(2 * 60 * 20, 3), values(2 * 60 * 20, 4);
  const cuda::Store store{keys.data(), values.data(), a.x.data(), a.x.data(), a.sums.data(), 60, 2, 20};
  cuda::GroupedAttendParams p{store,
                              a.x.data(),
                              a.rows.data(),
                              a.rows.data(),
                              a.rows.data(),
                              nullptr,
                              a.z.data(),
                              nullptr,
                              40,
                              40,
                              0,
                              1,
                              0,
                              60,
                              1,
                              7,
                              50,
                              0,
                              2};
  check_barriers([&] { return launch_error(p, 1); }, 6);
}

TEST_CASE("barriers of causal attention") {
  const Arrays a;
  DeviceArray<int8_t> keys(2 * 48 * 20, 3), values(2 * 48 * 32, 4);
  const cuda::CausalExtents extents{2, 20, 10, 4, 2, 8, 32, 8};
  const cuda::Cache cache = a.cache(keys, values, 32), row = a.cache(keys, values, 16);
  const cuda::Positions positions{keys.data(), a.x.data(), a.sums.data(), 40};
  DeviceArray<float> kept(8000), qkv(floats(const_cast<Random&>(a.random), 8 * 124));
  cuda::CausalStoreParams store{cache,
                                a.norm,
                                a.position.data(),
                                qkv.data() + 40,
                                qkv.data() + 80,
                                a.x.data(),
                                kept.data(),
                                kept.data() + 400,
                                124,
                                1,
                                1,
                                3,
                                2,
                                20,
                                4,
                                2};
  DeviceArray<float> scales(200), scales2(200);
  DeviceArray<int32_t> sums(200);
  store.cache.key_scale = scales.data(), store.cache.value_scale = scales2.data(),
  store.cache.key_sum = sums.data();
  check_barriers([&] { return launch_error(store); }, 1);
  check_barriers(
      [&] {
        return launch_error(cuda::CausalCompressParams{extents, store.cache, a.norm, a.position.data(),
                                                       a.x.data(), qkv.data(), kept.data(), kept.data() + 400,
                                                       a.y.data(), a.y.data() + 4000, 1});
      },
      3);
  check_barriers(
      [&] {
        return launch_error(
            cuda::CausalAttendParams{extents, cache, cache, row, row, row, positions, positions, a.x.data(),
                                     a.x.data(), a.position.data(), qkv.data(), a.y.data(), nullptr, 3},
            1);
      },
      6);
}

TEST_CASE("copies that nobody waits for, masks that lack a lane") {
  const Arrays a;
  for (const uint32_t rows : {16u, kRows}) {
    const auto run = [&] {
      return launch_error(
          cuda::ProductParams{a.panels, a.q.data(), a.row_scale.data(), a.y.data(), rows, {}});
    };
    REQUIRE(run() == "");
    CHECK(with_fault(Fault::kWait, "", run).find("nobody waited") != std::string::npos);
    CHECK(with_fault(Fault::kMask, "", run).find("not in its own mask") != std::string::npos);
  }
}

TEST_CASE("memory that is not the device's") {
  const Arrays a;
  std::vector<float> host(100);
  const auto run = [&](const float* x) { return launch_error(cuda::AddParams{x, a.y.data(), 100}); };
  REQUIRE(run(a.x.data()) == "");
  CHECK(run(host.data()).find("not the device's") != std::string::npos);
  CHECK(run(a.x.data() + a.x.size() - 99).find("not the device's") != std::string::npos);
}

}  // namespace
