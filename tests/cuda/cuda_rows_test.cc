// CUDA kernels of rows and linear layers return the bits of the scalar definition, on tails and odd shapes.
#include <cmath>
#include <limits>
#include <memory>

#include "kernels/dispatch.h"
#include "tests/cuda/emulated.h"
#include "tests/support/backends.h"

namespace {

using namespace lsrt_test;
using lsrt::Dev;
namespace cuda = lsrt::cuda;

const lsrt::Kernels& scalar() {
  lsrt::KernelChoice choice;
  return *lsrt::find_kernels("scalar", &choice);
}

std::shared_ptr<lsrt::Backend> backend() { return cpu(nullptr, "scalar"); }

// A stream that has room for what these launches need.
std::unique_ptr<lsrt::Stream> stream_of(lsrt::Backend& backend) {
  lsrt::StreamPlan plan;
  plan.need(1 << 20);
  return take(backend.create_stream(plan));
}

TEST_CASE("norms of rows") {
  Random random(1);
  const auto cpu = backend();
  const auto stream = stream_of(*cpu);
  for (const uint32_t width : {1, 15, 16, 17, 100, 512}) {
    for (const uint32_t rows : {1, 2, 9}) {
      for (const bool rms : {false, true}) {
        const DeviceArray<float> gamma(floats(random, width)), beta(floats(random, width));
        const std::vector<float> x = floats(random, rows * width);
        const DeviceArray<float> residual(floats(random, rows * width)), a(x), b(x), y(x.size()), z(x.size());
        const cuda::Norm norm{gamma.data(), rms ? nullptr : beta.data(), 1e-5f, rms};
        const lsrt::DeviceNorm device_norm{Dev<const float>(gamma.data()), Dev<const float>(beta.data()),
                                           1e-5f, rms ? lsrt::NormKind::kRms : lsrt::NormKind::kLayer};
        cpu->ops().rows->add_norm(*stream, device_norm, width, Dev<const float>(residual.data()), rows,
                                  Dev<float>(a.data()), Dev<float>(y.data()));
        launch(cuda::NormParams{norm, b.data(), residual.data(), b.data(), z.data(), width, width, width,
                                width, width, rows});
        REQUIRE(same_floats(a.data(), b.data(), a.size()));
        REQUIRE(same_floats(y.data(), z.data(), y.size()));
        // In place, without a residual.
        cpu->ops().rows->add_norm(*stream, device_norm, width, nullptr, rows, Dev<float>(a.data()),
                                  Dev<float>(a.data()));
        launch(cuda::NormParams{norm, b.data(), nullptr, nullptr, b.data(), width, 0, 0, width, width, rows});
        REQUIRE(same_floats(a.data(), b.data(), a.size()));
      }
    }
  }
}

TEST_CASE("rows that lie apart are copied") {
  Random random(2);
  const DeviceArray<float> x(floats(random, 5 * 20)), y(5 * 30, 7.0f);
  launch(cuda::NormParams{{}, x.data(), nullptr, nullptr, y.data(), 20, 0, 0, 30, 17, 5});
  for (size_t i = 0; i < y.size(); ++i) REQUIRE(y[i] == (i % 30 < 17 ? x[i / 30 * 20 + i % 30] : 7.0f));
}

TEST_CASE("log-probabilities") {
  Random random(3);
  const auto cpu = backend();
  const auto stream = stream_of(*cpu);
  for (const uint32_t width : {1, 31, 255, 256, 257, 1000}) {
    const std::vector<float> x = floats(random, 2 * width, 30);
    const DeviceArray<float> a(x), b(x);
    cpu->ops().rows->log_softmax(*stream, width, 2, Dev<float>(a.data()));
    launch(cuda::LogSoftmaxParams{b.data(), width, 2});
    REQUIRE(same_floats(a.data(), b.data(), a.size()));
  }
}

TEST_CASE("embedding, mean, comparison, addition") {
  Random random(4);
  const auto cpu = backend();
  const auto stream = stream_of(*cpu);
  constexpr uint32_t kTokens = 37, kWidth = 30, kRows = 7;
  DeviceArray<int8_t> panels(lsrt::panel_count(kTokens) * lsrt::panel_bytes(kWidth));
  for (size_t i = 0; i < panels.size(); ++i) panels[i] = static_cast<int8_t>(random.in(0, 254) - 127);
  const DeviceArray<float> table(floats(random, kTokens * kWidth)), scales(floats(random, 48, 0.1f));
  const DeviceArray<float> positions(floats(random, kRows * kWidth)), a(kRows * kWidth), b(kRows * kWidth);
  DeviceArray<int32_t> tokens(kRows);
  for (size_t i = 0; i < kRows; ++i) tokens[i] = static_cast<int32_t>(random.in(0, kTokens - 1));
  for (const bool int8 : {false, true}) {
    for (const bool placed : {false, true}) {
      lsrt::DeviceTensor tensor;
      tensor.type = int8 ? lsrt::DataType::kInt8 : lsrt::DataType::kFloat32;
      tensor.data = int8 ? Dev<const void>(panels.data()) : Dev<const void>(table.data());
      tensor.scales = Dev<const float>(scales.data());
      const Dev<const float> at(placed ? positions.data() : nullptr);
      cpu->ops().rows->embed(*stream, tensor, 3.0f, kWidth, Dev<const int32_t>(tokens.data()), kRows, at,
                             Dev<float>(a.data()));
      launch(cuda::EmbedParams{tensor.data.address(), int8 ? scales.data() : nullptr, tokens.data(),
                               at.address(), b.data(), 3.0f, kWidth, kRows});
      REQUIRE(same_floats(a.data(), b.data(), a.size()));
    }
  }
  const DeviceArray<float> mean(kWidth), mean2(kWidth), four(4 * kWidth), four2(4 * kWidth);
  cpu->ops().rows->mean_rows(*stream, Dev<const float>(a.data()), kRows, kWidth, 6.5f,
                             Dev<float>(mean.data()));
  launch(cuda::MeanRowsParams{a.data(), mean2.data(), 6.5f, kRows, kWidth});
  REQUIRE(same_floats(mean.data(), mean2.data(), kWidth));
  cpu->ops().rows->compare(*stream, Dev<const float>(a.data()), kWidth, Dev<float>(four.data()));
  launch(cuda::CompareParams{a.data(), four2.data(), kWidth});
  REQUIRE(same_floats(four.data(), four2.data(), four.size()));
  cpu->ops().rows->add(*stream, Dev<const float>(positions.data()), a.size(), Dev<float>(a.data()));
  launch(cuda::AddParams{positions.data(), b.data(), b.size()});
  REQUIRE(same_floats(a.data(), b.data(), a.size()));
}

struct Weights {
  DeviceArray<int8_t> data;
  DeviceArray<float> scale, bias;
  DeviceArray<int32_t> sum;
  uint32_t outputs, depth;

