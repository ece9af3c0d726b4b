// The scalar kernels, the definition of all others, against double precision. Bounds are derived, not tuned:
// half a step of every rounding to integers, and unit roundoffs (eps = 2^-24) of the float operations on the
// way.
#include <float.h>
#include <math.h>

#include <algorithm>
#include <random>
#include <vector>

#include <doctest/doctest.h>

#include "kernels/dispatch.h"

namespace {

constexpr double kEps = 0x1p-24;

const lsrt::Kernels& scalar() {
  lsrt::KernelChoice choice;
  return *lsrt::find_kernels("scalar", &choice);
}

std::vector<float> normal(size_t n, float scale, std::mt19937& random) {
  std::normal_distribution<float> distribution(0.0f, scale);
  std::vector<float> x(n);
  for (float& v : x) v = distribution(random);
  return x;
}

std::vector<double> softmax(const std::vector<float>& s) {
  const double m = *std::max_element(s.begin(), s.end());
  std::vector<double> p(s.size());
  double sum = 0;
  for (size_t i = 0; i < s.size(); ++i) sum += p[i] = exp(s[i] - m);
  for (double& v : p) v /= sum;
  return p;
}

}  // namespace

TEST_CASE("exp") {
  // softmax of {0, x} is e / (1 + e) with e = exp(x): e is recovered from the ratio of the two.
  double worst = 0;
  for (int i = 0; i <= 870000; ++i) {
    const float x = (float)i * -1e-4f;
    float pair[2] = {0.0f, x};
    scalar().rows.softmax(pair, 2);
    worst = std::max(worst, fabs((double)pair[1] / pair[0] / exp((double)x) - 1));
  }
  MESSAGE("largest relative error ", worst);
  CHECK(worst < 2e-7 + 2 * kEps);  // exp itself, two products
  for (float x : {-87.01f, -100.0f, -1e30f, lsrt::kMaskedScore}) {
    float pair[2] = {0.0f, x};
    scalar().rows.softmax(pair, 2);
    CHECK(pair[0] == 1.0f);
    CHECK(pair[1] == 0.0f);
  }
}

TEST_CASE("gelu") {
  const auto exact = [](double x) { return 0.5 * x * erfc(-x / sqrt(2.0)); };
  double worst = 0;
  for (int i = -1200000; i <= 1200000; ++i) {
    const float x = (float)i * 1e-5f;
    float y = x;
    scalar().rows.gelu(&y, 1);
    const double error = fabs(y - exact(x));
    worst = std::max(worst, error);
    REQUIRE(error <= 2e-6 + 2e-6 * fabs(exact(x)));
  }
  MESSAGE("largest error on -12 .. 12: ", worst);
  for (float x : {-1e30f, -1e6f, -20.0f, 0.0f, 20.0f, 1e6f, 1e30f, INFINITY}) {
    float y = x;
    scalar().rows.gelu(&y, 1);
    CHECK(y == std::max(x, 0.0f));
  }
}

TEST_CASE("layer_norm") {
  std::mt19937 random(1);
  for (size_t d : {1, 3, 16, 96, 512, 1000}) {
    for (float offset : {0.0f, 3.0f, -50.0f}) {
      std::vector<float> x = normal(d, 2.0f, random);
      for (float& v : x) v += offset;
      const std::vector<float> gamma = normal(d, 1.0f, random), beta = normal(d, 1.0f, random);
      double mean = 0, variance = 0, largest = 0;
      for (float v : x) mean += (double)v / (double)d;
      for (float v : x) variance += (v - mean) * (v - mean) / (double)d;
      for (float v : x) largest = std::max(largest, fabs((double)v));
      const double rstd = 1 / sqrt(variance + 1e-5);
      std::vector<float> y(d);
      scalar().rows.layer_norm(x.data(), d, 1, gamma.data(), beta.data(), 1e-5f, d, y.data(), d);
      // The mean is off by at most (d / 16 + 5) eps of the largest element; the variance relatively by as
      // much.
      const double terms = (double)d / 16 + 5;
      for (size_t i = 0; i < d; ++i) {
        const double z = (x[i] - mean) * rstd;
        const double bound = kEps * ((terms + 2) * largest * rstd + (terms + 8) * fabs(z)) * (1 + fabs(z));
        INFO("d ", d, " offset ", offset, " element ", i);
        REQUIRE(fabs(y[i] - (z * gamma[i] + beta[i])) <=
                bound * fabs(gamma[i]) + 2 * kEps * (fabs(y[i]) + fabs(beta[i])));
      }
    }
  }
}

