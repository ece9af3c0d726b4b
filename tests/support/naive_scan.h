// A selective state space (spec mamba, section 1) in plain double precision, one row at a time.
#pragma once

#include <deque>

#include "tests/support/naive.h"

namespace lsrt_test::naive {

inline double silu(double x) { return x / (1 + std::exp(-x)); }
inline double softplus(double x) { return std::max(x, 0.0) + std::log1p(std::exp(-std::fabs(x))); }

class ScanLayer {
 public:
  virtual ~ScanLayer() = default;
  virtual Row step(const Row& x) = 0;

 protected:
  // silu of the convolution of the last rows of a history.
  static Row convolved(const std::deque<Row>& history, const float* weight, const float* bias) {
    Row v(history[0].size());
    for (size_t c = 0; c < v.size(); ++c) {
      double s = bias ? bias[c] : 0;
      for (size_t j = 0; j < history.size(); ++j) s += weight[j * v.size() + c] * history[j][c];
      v[c] = rounded(silu(s));
    }
    return v;
  }
};

class SelectiveScanLayer : public ScanLayer {
 public:
  explicit SelectiveScanLayer(const SelectiveScan& mixer)
      : m_(mixer), history_(mixer.taps, Row(mixer.inner)), state_(mixer.states, Row(mixer.inner)) {}

  Row step(const Row& x) override {
    const size_t inner = m_.inner;
    const Row projected = linear(m_.in, x);
    history_.push_back(part(projected, 0, inner));
    history_.pop_front();
    const Row v = convolved(history_, m_.convolution, m_.convolution_bias);
    const Row parameters = linear(m_.parameters, v);
    const Row b = normed(part(parameters, m_.rank, m_.states));
    const Row c = normed(part(parameters, m_.rank + m_.states, m_.states));
    const Row steps = linear(m_.step, normed(part(parameters, 0, m_.rank)));
    Row y(inner);
    for (size_t i = 0; i < inner; ++i) {
      const double dt = softplus(steps[i]);
      for (size_t k = 0; k < m_.states; ++k) {
        double& h = state_[k][i];
        h = rounded(std::exp(dt * m_.a[k * inner + i]) * h + dt * v[i] * b[k]);
        y[i] += h * c[k];
      }
      y[i] = rounded((y[i] + m_.d[i] * v[i]) * silu(projected[inner + i]));
    }
    return linear(m_.out, y);
  }

 private:
  Row normed(const Row& x) const {
    NormView view;
    view.eps = m_.parameter_eps, view.kind = NormKind::kRms;
    return norm(view, x);
  }

  const SelectiveScan& m_;
  std::deque<Row> history_;  // the last `taps` rows before the convolution
  Rows state_;               // [states, inner]
};

// One decay a head (section 2).
class StateSpaceDualLayer : public ScanLayer {
 public:
  explicit StateSpaceDualLayer(const StateSpaceDual& mixer)
      : m_(mixer), history_(mixer.taps, Row(mixer.convolved())), state_(mixer.inner, Row(mixer.states)) {}

  Row step(const Row& x) override {
    const size_t inner = m_.inner, head_dim = inner / m_.heads, shared = size_t{m_.groups} * m_.states;
    const Row projected = linear(m_.in, x);
    history_.push_back(part(projected, inner, m_.convolved()));
    history_.pop_front();
    const Row v = convolved(history_, m_.convolution, m_.convolution_bias);
    Row y(inner);
    for (size_t i = 0; i < inner; ++i) {
      const size_t head = i / head_dim, group = head / (m_.heads / m_.groups);
      const double step = softplus(projected[inner + m_.convolved() + head] + m_.step_bias[head]);
      const double dt = std::min(std::max(step, double{m_.step_min}), double{m_.step_max});
      const double decay = std::exp(dt * m_.a[head]);
      for (size_t k = 0; k < m_.states; ++k) {
        double& h = state_[i][k];
        h = rounded(decay * h + dt * v[i] * v[inner + group * m_.states + k]);
        y[i] += h * v[inner + shared + group * m_.states + k];
      }
      y[i] = rounded((y[i] + m_.d[m_.d_per_channel ? i : head] * v[i]) * silu(projected[i]));
    }
    Row normed;
    for (size_t g = 0, width = inner / m_.groups; g < m_.groups; ++g) {
      NormView view = m_.norm;
      view.gamma += g * width;
      for (double value : norm(view, part(y, g * width, width))) normed.push_back(value);
    }
    return linear(m_.out, normed);
  }

 private:
  const StateSpaceDual& m_;
  std::deque<Row> history_;
  Rows state_;  // [inner, states]
};

}  // namespace lsrt_test::naive