  Weights(Random& random, uint32_t n, uint32_t k)
      : data(lsrt::panel_count(n) * lsrt::panel_bytes(k)),
        scale(lsrt::round_up(n, 16)),
        bias(floats(random, n)),
        sum(lsrt::round_up(n, 16)),
        outputs(n),
        depth(k) {
    for (size_t i = 0; i < n; ++i) {
      scale[i] = random.uniform(0, 0.01f);
      for (size_t j = 0; j < k; ++j) {
        const auto w = static_cast<int8_t>(static_cast<int>(random.in(0, 254)) - 127);
        data[lsrt::panel_offset(i, j, k)] = w;
        sum[i] += w;
      }
    }
  }
  cuda::Panels panels(bool biased) const {
    return {data.data(), scale.data(), sum.data(), biased ? bias.data() : nullptr, outputs, depth};
  }
};

// What the scalar kernels make of rows.
std::vector<float> product(const std::vector<float>& x, const Weights& w, bool biased,
                           cuda::Activate activation) {
  const lsrt::Kernels& k = scalar();
  const size_t rows = x.size() / w.depth, bytes = k.gemm.packed_row_bytes(w.depth);
  std::vector<uint8_t> packed(rows * bytes + 64);
  auto* aligned = reinterpret_cast<uint8_t*>(lsrt::round_up(reinterpret_cast<uintptr_t>(packed.data()), 64));
  std::vector<lsrt::RowScale> scales(rows);
  k.gemm.pack_rows(x.data(), w.depth, rows, w.depth, aligned, scales.data());
  std::vector<float> y(rows * w.outputs);
  k.gemm.gemm(
      aligned, scales.data(), rows,
      {w.data.data(), w.scale.data(), w.sum.data(), biased ? w.bias.data() : nullptr, w.outputs, w.depth}, 0,
      lsrt::panel_count(w.outputs), y.data(), w.outputs);
  if (activation == cuda::Activate::kGelu) k.rows.gelu(y.data(), y.size());
  if (activation == cuda::Activate::kRelu) k.rows.relu(y.data(), y.size());
  return y;
}

TEST_CASE("int8 linear layers") {
  Random random(5);
  struct Shape {
    uint32_t rows, outputs, depth;
  };
  for (const Shape& s : std::initializer_list<Shape>{{1, 1, 1},
                                                     {1, 16, 64},
                                                     {1, 45, 130},
                                                     {1, 33, 1100},
                                                     {2, 33, 3},
                                                     {16, 32, 64},
                                                     {19, 70, 100},
                                                     {33, 130, 68},
                                                     {64, 128, 256},
                                                     {77, 200, 141}}) {
    const Weights w(random, s.outputs, s.depth);
    std::vector<float> host = floats(random, size_t{s.rows} * s.depth);
    if (s.rows > 2) {  // rows that quantization takes special care of
      std::fill_n(host.begin(), s.depth, 0.0f);
      host[s.depth] = std::numeric_limits<float>::quiet_NaN();
      host[2 * s.depth] = std::numeric_limits<float>::infinity();
    }
    const DeviceArray<float> x(host);
    const DeviceArray<int8_t> q(s.rows * lsrt::round_up(s.depth, 64), 99);
    const DeviceArray<lsrt::RowScale> scale(s.rows);
    launch(cuda::QuantizeParams{x.data(), q.data(), scale.data(), s.rows, s.depth});
    for (const auto activation : {cuda::Activate::kNone, cuda::Activate::kRelu, cuda::Activate::kGelu}) {
      const bool biased = activation != cuda::Activate::kRelu;
      const std::vector<float> expected = product(host, w, biased, activation);
      const DeviceArray<float> y(expected.size(), -1.0f), z(s.outputs, -1.0f);
      INFO(s.rows, " x ", s.outputs, " x ", s.depth);
      launch(cuda::ProductParams{w.panels(biased), q.data(), scale.data(), y.data(), s.rows, activation});
      REQUIRE(same_floats(expected.data(), y.data(), y.size()));
      launch(cuda::GemvParams{w.panels(biased), x.data() + (s.rows - 1) * s.depth, z.data(), activation});
      REQUIRE(same_floats(expected.data() + (s.rows - 1) * s.outputs, z.data(), z.size()));
    }
  }
}

TEST_CASE("float linear layers") {
  Random random(6);
  for (const uint32_t inputs : {1, 16, 33}) {
    constexpr uint32_t kRows = 3, kOutputs = 19;
    const DeviceArray<float> x(floats(random, kRows * inputs)), w(floats(random, kOutputs * inputs));
    const DeviceArray<float> bias(floats(random, kOutputs)), y(kRows * kOutputs);
    launch(cuda::FloatLinearParams{w.data(), bias.data(), x.data(), y.data(), kRows, inputs, kOutputs,
                                   cuda::Activate::kGelu});
    std::vector<float> expected(y.size());
    for (size_t i = 0; i < expected.size(); ++i) {
      expected[i] =
          scalar().rows.dot(x.data() + i / kOutputs * inputs, w.data() + i % kOutputs * inputs, inputs) +
          bias[i % kOutputs];
    }
    scalar().rows.gelu(expected.data(), expected.size());
    REQUIRE(same_floats(expected.data(), y.data(), y.size()));
  }
}

}  // namespace