TEST_CASE("dot") {
  std::mt19937 random(6);
  for (size_t n : {1, 3, 16, 17, 96, 1000}) {
    const std::vector<float> x = normal(n, 2.0f, random), y = normal(n, 3.0f, random);
    double expected = 0, magnitude = 0;
    for (size_t i = 0; i < n; ++i) {
      expected += (double)x[i] * y[i];
      magnitude += fabs((double)x[i] * y[i]);
    }
    // One rounding a product, those of a lane's additions and of four folds.
    CHECK(fabs(scalar().rows.dot(x.data(), y.data(), n) - expected) <=
          kEps * ((double)n / 16 + 6) * magnitude);
  }
}

TEST_CASE("add_scaled") {
  std::mt19937 random(7);
  const std::vector<float> x = normal(37, 2.0f, random), y = normal(37, 3.0f, random);
  std::vector<float> sum = y;
  scalar().rows.add_scaled(0.3f, x.data(), x.size(), sum.data());
  for (size_t i = 0; i < x.size(); ++i) {
    const double product = 0.3f * (double)x[i];
    CHECK(fabs(sum[i] - (y[i] + product)) <= kEps * (fabs(product) + fabs(y[i] + product)) * (1 + kEps));
  }
}

TEST_CASE("exp_columns") {
  std::mt19937 random(8);
  for (size_t rows : {1, 2, 7, 64}) {
    const size_t n = 5, ld_s = 6, ld_e = 8;
    const std::vector<float> s = normal(rows * ld_s, 4.0f, random);
    std::vector<float> e(rows * ld_e), largest(n), total(n);
    scalar().rows.exp_columns(s.data(), ld_s, rows, n, e.data(), ld_e, largest.data(), total.data());
    for (size_t j = 0; j < n; ++j) {
      float m = s[j];
      for (size_t t = 0; t < rows; ++t) m = std::max(m, s[t * ld_s + j]);
      CHECK(largest[j] == m);
      double sum = 0, error = 0;
      for (size_t t = 0; t < rows; ++t) {
        const double expected = exp((double)s[t * ld_s + j] - m);
        // The rounded difference changes exp relatively, then exp itself.
        const double bound = (kEps * (m - s[t * ld_s + j]) + 2e-7 + kEps) * expected;
        CHECK(fabs(e[t * ld_e + j] - expected) <= bound);
        sum += expected;
        error += bound;
      }
      CHECK(fabs(total[j] - sum) <= error + kEps * (double)rows * sum);
    }
  }
}

TEST_CASE("weighted_sum") {
  std::mt19937 random(10);
  for (size_t d_head : {5, 16, 40}) {
    const size_t rows = 3, count = 12, ld_weight = 13, width = (d_head + 15) / 16 * 16, ld_acc = width + 1;
    std::vector<int> value(count * d_head);
    std::vector<int8_t> values(count * width);
    for (size_t t = 0; t < count; ++t) {
      for (size_t e = 0; e < d_head; ++e) {
        const int v = value[t * d_head + e] = (int)(random() % 255) - 127;
        values[((t / 4 * (width / 16) + e / 16) * 16 + e % 16) * 4 + t % 4] = (int8_t)v;
      }
    }
    std::vector<uint16_t> weight(rows * ld_weight);
    for (uint16_t& w : weight) w = (uint16_t)(random() % (lsrt::kSoftmaxWeightMax + 1));
    std::vector<int32_t> acc(rows * ld_acc, 1000);
    scalar().attn.weighted_sum(weight.data(), ld_weight, rows, values.data(), count, d_head, acc.data(),
                               ld_acc);
    for (size_t i = 0; i < rows; ++i) {
      for (size_t e = 0; e < d_head; ++e) {
        int64_t expected = 1000;
        for (size_t t = 0; t < count; ++t)
          expected += (int64_t)weight[i * ld_weight + t] * value[t * d_head + e];
        CHECK(acc[i * ld_acc + e] == expected);
      }
    }
  }
}

