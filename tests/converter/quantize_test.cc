// The int8 quantizer: the layout of its panels, and that its scales are the best ones.
#include "converter/writer/quantize.h"

#include <doctest/doctest.h>

#include <cmath>
#include <cstring>
#include <random>

#include "kernels/gemm/gemm.h"

namespace lsrt {
namespace {

std::vector<float> normal(size_t count, unsigned seed) {
  std::mt19937 generator(seed);
  std::normal_distribution<float> distribution;
  std::vector<float> values(count);
  for (float& value : values) value = distribution(generator);
  return values;
}

int8_t packed(const TensorBytes& bytes, size_t row, size_t column, size_t columns) {
  const size_t at = row / 16 * panel_bytes(columns) + column / 4 * 64 + row % 16 * 4 + column % 4;
  return static_cast<int8_t>(bytes.data[at]);
}

double squared_error(const float* row, size_t columns, double scale) {
  double sum = 0;
  for (size_t k = 0; k < columns; k++) {
    const double x = static_cast<double>(row[k]);
    const double q = std::min(127.0, std::max(-127.0, std::nearbyint(x / scale)));
    sum += (x - q * scale) * (x - q * scale);
  }
  return sum;
}

TEST_CASE("panels hold the rows, padded with zeros") {
  const struct {
    size_t groups, rows, columns;
  } shapes[] = {{1, 1, 1}, {1, 16, 4}, {1, 17, 5}, {1, 5, 33}, {3, 20, 7}, {2, 16, 64}};
  for (const auto& shape : shapes) {
    CAPTURE(shape.rows);
    CAPTURE(shape.columns);
    const std::vector<float> values = normal(shape.groups * shape.rows * shape.columns, 1);
    QuantizationError error;
    const TensorBytes bytes = quantize(values, shape.groups, shape.rows, shape.columns, &error);
    const size_t padded = round_up(shape.rows, 16);
    REQUIRE(bytes.scales.size() == shape.groups * padded);
    REQUIRE(bytes.sums.size() == shape.groups * padded);
    REQUIRE(bytes.data.size() == shape.groups * padded * round_up(shape.columns, 4));
    double noise = 0, signal = 0, worst = 0;
    for (size_t r = 0; r < shape.groups * padded; r++) {
      const size_t row = r / padded * shape.rows + r % padded;  // in values
      const bool used = r % padded < shape.rows;
      int32_t sum = 0;
      for (size_t k = 0; k < round_up(shape.columns, 4); k++) {
        const int8_t q = packed(bytes, r, k, shape.columns);
        sum += q;
        CHECK(q >= -127);
        if (!used || k >= shape.columns) {
          CHECK(q == 0);
          continue;
        }
        const double x = static_cast<double>(values[row * shape.columns + k]);
        const double difference = std::abs(x - q * static_cast<double>(bytes.scales[r]));
        if (std::abs(q) < 127) CHECK(difference <= 0.5001 * static_cast<double>(bytes.scales[r]));
        worst = std::max(worst, difference);
        noise += difference * difference;
        signal += x * x;
      }
      CHECK(bytes.sums[r] == sum);
      if (!used) CHECK(bytes.scales[r] == 0);
    }
    CHECK(error.max_abs == doctest::Approx(worst).epsilon(1e-4));
    CHECK(error.relative_rms == doctest::Approx(std::sqrt(noise / signal)).epsilon(1e-4));
    if (error.snr_db < 140)
      CHECK(error.snr_db == doctest::Approx(10 * std::log10(signal / noise)).epsilon(1e-4));
  }
}

TEST_CASE("the scale of a row is near the best of all") {
  for (unsigned seed = 0; seed < 20; seed++) {
    CAPTURE(seed);
    const size_t columns = 16 + 31 * seed;
    std::vector<float> row = normal(columns, seed);
    if (seed % 3 == 1) row[seed] = 4;  // outliers
    if (seed % 3 == 2) row[0] = -7;
    float largest = 0;
    for (float x : row) largest = std::max(largest, std::abs(x));
    const double plain = static_cast<double>(largest) / 127;
    double best = squared_error(row.data(), columns, plain);
    const double chosen =
        squared_error(row.data(), columns, static_cast<double>(choose_scale(row.data(), columns)));
    CHECK(chosen <= best * 1.0001);
    for (int i = 0; i < 1000; i++)
      best = std::min(best, squared_error(row.data(), columns, plain * (0.5 + 0.0005 * i)));
    CHECK(chosen <= best * 1.25);
  }
}

TEST_CASE("an outlier among many equals is clipped") {
  std::vector<float> row(4096);
  const std::vector<float> noise = normal(row.size(), 3);
  for (size_t k = 0; k < row.size(); k++) row[k] = 0.001f * noise[k] + (k % 2 == 0 ? 0.5f : -0.5f);
  row[7] = 0.6f;
  CHECK(choose_scale(row.data(), row.size()) < 0.6f / 127);
}

TEST_CASE("rows of zeros and of tiny numbers") {
  QuantizationError error;
  const TensorBytes zeros = quantize(std::vector<float>(64), 1, 4, 16, &error);
  for (float scale : zeros.scales) CHECK(scale == 0);
  CHECK(error.relative_rms == 0);
  CHECK(error.cosine == 1);
  CHECK(error.snr_db == 999);
  const TensorBytes tiny = quantize(std::vector<float>(16, 1e-39f), 1, 1, 16, &error);
  CHECK(tiny.scales[0] == 0);
  CHECK(tiny.sums[0] == 0);
  const TensorBytes huge = quantize({3e38f, -3e38f, 1e38f, 0}, 1, 1, 4, &error);
  CHECK(std::isfinite(huge.scales[0]));
  CHECK(packed(huge, 0, 0, 4) == 127);
  CHECK(packed(huge, 0, 1, 4) == -127);
}

TEST_CASE("normal weights lose less than 1 % and keep their direction") {
  QuantizationError error;
  quantize(normal(256 * 512, 9), 1, 256, 512, &error);
  MESSAGE("relative error " << error.relative_rms << ", " << error.snr_db << " dB");
  CHECK(error.relative_rms < 0.008);
  CHECK(error.cosine > 0.99996);
  CHECK(error.snr_db > 42);
}

TEST_CASE("any number of threads gives the same bytes and errors") {
  const std::vector<float> values = normal(3 * 37 * 21, 5);
  QuantizationError error;
  const TensorBytes one = quantize(values, 3, 37, 21, &error);
  for (const size_t threads : {0u, 2u, 3u, 8u, 1000u}) {
    CAPTURE(threads);
    QuantizationError other;
    const TensorBytes many = quantize(values, 3, 37, 21, &other, threads);
    CHECK(many.data == one.data);
    CHECK(many.scales == one.scales);
    CHECK(many.sums == one.sums);
    CHECK(other.relative_rms == error.relative_rms);
    CHECK(other.cosine == error.cosine);
    CHECK(other.max_abs == error.max_abs);
  }
}

TEST_CASE("float32 is stored as it is") {
  const std::vector<float> values = normal(10, 2);
  const TensorBytes bytes = store_floats(values);
  REQUIRE(bytes.data.size() == 40);
  CHECK(std::memcmp(bytes.data.data(), values.data(), 40) == 0);
  CHECK(bytes.scales.empty());
}

}  // namespace
}  // namespace lsrt
