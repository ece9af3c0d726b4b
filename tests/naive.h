// Plain double precision pieces for references that share no code with the runtime: rows are vectors, one at
// a time.
#pragma once

#include <cmath>
#include <limits>
#include <vector>

#include "runtime/model.h"

namespace naive {

using Row = std::vector<double>;
using Rows = std::vector<Row>;

inline Row linear(const lsrt::LinearView& view, const Row& x) {
  Row y(view.outputs);
  for (size_t o = 0; o < view.outputs; ++o) {
    double sum = view.bias ? view.bias[o] : 0;
    for (size_t i = 0; i < view.inputs; ++i) sum += x[i] * view.weight.floats()[o * view.inputs + i];
    y[o] = sum;
  }
  return y;
}

inline Row norm(const lsrt::NormView& view, const Row& x) {
  double mean = 0, square = 0;
  for (double v : x) mean += v / x.size();
  for (double v : x) square += (v - mean) * (v - mean) / x.size();
  Row y(x.size());
  for (size_t i = 0; i < x.size(); ++i)
    y[i] = (x[i] - mean) / std::sqrt(square + view.eps) * view.gamma[i] + view.beta[i];
  return y;
}

inline Row add(Row x, const Row& y) {
  for (size_t i = 0; i < x.size(); ++i) x[i] += y[i];
  return x;
}

inline Row part(const Row& x, size_t first, size_t count) {
  return Row(x.begin() + first, x.begin() + first + count);
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

inline Row feed_forward(const lsrt::FeedForward& f, const Row& x) {
  Row hidden = linear(f.fc1, x);
  for (double& v : hidden)
    v = f.activation == lsrt::Activation::kGelu ? 0.5 * v * (1 + std::erf(v / std::sqrt(2.0)))
                                                : std::max(v, 0.0);
  return linear(f.fc2, hidden);
}

// One softmax over keys; out[slice of head] += its weights times the values.
inline void attend(const Row& scores, const std::vector<const Row*>& values, size_t first, size_t count,
                   Row* out) {
  const Row weight = softmax(scores);
  for (size_t t = 0; t < values.size(); ++t) {
    for (size_t i = first; i < first + count; ++i) (*out)[i] += weight[t] * (*values[t])[i];
  }
}

}  // namespace naive
