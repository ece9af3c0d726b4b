// Separable resampling in fixed point, step by step as in Pillow (libImaging/Resample.c): first along rows,
// rounded to 8 bits, then along columns. Only what is kept is computed, and extents of the resized image are
// no more than numbers: time and memory depend on what is kept and on the pixels that it is made of.
#include <algorithm>
#include <cmath>

#include "image/image.h"

namespace lsrt {
namespace {

// Fraction bits of weights: 32 less 8 of a pixel and 2 for sums that overshoot.
constexpr int kPrecision = 22;
constexpr double kSupport = 2;  // of the bicubic filter

double bicubic(double x) {
  constexpr double a = -0.5;
  x = std::fabs(x);
  if (x < 1) return ((a + 2) * x - (a + 3)) * x * x + 1;
  if (x < 2) return (((x - 5) * x + 8) * x - 4) * a;
  return 0;
}

// What one output pixel is made of: pixels first .. first + weights.size().
struct Taps {
  int first;
  std::vector<int32_t> weights;
};

// Of pixels first .. first + count of a row of `in` pixels resized to `out`.
std::vector<Taps> make_taps(uint32_t in, uint64_t out, uint64_t first_out, uint32_t count) {
  const double scale = static_cast<double>(in) / static_cast<double>(out), widen = std::max(scale, 1.0);
  const double support = kSupport * widen;
  std::vector<Taps> taps(count);
  std::vector<double> weights;
  for (uint32_t i = 0; i < count; ++i) {
    const double center = (static_cast<double>(first_out + i) + 0.5) * scale;
    const int first = std::max(static_cast<int>(center - support + 0.5), 0);
    const int end = std::min(static_cast<int>(center + support + 0.5), static_cast<int>(in));
    weights.clear();
    double sum = 0;
    for (int x = first; x < end; ++x) {
      weights.push_back(bicubic((x - center + 0.5) * (1 / widen)));
      sum += weights.back();
    }
    taps[i].first = first;
    for (double w : weights) {
      const double fixed = (sum != 0 ? w / sum : w) * (1 << kPrecision);
      taps[i].weights.push_back(static_cast<int32_t>(fixed < 0 ? fixed - 0.5 : fixed + 0.5));
    }
  }
  return taps;
}

// Sum of weighted bytes that lie `step` apart, from number `first` on.
uint8_t apply(const Taps& taps, int first, const uint8_t* pixels, size_t step) {
  const uint8_t* pixel = pixels + static_cast<size_t>(first) * step;
  int32_t sum = 1 << (kPrecision - 1);
  for (int32_t weight : taps.weights) {
    sum += *pixel * weight;
    pixel += step;
  }
  return static_cast<uint8_t>(std::clamp(sum >> kPrecision, 0, 255));
}

}  // namespace

Image resize_image(const Image& image, uint64_t width, uint64_t height, const Crop& crop) {
  const std::vector<Taps> columns = make_taps(image.width, width, crop.left, crop.width);
  const std::vector<Taps> rows = make_taps(image.height, height, crop.top, crop.height);
  // Rows of the image that the cropped ones are made of.
  int first = rows.front().first, end = first;
  for (const Taps& taps : rows) end = std::max(end, taps.first + static_cast<int>(taps.weights.size()));

  const size_t row_bytes = size_t{3} * crop.width;
  std::vector<uint8_t> narrow(row_bytes * static_cast<size_t>(end - first));
  uint8_t* to = narrow.data();
  for (int y = first; y < end; ++y) {
    const uint8_t* row = image.rgb.data() + size_t{3} * image.width * static_cast<size_t>(y);
    for (const Taps& taps : columns) {
      for (int c = 0; c < 3; ++c) *to++ = apply(taps, taps.first, row + c, 3);
    }
  }
  Image out{crop.width, crop.height, std::vector<uint8_t>(row_bytes * crop.height)};
  to = out.rgb.data();
  for (const Taps& taps : rows) {
    for (size_t x = 0; x < row_bytes; ++x)
      *to++ = apply(taps, taps.first - first, narrow.data() + x, row_bytes);
  }
  return out;
}

}  // namespace lsrt
