// Plain double precision pieces for references that share no code with the runtime: rows are vectors, one at
// a time.
#pragma once

#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

#include "runtime/model/model.h"

namespace lsrt_test::naive {

using namespace lsrt;

using Row = std::vector<double>;
using Rows = std::vector<Row>;

// While true, rows and sums over keys are rounded to float32: how far a result moves then is what float
// arithmetic does to this model on this input.
inline bool round_rows = false;

inline double rounded(double value) { return round_rows ? static_cast<float>(value) : value; }

inline Row linear(const LinearView& view, const Row& x) {
  Row y(view.outputs);
  for (size_t o = 0; o < view.outputs; ++o) {
    double sum = view.bias ? view.bias[o] : 0;
    for (size_t i = 0; i < view.inputs; ++i) sum += x[i] * view.weight.floats()[o * view.inputs + i];
    y[o] = rounded(sum);
  }
  return y;
}

// No norm: the row itself.
inline Row norm(const NormView& view, const Row& x) {
  if (!view) return x;
  const bool rms = view.kind == NormKind::kRms;
  double mean = 0, square = 0;
  for (double v : x) mean += rms ? 0 : v / x.size();
  for (double v : x) square += (v - mean) * (v - mean) / x.size();
  Row y(x.size());
  for (size_t i = 0; i < x.size(); ++i)
    y[i] = rounded((x[i] - mean) / std::sqrt(square + view.eps) * (view.gamma ? view.gamma[i] : 1) +
                   (rms ? 0 : view.beta[i]));
  return y;
}

inline Row add(Row x, const Row& y) {
  for (size_t i = 0; i < x.size(); ++i) x[i] = rounded(x[i] + y[i]);
  return x;
}

inline Row part(const Row& x, size_t first, size_t count) {
  return Row(x.begin() + first, x.begin() + first + count);
}

// Row of a float32 table [rows, width].
inline Row table_row(const float* table, size_t row, size_t width) {
  return Row(table + row * width, table + (row + 1) * width);
}

// Of the slice of one head.
inline double dot(const Row& x, const Row& y, size_t first, size_t count) {
  double sum = 0;
  for (size_t i = first; i < first + count; ++i) sum += x[i] * y[i];
  return sum;
}

inline Row softmax(Row x) {
  double largest = -std::numeric_limits<double>::infinity(), sum = 0;
  for (double v : x) largest = std::max(largest, v);
  for (double& v : x) sum += v = std::exp(v - largest);
  for (double& v : x) v /= sum;
  return x;
}

inline Row feed_forward(const FeedForward& f, const Row& x) {
  Row hidden = linear(f.fc1, x);
  for (double& v : hidden) {
    if (f.activation == Activation::kGelu) v *= 0.5 * (1 + std::erf(v / std::sqrt(2.0)));
    if (f.activation == Activation::kRelu) v = std::max(v, 0.0);
  }
  return linear(f.fc2, norm(f.norm, hidden));
}

// One softmax over keys; out[slice of head] += its weights times the values.
inline void attend(const Row& scores, const std::vector<const Row*>& values, size_t first, size_t count,
                   Row* out) {
  const Row weight = softmax(scores);
  for (size_t t = 0; t < values.size(); ++t) {
    for (size_t i = first; i < first + count; ++i)
      (*out)[i] = rounded((*out)[i] + weight[t] * (*values[t])[i]);
  }
}

// Logits of pooled features.
inline Row classify_features(const ClassifierHead& head, Row features) {
  for (size_t i = 0; i < head.layers.size(); ++i) {
    features = linear(head.layers[i], features);
    for (double& v : features) v = i + 1 < head.layers.size() ? std::max(v, 0.0) : v;
  }
  return features;
}

}  // namespace lsrt_test::naive