TEST_CASE("weighted_rows") {
  std::mt19937 random(9);
  for (size_t rows : {1, 3, 64}) {
    const size_t n = 3, d = 7, ld_weight = 4, ld_x = 9, ld_out = 8;
    const std::vector<float> weight = normal(rows * ld_weight, 1.0f, random);
    const std::vector<float> x = normal(rows * ld_x, 2.0f, random);
    std::vector<float> out(n * ld_out);
    scalar().attn.weighted_rows(weight.data(), ld_weight, x.data(), ld_x, rows, n, d, out.data(), ld_out);
    for (size_t j = 0; j < n; ++j) {
      for (size_t k = 0; k < d; ++k) {
        double expected = 0, magnitude = 0;
        for (size_t t = 0; t < rows; ++t) {
          const double product = (double)weight[t * ld_weight + j] * x[t * ld_x + k];
          expected += product;
          magnitude += fabs(product);
        }
        CHECK(fabs(out[j * ld_out + k] - expected) <= kEps * (double)rows * magnitude);
      }
    }
  }
}

TEST_CASE("softmax") {
  std::mt19937 random(2);
  for (size_t n : {1, 2, 15, 16, 17, 300}) {
    std::vector<float> s = normal(n, 5.0f, random);
    const std::vector<double> expected = softmax(s);
    std::vector<float> p = s;
    scalar().rows.softmax(p.data(), n);
    const float m = *std::max_element(s.begin(), s.end());
    for (size_t i = 0; i < n; ++i) {
      // s - m is rounded once, which exp turns into a relative error; then exp, the sum, two products.
      const double relative = kEps * (m - s[i]) + 4e-7 + kEps * ((double)n / 16 + 8);
      REQUIRE(fabs(p[i] - expected[i]) <= relative * expected[i]);
    }
  }
}

TEST_CASE("softmax_weights reconstruct the weighted sum of value rows") {
  std::mt19937 random(3);
  for (size_t n : {16, 64, 256, 4096}) {
    for (float spread : {0.1f, 2.0f, 20.0f}) {
      std::vector<float> s = normal(n, spread, random), value_scale = normal(n, 0.02f, random);
      for (float& v : value_scale) v = fabsf(v);
      for (size_t i = 0; i < n; i += 3) s[i] = lsrt::kMaskedScore;
      const std::vector<double> p = softmax(s);
      std::vector<uint16_t> weight(n);
      std::vector<float> work = s;
      float factor;
      scalar().rows.softmax_weights(work.data(), value_scale.data(), 1, n, weight.data(), &factor);
      CHECK(factor > 0);
      double expected = 0, magnitude = 0, actual = 0, total = 0;
      for (size_t t = 0; t < n; ++t) {
        const int v = (int)(random() % 255) - 127;
        expected += p[t] * value_scale[t] * v;
        magnitude += p[t] * value_scale[t] * abs(v);
        actual += (double)factor * weight[t] * v;
        total += weight[t];
        CHECK(weight[t] <= lsrt::kSoftmaxWeightMax);
        if (s[t] == lsrt::kMaskedScore) CHECK(weight[t] == 0);
      }
      CHECK(127.0 * total < 2147483648.0);
      const double relative = 1e-6 + kEps * (10.0 * spread + (double)n / 16 + 16);
      INFO("n ", n, " spread ", spread);
      CHECK(fabs(actual - expected) <= factor * 0.5 * 127 * (double)n + relative * magnitude);
    }
  }
  // One key: its value row comes back exactly scaled. All value scales zero: nothing.
  std::vector<float> s(16, lsrt::kMaskedScore), value_scale(16, 0.25f);
  std::vector<uint16_t> weight(16);
  s[5] = -3.0f;
  float factor;
  scalar().rows.softmax_weights(s.data(), value_scale.data(), 1, 16, weight.data(), &factor);
  CHECK(factor * weight[5] == doctest::Approx(0.25).epsilon(1e-6));
  std::fill(value_scale.begin(), value_scale.end(), 0.0f);
  scalar().rows.softmax_weights(s.data(), value_scale.data(), 1, 16, weight.data(), &factor);
  CHECK(factor == 0.0f);
  CHECK(weight == std::vector<uint16_t>(16, 0));
}

