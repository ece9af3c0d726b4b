// The kernels of selective state space layers: near plain double precision, and the same bits on every kernel
// set, however rows and channels are cut.
#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <random>
#include <vector>

#include "kernels/dispatch.h"

using namespace lsrt;

namespace {

std::mt19937 generator(5);

std::vector<float> normal(size_t n, float deviation = 1, float mean = 0) {
  std::normal_distribution<float> values(mean, deviation);
  std::vector<float> x(n);
  for (float& v : x) v = values(generator);
  return x;
}

bool same_bits(const std::vector<float>& a, const std::vector<float>& b) {
  return a.size() == b.size() &&
         (a.empty() || std::memcmp(a.data(), b.data(), a.size() * sizeof(float)) == 0);
}

std::vector<const Kernels*> all_sets() {
  const Kernels* const* sets;
  const size_t count = available_kernels(&sets);
  return {sets, sets + count};
}

double silu(double x) { return x / (1 + std::exp(-x)); }
double softplus(double x) { return std::max(x, 0.0) + std::log1p(std::exp(-std::fabs(x))); }

// One layer's arrays with room beside the channels, which nothing may touch.
struct Case {
  size_t rows, channels, states, taps, ld;
  std::vector<float> x, step, z, parameters, a, d, weight, bias;

  Case(size_t rows, size_t channels, size_t states, size_t taps)
      : rows(rows), channels(channels), states(states), taps(taps), ld(channels + 3) {
    x = normal(rows * ld), step = normal(rows * ld, 3, -2), z = normal(rows * ld, 3);
    parameters = normal(rows * 2 * states);
    a = normal(states * ld, 2), d = normal(channels);
    for (float& v : a) v = -std::fabs(v);
    weight = normal(taps * ld), bias = normal(channels);
  }

  struct Out {
    std::vector<float> y, state;
  };
  Out start(size_t state_rows) const {
    Out out{std::vector<float>(rows * ld, 7), normal(state_rows * ld)};
    return out;
  }
  // Rows [t, t + n) of channels [c, c + m).
  void convolve(const Kernels& k, size_t t, size_t n, size_t c, size_t m, Out* out) const {
    k.scan.convolve({n, m, taps, &x[t * ld + c], ld, &weight[c], ld, &bias[c], out->state.data() + c, ld,
                     &out->y[t * ld + c], ld});
  }
  void scan(const Kernels& k, size_t t, size_t n, size_t c, size_t m, Out* out) const {
    const float* b = &parameters[t * 2 * states];
    k.scan.selective_scan({n, m, states, &x[t * ld + c], ld, &step[t * ld + c], ld, &z[t * ld + c], ld, b,
                           b + states, 2 * states, &a[c], &d[c], &out->state[c], ld, &out->y[t * ld + c],
                           ld});
  }
};

const Case kCases[] = {{1, 1, 1, 1},   {5, 7, 3, 2},     {9, 16, 16, 4},  {40, 33, 16, 4},
                       {3, 64, 5, 64}, {12, 45, 256, 3}, {100, 21, 8, 5}, {2, 100, 16, 4}};

template <typename Run>
void check_all_ways(const Case& test, size_t state_rows, const Run& run) {
  const Case::Out start = test.start(state_rows);
  KernelChoice choice;
  Case::Out expected = start;
  run(*find_kernels("scalar", &choice), 0, test.rows, 0, test.channels, &expected);
  for (size_t t = 0; t < test.rows; ++t) {  // what is beside the channels is as it was
    for (size_t c = test.channels; c < test.ld; ++c) CHECK(expected.y[t * test.ld + c] == 7);
  }
  for (const Kernels* set : all_sets()) {
    CAPTURE(std::string(set->isa));
    Case::Out whole = start, pieces = start;
    run(*set, 0, test.rows, 0, test.channels, &whole);
    CHECK(same_bits(whole.y, expected.y));
    CHECK(same_bits(whole.state, expected.state));
    for (size_t t = 0; t < test.rows;) {
      const size_t n = std::min<size_t>(1 + generator() % 5, test.rows - t);
      for (size_t c = 0; c < test.channels;) {
        const size_t m = std::min<size_t>(1 + generator() % 40, test.channels - c);
        run(*set, t, n, c, m, &pieces);
        c += m;
      }
      t += n;
    }
    CHECK(same_bits(pieces.y, expected.y));
    CHECK(same_bits(pieces.state, expected.state));
  }
}

TEST_CASE("the same bits on every kernel set, however rows and channels are cut") {
  for (const Case& test : kCases) {
    CAPTURE(test.channels);
    check_all_ways(test, test.taps - 1, [&](auto&&... args) { test.convolve(args...); });
    check_all_ways(test, test.states, [&](auto&&... args) { test.scan(args...); });
  }
}

TEST_CASE("the convolution is that of the formula") {
  KernelChoice choice;
  for (const Case& test : kCases) {
    Case::Out out = test.start(test.taps - 1);
    const std::vector<float> before = out.state;
    test.convolve(*find_kernels("scalar", &choice), 0, test.rows, 0, test.channels, &out);
    const auto input = [&](size_t t, size_t c) {  // of the history and the rows
      return t < test.taps - 1 ? before[t * test.ld + c] : test.x[(t - test.taps + 1) * test.ld + c];
    };
    double worst = 0;
    for (size_t t = 0; t < test.rows; ++t) {
      for (size_t c = 0; c < test.channels; ++c) {
        double s = test.bias[c];
        for (size_t j = 0; j < test.taps; ++j) s += double{test.weight[j * test.ld + c]} * input(t + j, c);
        worst = std::max(worst, std::fabs(out.y[t * test.ld + c] - silu(s)) / (1 + std::fabs(s)));
      }
    }
    CHECK(worst < 2e-6);
    for (size_t j = 0; j + 1 < test.taps; ++j) {
      for (size_t c = 0; c < test.channels; ++c) CHECK(out.state[j * test.ld + c] == input(test.rows + j, c));
    }
  }
}

TEST_CASE("the scan is that of the formula") {
  KernelChoice choice;
  double worst = 0;
  for (const Case& test : kCases) {
    Case::Out out = test.start(test.states);
    std::vector<double> h(out.state.begin(), out.state.end());
    test.scan(*find_kernels("scalar", &choice), 0, test.rows, 0, test.channels, &out);
    for (size_t t = 0; t < test.rows; ++t) {
      const float* b = &test.parameters[t * 2 * test.states];
      for (size_t c = 0; c < test.channels; ++c) {
        const double v = test.x[t * test.ld + c], dt = softplus(test.step[t * test.ld + c]);
        double y = 0, size = std::fabs(v * test.d[c]);
        for (size_t k = 0; k < test.states; ++k) {
          double& state = h[k * test.ld + c];
          state = std::exp(dt * test.a[k * test.ld + c]) * state + dt * v * b[k];
          y += state * b[test.states + k], size += std::fabs(state * b[test.states + k]);
        }
        const double gate = silu(test.z[t * test.ld + c]);
        const double expected = (y + test.d[c] * v) * gate;
        worst =
            std::max(worst, std::fabs(out.y[t * test.ld + c] - expected) / (1e-3 + size * std::fabs(gate)));
      }
    }
  }
  MESSAGE("largest difference of the sum of absolute terms: " << worst);
  CHECK(worst < 3e-6);  // measured: 1.1e-6
}

struct DualCase {
  size_t rows, channels, states, ld;
  bool d_per_channel;
  std::vector<float> v, parameters, step, bias, a, d;

