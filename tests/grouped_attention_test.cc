// Attention within groups against its definition in double, over windows, landmarks, masks, threads and
// kernel sets.
#define DOCTEST_CONFIG_IMPLEMENT_WITH_MAIN
#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <random>
#include <vector>

#include "kernels/dispatch.h"
#include "runtime/backend.h"
#include "runtime/vision_layout.h"

using namespace lsrt;

namespace {

struct Case {
  size_t heads, head_dim, grid, cls, window, rank;
  bool bias;
};

// Windows that divide the grid and that do not, that cover it, full attention; head widths of every
// remainder.
const Case kCases[] = {
    {2, 8, 6, 1, 2, 1, true},    {1, 5, 7, 0, 3, 0, true},   {3, 32, 8, 1, 4, 8, true},
    {2, 16, 14, 1, 7, 8, false}, {1, 33, 16, 0, 8, 1, true}, {2, 12, 5, 1, 8, 0, true},
    {2, 20, 9, 1, 1, 3, true},   {3, 32, 14, 1, 0, 0, true}, {1, 64, 11, 0, 0, 0, false},
    {2, 7, 20, 1, 0, 2, true},
};

struct Problem {
  VisionLayout layout;
  std::vector<float> rows, globals, bias;
  GroupedAttention attention{};

  explicit Problem(const Case& c) : layout(c.grid, c.cls, c.window) {
    std::mt19937 random(3);
    std::normal_distribution<float> normal;
    auto fill = [&](std::vector<float>* x, size_t n) {
      x->resize(n);
      for (float& v : *x) v = normal(random);
    };
    const size_t width = c.heads * c.head_dim, stride = 3 * width + 5;
    fill(&rows, layout.rows() * stride);
    for (size_t row = 0; row < layout.rows(); ++row) {  // queries come scaled
      for (size_t k = 0; k < width; ++k) rows[row * stride + k] /= std::sqrt(static_cast<float>(c.head_dim));
    }
    fill(&globals, 2 * c.rank * (width + 3));
    if (c.bias) fill(&bias, c.heads * layout.bias_floats());
    // A tenth of the keys is masked; every query keeps its first one.
    for (size_t i = 0; i < layout.key_rows.size(); ++i) {
      if (random() % 10 == 0 && i % layout.group_keys != layout.group_keys / 2) layout.key_rows[i] = -1;
    }
    GroupedAttention& a = attention;
    a.heads = c.heads, a.head_dim = c.head_dim;
    a.query = rows.data(), a.key = a.query + width, a.value = a.key + width;
    a.rows = layout.rows(), a.stride = stride;
    a.globals = c.rank, a.global_stride = width + 3;
    a.global_key = globals.data(), a.global_value = globals.data() + c.rank * a.global_stride;
    a.groups = layout.groups, a.group_queries = layout.group_queries, a.group_keys = layout.group_keys;
    a.query_rows = layout.query_rows.data(), a.key_rows = layout.key_rows.data();
    a.bias = c.bias ? bias.data() : nullptr;
    a.bias_offsets = layout.bias_offsets.data();
    a.bias_stride = layout.bias_floats(), a.bias_run = layout.span;
    a.out_stride = width + 1;
  }

  std::vector<float> run(bool int8, size_t threads, const std::string& isa) const {
    auto backend = Backend::create("cpu", isa).take();
    GroupedAttention a = attention;
    a.int8 = int8;
    auto stream =
        backend->create_stream(threads, backend->grouped_attention_workspace_bytes(a, threads)).take();
    std::vector<float> out(a.rows * a.out_stride, 777.0f);
    a.out = out.data();
    backend->grouped_attention(*stream, a);
    CHECK(backend->synchronize(*stream).ok());
    return out;
  }

  // Rows that are in no group, and what lies between rows, keep 777.
  std::vector<double> expected() const {
    const GroupedAttention& a = attention;
    std::vector<double> out(a.rows * a.out_stride, 777.0);
    for (size_t head = 0; head < a.heads; ++head) {
      for (size_t i = 0; i < a.groups * a.group_queries; ++i) {
        if (a.query_rows[i] < 0) continue;
        const size_t offset = head * a.head_dim, query = i % a.group_queries;
        const float* q = a.query + a.query_rows[i] * a.stride + offset;
        std::vector<double> weight;
        std::vector<const float*> value;
        auto see = [&](const float* key, const float* v, double score) {
          for (size_t e = 0; e < a.head_dim; ++e) score += double{q[e]} * key[offset + e];
          weight.push_back(std::exp(score));
          value.push_back(v + offset);
        };
        for (size_t k = 0; k < a.group_keys; ++k) {
          const int32_t row = a.key_rows[i / a.group_queries * a.group_keys + k];
          const size_t run = query * (layout.span + layout.cls_count) + k / a.bias_run;
          const double score =
              a.bias ? a.bias[head * a.bias_stride + a.bias_offsets[run] + k % a.bias_run] : 0.0f;
          if (row >= 0) see(a.key + row * a.stride, a.value + row * a.stride, score);
        }
        for (size_t g = 0; g < a.globals; ++g) {
          see(a.global_key + g * a.global_stride, a.global_value + g * a.global_stride, 0);
        }
        double total = 0;
        for (double w : weight) total += w;
        for (size_t e = 0; e < a.head_dim; ++e) {
          double sum = 0;
          for (size_t t = 0; t < weight.size(); ++t) sum += weight[t] / total * value[t][e];
          out[a.query_rows[i] * a.out_stride + offset + e] = sum;
        }
      }
    }
    return out;
  }
};

double difference(const std::vector<float>& got, const std::vector<double>& expected) {
  double most = 0;
  for (size_t i = 0; i < got.size(); ++i) {
    const double d = std::fabs(got[i] - expected[i]);
    if (!(d <= most)) most = d;
  }
  return most;
}

std::string name(const Case& c) {
  return "window " + std::to_string(c.window) + " of " + std::to_string(c.grid) + ", rank " +
         std::to_string(c.rank) + ", cls " + std::to_string(c.cls) + ", " + std::to_string(c.heads) + " x " +
         std::to_string(c.head_dim);
}

}  // namespace

TEST_CASE("grouped attention follows its definition") {
  for (const Case& c : kCases) {
    const Problem problem(c);
    const std::vector<double> expected = problem.expected();
    INFO(name(c));
    CHECK(difference(problem.run(false, 1, ""), expected) < 1e-5);
    CHECK(difference(problem.run(true, 1, ""), expected) < 0.05);  // rounding of values whose deviation is 1
  }
}

TEST_CASE("grouped attention does not depend on threads or kernel sets") {
  const Kernels* const* sets;
  const size_t count = available_kernels(&sets);
  for (const Case& c : kCases) {
    const Problem problem(c);
    for (bool int8 : {false, true}) {
      const std::vector<float> expected = problem.run(int8, 1, "");
      for (size_t i = 0; i < count; ++i) {
        for (size_t threads : {1, 2, 5}) {
          const std::vector<float> got = problem.run(int8, threads, sets[i]->isa);
          INFO(name(c) << ", " << sets[i]->isa << ", " << threads << " threads");
          CHECK(std::memcmp(got.data(), expected.data(), got.size() * sizeof(float)) == 0);
        }
      }
    }
  }
}
