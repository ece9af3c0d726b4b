// CUDA kernels of selective state spaces return the bits of the CPU's launches, in however many launches rows
// come.
#include <memory>

#include "tests/cuda/emulated.h"
#include "tests/support/backends.h"

namespace {

using namespace lsrt_test;
using lsrt::Dev;
namespace cuda = lsrt::cuda;

Dev<const float> at(const float* x) { return Dev<const float>(x); }
Dev<float> dev(const DeviceArray<float>& x) { return Dev<float>(x.data()); }

struct Cpu {
  std::shared_ptr<lsrt::Backend> backend = cpu(nullptr, "scalar");
  std::unique_ptr<lsrt::Stream> stream = take(backend->create_stream({}));
  const lsrt::ScanOps& ops = *backend->ops().scan;
};

TEST_CASE("convolution") {
  Random random(1);
  const Cpu cpu;
  for (const uint32_t taps : {1, 4}) {
    constexpr uint32_t kChannels = 37, kStride = 40;
    const std::vector<float> past = floats(random, (taps - 1) * kChannels);
    const DeviceArray<float> weight(floats(random, taps * kChannels)), bias(floats(random, kChannels));
    const DeviceArray<float> history(past), history2(past);
    for (const uint32_t rows : {1, 2, 9}) {
      const DeviceArray<float> x(floats(random, rows * kStride)), y(rows * kChannels), z(y.size());
      cpu.ops.convolve(*cpu.stream, {rows, kChannels, taps, at(x.data()), kStride, at(weight.data()),
                                     at(bias.data()), dev(history), dev(y)});
      launch(cuda::ScanConvolveParams{x.data(), weight.data(), bias.data(), history2.data(), z.data(),
                                      kStride, rows, kChannels, taps});
      launch(cuda::ScanHistoryParams{x.data(), history2.data(), kStride, rows, kChannels, taps});
      REQUIRE(same_floats(y.data(), z.data(), y.size()));
      REQUIRE(same_floats(history.data(), history2.data(), history.size()));
    }
  }
}

TEST_CASE("one decay a channel and state") {
  Random random(2);
  const Cpu cpu;
  constexpr uint32_t kChannels = 70, kStates = 5, kStride = 2 * kChannels, kParameters = 2 * kStates + 3;
  const std::vector<float> before = floats(random, kStates * kChannels);
  DeviceArray<float> a(floats(random, kStates * kChannels)), d(floats(random, kChannels));
  for (size_t i = 0; i < a.size(); ++i) a[i] = a[i] > 0 ? -a[i] : a[i];
  const DeviceArray<float> state(before), state2(before);
  for (const uint32_t rows : {1, 7}) {
    const DeviceArray<float> v(floats(random, rows * kChannels)), step(floats(random, rows * kChannels, 9));
    const DeviceArray<float> z(floats(random, rows * kStride)), bc(floats(random, rows * kParameters));
    const DeviceArray<float> y(v.size()), y2(v.size());
    cpu.ops.selective_scan(*cpu.stream, {rows, kChannels, kStates, at(v.data()), at(step.data()),
                                         at(z.data()), kStride, at(bc.data()), at(bc.data() + kStates),
                                         kParameters, at(a.data()), at(d.data()), dev(state), dev(y)});
    launch(cuda::SelectiveScanParams{v.data(), step.data(), z.data(), bc.data(), bc.data() + kStates,
                                     a.data(), d.data(), state2.data(), y2.data(), kStride, kParameters, rows,
                                     kChannels, kStates});
    REQUIRE(same_floats(y.data(), y2.data(), y.size()));
    REQUIRE(same_floats(state.data(), state2.data(), state.size()));
  }
}

TEST_CASE("one decay a head, and the norm behind its gate") {
  Random random(3);
  const Cpu cpu;
  for (const bool d_per_channel : {false, true}) {
    constexpr uint32_t kHeads = 4, kGroups = 2, kDim = 9, kStates = 21, kWidth = kHeads * kDim;
    constexpr uint32_t kStride = kWidth + 2 * kGroups * kStates, kSteps = kHeads + 1;
    const std::vector<float> before = floats(random, kWidth * kStates);
    DeviceArray<float> a(floats(random, kHeads)), d(floats(random, kWidth)), bias(floats(random, kHeads));
    for (size_t i = 0; i < a.size(); ++i) a[i] = -1 - a[i] * a[i];
    const DeviceArray<float> state(before), state2(before), gamma(floats(random, kWidth));
    for (const uint32_t rows : {1, 5}) {
      const DeviceArray<float> vbc(floats(random, rows * kStride)), step(floats(random, rows * kSteps, 9));
      const DeviceArray<float> steps(2 * rows * kHeads), steps2(steps.size()), y(rows * kWidth), y2(y.size());
      const float *b = vbc.data() + kWidth, *c = b + kGroups * kStates;
      cpu.ops.dual_scan(
          *cpu.stream,
          {rows,         kHeads,       kGroups,         kDim,       kStates,         at(vbc.data()), at(b),
           at(c),        kStride,      at(step.data()), kSteps,     at(bias.data()), 0.001f,         5.0f,
           at(a.data()), at(d.data()), d_per_channel,   dev(state), dev(steps),      dev(y)});
      launch(cuda::DualStepsParams{step.data(), bias.data(), a.data(), steps2.data(), kSteps, 0.001f, 5.0f,
                                   rows, kHeads});
      launch(cuda::DualScanParams{vbc.data(), b, c, d.data(), steps2.data(), state2.data(), y2.data(),
                                  kStride, d_per_channel, rows, kHeads, kGroups, kDim, kStates});
      REQUIRE(same_floats(y.data(), y2.data(), y.size()));
      REQUIRE(same_floats(state.data(), state2.data(), state.size()));
      const DeviceArray<float> z(floats(random, rows * (kWidth + 2)));
      cpu.ops.gated_norm(*cpu.stream, {rows,
                                       kWidth,
                                       kGroups,
                                       at(z.data()),
                                       kWidth + 2,
                                       {at(gamma.data()), nullptr, 1e-5f, lsrt::NormKind::kRms},
                                       dev(y)});
      launch(cuda::GatedNormParams{
          {gamma.data(), nullptr, 1e-5f, 1}, z.data(), y2.data(), kWidth + 2, rows, kWidth, kGroups});
      REQUIRE(same_floats(y.data(), y2.data(), y.size()));
    }
  }
}

}  // namespace