  DualCase(size_t rows, size_t channels, size_t states, bool d_per_channel)
      : rows(rows), channels(channels), states(states), ld(channels + 3), d_per_channel(d_per_channel) {
    v = normal(rows * ld), parameters = normal(rows * 2 * states);
    step = normal(rows, 3, -2), bias = normal(1), a = normal(1), d = normal(channels);
    a[0] = -std::fabs(a[0]);
  }
  // One head; channels [c, c + m) of rows [t, t + n).
  void run(const Kernels& k, size_t t, size_t n, size_t c, size_t m, std::vector<float>* y,
           std::vector<float>* state) const {
    std::vector<float> dt(n), decay(n);
    k.scan.dual_steps({n, 1, &step[t], 1, bias.data(), a.data(), 0.01f, 2, dt.data(), decay.data()});
    const float* b = &parameters[t * 2 * states];
    k.scan.dual_scan({n, m, states, &v[t * ld + c], ld, dt.data(), decay.data(), 1, b, b + states, 2 * states,
                      d_per_channel ? &d[c] : d.data(), d_per_channel, &(*state)[c * states],
                      &(*y)[t * ld + c], ld});
  }
};

TEST_CASE("one decay a head: the formula, and the same bits however it is cut") {
  double worst = 0;
  for (const DualCase& test : {DualCase(1, 1, 1, false), DualCase(5, 3, 7, true), DualCase(40, 8, 128, false),
                               DualCase(17, 5, 24, true), DualCase(3, 2, 256, false)}) {
    CAPTURE(test.states);
    const std::vector<float> start = normal(test.channels * test.states), untouched(test.rows * test.ld, 7);
    KernelChoice choice;
    std::vector<float> expected = untouched, expected_state = start;
    test.run(*find_kernels("scalar", &choice), 0, test.rows, 0, test.channels, &expected, &expected_state);
    for (const Kernels* set : all_sets()) {
      CAPTURE(std::string(set->isa));
      std::vector<float> whole = untouched, state = start, pieces = untouched, pieces_state = start;
      test.run(*set, 0, test.rows, 0, test.channels, &whole, &state);
      CHECK(same_bits(whole, expected));
      CHECK(same_bits(state, expected_state));
      for (size_t t = 0, n; t < test.rows; t += n) {
        n = std::min<size_t>(1 + generator() % 20, test.rows - t);
        for (size_t c = 0; c < test.channels; ++c) test.run(*set, t, n, c, 1, &pieces, &pieces_state);
      }
      CHECK(same_bits(pieces, expected));
      CHECK(same_bits(pieces_state, expected_state));
    }
    std::vector<double> h(start.begin(), start.end());
    for (size_t t = 0; t < test.rows; ++t) {
      const double dt = std::min(std::max(softplus(double{test.step[t]} + test.bias[0]), 0.01), 2.0);
      const float* b = &test.parameters[t * 2 * test.states];
      for (size_t c = 0; c < test.channels; ++c) {
        const double v = test.v[t * test.ld + c];
        double y = test.d[test.d_per_channel ? c : 0] * v, size = std::fabs(y);
        for (size_t k = 0; k < test.states; ++k) {
          double& state = h[c * test.states + k];
          state = std::exp(dt * test.a[0]) * state + dt * v * b[k];
          y += state * b[test.states + k], size += std::fabs(state * b[test.states + k]);
        }
        worst = std::max(worst, std::fabs(expected[t * test.ld + c] - y) / (1e-3 + size));
      }
    }
  }
  MESSAGE("largest difference of the sum of absolute terms: " << worst);
  CHECK(worst < 3e-6);
}

TEST_CASE("steps of many heads, and the gate") {
  for (const size_t n : {1, 7, 16, 24, 33, 80}) {
    CAPTURE(n);
    const std::vector<float> x = normal(3 * n, 4), bias = normal(n), z = normal(n, 5), y = normal(n);
    std::vector<float> a = normal(n);
    for (float& v : a) v = -std::fabs(v);
    KernelChoice choice;
    const Kernels& scalar = *find_kernels("scalar", &choice);
    const auto run = [&](const Kernels& k, std::vector<float>* out) {
      k.scan.dual_steps(
          {3, n, x.data(), n, bias.data(), a.data(), 0.005f, 1.2f, out->data(), out->data() + 3 * n});
      std::copy(y.begin(), y.end(), out->begin() + static_cast<std::ptrdiff_t>(6 * n));
      k.scan.gate(z.data(), n, out->data() + 6 * n);
    };
    std::vector<float> expected(7 * n);
    run(scalar, &expected);
    for (const Kernels* set : all_sets()) {
      std::vector<float> got(7 * n);
      run(*set, &got);
      CHECK(same_bits(got, expected));
    }
    for (size_t i = 0; i < 3 * n; ++i) {
      const double dt = std::min(std::max(softplus(double{x[i]} + bias[i % n]), 0.005), 1.2);
      CHECK(std::fabs(expected[i] / dt - 1) < 1e-6);
      CHECK(std::fabs(expected[3 * n + i] / std::exp(dt * a[i % n]) - 1) < 1e-6);
    }
    for (size_t i = 0; i < n; ++i) {
      CHECK(std::fabs(expected[6 * n + i] - y[i] * silu(z[i])) <=
            1e-6 * (1e-3 + std::fabs(y[i] * silu(z[i]))));
    }
  }
}

// y = state = w * b where the state is 0, a is 0, d is 0 and b = c = v = 1: dt itself, times silu(z).
float step_of(float step) {
  const float one = 1, zero = 0;
  float state = 0, y = 0, z = 30;
  KernelChoice choice;
  find_kernels("scalar", &choice)
      ->scan.selective_scan(
          {1, 1, 1, &one, 1, &step, 1, &z, 1, &one, &one, 2, &zero, &zero, &state, 1, &y, 1});
  return state;
}

TEST_CASE("softplus has a small relative error, far below zero, too") {
  double worst = 0;
  for (float x = -80; x < 40; x += 0.003f) {
    worst = std::max(worst, std::fabs(double{step_of(x)} / softplus(x) - 1));
  }
  MESSAGE("largest relative error: " << worst);
  CHECK(worst < 1e-6);
  CHECK(step_of(1e30f) == 1e30f);
  CHECK(step_of(-1e30f) > 0);
  CHECK(std::isnan(step_of(std::numeric_limits<float>::quiet_NaN())));
}

}  // namespace
