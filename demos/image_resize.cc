// Separable resampling in fixed point, step by step as in Pillow (libImaging/Resample.c): first along rows,
// rounded to 8 bits, then along columns.
#include <algorithm>
#include <cmath>

#include "demos/image.h"

namespace lsrt {
namespace {

constexpr int kPrecision =
    22;  // fraction bits of weights: 32 less 8 of a pixel and 2 for sums that overshoot
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

std::vector<Taps> make_taps(uint32_t in, uint32_t out) {
  const double scale = static_cast<double>(in) / out, widen = std::max(scale, 1.0);
  const double support = kSupport * widen;
  std::vector<Taps> taps(out);
  std::vector<double> weights;
  for (uint32_t i = 0; i < out; ++i) {
    const double center = (i + 0.5) * scale;
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

// Sum of weighted bytes that lie `step` apart.
uint8_t apply(const Taps& taps, const uint8_t* pixels, size_t step) {
  const uint8_t* pixel = pixels + static_cast<size_t>(taps.first) * step;
  int32_t sum = 1 << (kPrecision - 1);
  for (int32_t weight : taps.weights) {
    sum += *pixel * weight;
    pixel += step;
  }
  return static_cast<uint8_t>(std::clamp(sum >> kPrecision, 0, 255));
}

Image resize_rows(const Image& image, uint32_t width) {
  Image out{width, image.height, std::vector<uint8_t>(size_t{3} * width * image.height)};
  const std::vector<Taps> taps = make_taps(image.width, width);
  for (uint32_t y = 0; y < image.height; ++y) {
    const uint8_t* row = image.rgb.data() + size_t{3} * image.width * y;
    uint8_t* to = out.rgb.data() + size_t{3} * width * y;
    for (uint32_t x = 0; x < width; ++x) {
      for (int c = 0; c < 3; ++c) *to++ = apply(taps[x], row + c, 3);
    }
  }
  return out;
}

Image resize_columns(const Image& image, uint32_t height) {
  Image out{image.width, height, std::vector<uint8_t>(size_t{3} * image.width * height)};
  const size_t row_bytes = size_t{3} * image.width;
  const std::vector<Taps> taps = make_taps(image.height, height);
  for (uint32_t y = 0; y < height; ++y) {
    uint8_t* to = out.rgb.data() + row_bytes * y;
    for (size_t x = 0; x < row_bytes; ++x) to[x] = apply(taps[y], image.rgb.data() + x, row_bytes);
  }
  return out;
}

}  // namespace

Image resize_image(const Image& image, uint32_t width, uint32_t height) {
  Image out = width == image.width ? image : resize_rows(image, width);
  return height == out.height ? out : resize_columns(out, height);
}

}  // namespace lsrt