TEST_CASE("softmax_weights stay in int32 for many equal keys") {
  const size_t n = 200000;
  std::vector<float> s(n, 1.0f), value_scale(n, 1.0f);
  std::vector<uint16_t> weight(n);
  float factor;
  scalar().rows.softmax_weights(s.data(), value_scale.data(), 1, n, weight.data(), &factor);
  double total = 0;
  for (uint16_t w : weight) total += w;
  CHECK(127 * total < 2147483648.0);
  CHECK(total > 0.9 * lsrt::kSoftmaxSumMax);
}

TEST_CASE("quantize_symmetric") {
  std::mt19937 random(4);
  const std::vector<float> x = normal(100, 3.0f, random);
  std::vector<int8_t> q(100);
  float scale;
  int32_t sum, expected_sum = 0;
  scalar().rows.quantize_symmetric(x.data(), 1, 100, q.data(), 100, &scale, &sum);
  for (int8_t v : q) expected_sum += v;
  CHECK(sum == expected_sum);
  int largest = 0;
  for (size_t i = 0; i < 100; ++i) {
    CHECK(fabs(q[i] * (double)scale - x[i]) <= scale * (0.5 + 127 * 4 * kEps));
    largest = std::max(largest, abs(q[i]));
  }
  CHECK(largest == 127);
}

TEST_CASE("gemm") {
  std::mt19937 random(5);
  for (size_t depth : {1, 5, 64, 512}) {
    const size_t outputs = 17, panels = lsrt::panel_count(outputs);
    const std::vector<float> x = normal(depth, 1.5f, random);
    std::vector<int8_t> data(panels * lsrt::panel_bytes(depth) + 64);
    int8_t* panel = data.data() + (64 - (uintptr_t)data.data() % 64) % 64;
    std::vector<float> scale(panels * 16), bias(outputs, 0.5f);
    std::vector<int32_t> sum(panels * 16);
    std::vector<double> expected(outputs, 0.5), weight_sum(outputs);
    for (size_t n = 0; n < outputs; ++n) {
      scale[n] = 0.01f;
      for (size_t k = 0; k < depth; ++k) {
        const int w = (int)(random() % 255) - 127;
        // The layout of the model file, written out: panel_offset must not move it.
        panel[n / 16 * lsrt::panel_bytes(depth) + (k / 4 * 16 + n % 16) * 4 + k % 4] = (int8_t)w;
        sum[n] += w;
        expected[n] += (double)x[k] * w * scale[n];
        weight_sum[n] += abs(w) * (double)scale[n];
      }
    }
    const lsrt::GemmKernels& gemm = scalar().gemm;
    std::vector<uint8_t> packed(gemm.packed_row_bytes(depth) + 64);
    uint8_t* row = packed.data() + (64 - (uintptr_t)packed.data() % 64) % 64;
    lsrt::RowScale row_scale;
    gemm.pack_rows(x.data(), depth, 1, depth, row, &row_scale);
    std::vector<float> out(outputs);
    gemm.gemm(row, &row_scale, 1, {panel, scale.data(), sum.data(), bias.data(), outputs, depth}, 0, panels,
              out.data(), outputs);
    for (size_t n = 0; n < outputs; ++n) {
      // Every input is off by half a step, at the ends of the range by up to a whole one: the zero point is
      // rounded too.
      REQUIRE(fabs(out[n] - expected[n]) <=
              row_scale.scale * weight_sum[n] * 1.001 + 4 * kEps * fabs(expected[n]));
    }
  }
}
