// Attention within groups, and landmarks, against their definitions in double, over windows, masks, threads
// and kernel sets.
#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <random>
#include <vector>

#include "base/compare.h"
#include "kernels/dispatch.h"
#include "runtime/device/backend.h"
#include "runtime/mixers/vision_layout.h"

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
  LayoutTables tables;
  std::vector<float> rows, globals, bias;
  const float *key, *value, *global_key, *global_value;
  size_t global_stride;
  GroupedAttention attention{};

  explicit Problem(const Case& c)
      : layout(c.window ? VisionLayout::windows(c.grid, c.cls, c.window, std::max<size_t>(c.window / 2, 1))
                        : VisionLayout::all(c.grid, c.cls)),
        tables(layout.tables()) {
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
    for (size_t i = 0; i < tables.key_rows.size(); ++i) {
      if (random() % 10 == 0 && i % layout.group_keys != layout.group_keys / 2) tables.key_rows[i] = -1;
    }
    GroupedAttention& a = attention;
    a.store = {c.heads, c.head_dim, layout.rows() + c.rank, false, nullptr};
    a.query = Dev<const float>(rows.data()), a.query_stride = stride;
    key = rows.data() + width, value = key + width;
    a.global_first = layout.rows(), a.globals = c.rank;
    global_stride = width + 3;
    global_key = globals.data(), global_value = globals.data() + c.rank * global_stride;
    a.groups = layout.groups, a.group_queries = layout.group_queries, a.group_keys = layout.group_keys;
    a.query_rows = Dev<const int32_t>(tables.query_rows.data()),
    a.key_rows = Dev<const int32_t>(tables.key_rows.data());
    if (c.bias) a.bias = Dev<const float>(bias.data());
    a.bias_offsets = Dev<const int32_t>(tables.bias_offsets.data());
    a.bias_stride = layout.bias_floats(), a.bias_run = layout.span;
    a.out_stride = width + 1;
  }

  std::vector<float> run(bool int8, size_t threads, const std::string& isa) const {
    auto backend = Backend::create({"cpu", isa}, nullptr).take();
    const GroupedOps& ops = *backend->ops().grouped;
    GroupedAttention a = attention;
    a.store.int8 = int8;
    a.store.memory = backend->allocate(ops.key_value_bytes(a.store)).take();
    StreamPlan plan;
    plan.threads = threads;
    ops.plan(a, &plan);
    auto stream = backend->create_stream(plan).take();
    ops.store_key_values(*stream, a.store, 0, layout.rows(), Dev<const float>(key), Dev<const float>(value),
                         a.query_stride);
    ops.store_key_values(*stream, a.store, a.global_first, a.globals, Dev<const float>(global_key),
                         Dev<const float>(global_value), global_stride);
    std::vector<float> out(layout.rows() * a.out_stride, 777.0f);
    a.out = Dev<float>(out.data());
    ops.attend(*stream, a);
    CHECK(backend->synchronize(*stream).ok());
    backend->release(a.store.memory);
    return out;
  }

  // Rows that are in no group, and what lies between rows, keep 777.
  std::vector<double> expected() const {
    const GroupedAttention& a = attention;
    std::vector<double> out(layout.rows() * a.out_stride, 777.0);
    for (size_t head = 0; head < a.store.heads; ++head) {
      for (size_t i = 0; i < a.groups * a.group_queries; ++i) {
        if (a.query_rows.address()[i] < 0) continue;
        const size_t offset = head * a.store.head_dim, query = i % a.group_queries;
        const float* q = a.query.address() + a.query_rows.address()[i] * a.query_stride + offset;
        std::vector<double> weight;
        std::vector<const float*> seen;
        auto see = [&](const float* k, const float* v, double score) {
          for (size_t e = 0; e < a.store.head_dim; ++e) score += double{q[e]} * k[offset + e];
          weight.push_back(std::exp(score));
          seen.push_back(v + offset);
        };
        for (size_t k = 0; k < a.group_keys; ++k) {
          const int32_t row = a.key_rows.address()[i / a.group_queries * a.group_keys + k];
          const size_t run = query * layout.runs() + k / a.bias_run;
          const double score =
              a.bias ? a.bias.address()[head * a.bias_stride + a.bias_offsets.address()[run] + k % a.bias_run]
                     : 0.0f;
          if (row >= 0) see(key + row * a.query_stride, value + row * a.query_stride, score);
        }
        for (size_t g = 0; g < a.globals; ++g) {
          see(global_key + g * global_stride, global_value + g * global_stride, 0);
        }
        double total = 0;
        for (double w : weight) total += w;
        for (size_t e = 0; e < a.store.head_dim; ++e) {
          double sum = 0;
          for (size_t t = 0; t < weight.size(); ++t) sum += weight[t] / total * seen[t][e];
          out[a.query_rows.address()[i] * a.out_stride + offset + e] = sum;
        }
      }
    }
    return out;
  }
};

double difference(const std::vector<float>& got, const std::vector<double>& expected) {
  REQUIRE(got.size() == expected.size());
  return largest_difference(got.data(), expected.data(), got.size());
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

TEST_CASE("some heads alone find what they find beside the others, and write nothing else") {
  for (const Case& c : kCases) {
    if (c.heads < 2) continue;
    INFO(name(c));
    Problem problem(c);
    for (const bool int8 : {false, true}) {
      problem.attention.first_head = problem.attention.some_heads = 0;
      const std::vector<float> all = problem.run(int8, 2, "");
      for (size_t first = 0; first < c.heads; ++first) {
        problem.attention.first_head = first,
        problem.attention.some_heads = c.heads - std::max<size_t>(first, 1);
        const size_t begin = first * c.head_dim, end = begin + problem.attention.some_heads * c.head_dim;
        const std::vector<float> some = problem.run(int8, 3, "");
        for (size_t i = 0; i < all.size(); ++i) {
          const size_t column = i % problem.attention.out_stride;
          const float expected = begin <= column && column < end ? all[i] : 777.0f;
          CHECK(std::memcmp(&some[i], &expected, sizeof expected) == 0);
        }
      }
    }
  }
}

TEST_CASE("landmarks follow their definition, however the rows are cut into launches") {
  const size_t heads = 2, head_dim = 12, rank = 5, rows = 200, width = heads * head_dim;
  const size_t stride = 2 * width + heads * rank + 3;
  std::mt19937 random(5);
  std::normal_distribution<float> normal;
  std::vector<float> x(rows * stride);
  for (float& v : x) v = 3 * normal(random);

  auto run = [&](const std::vector<size_t>& launches, size_t threads, const std::string& isa) {
    auto backend = Backend::create({"cpu", isa}, nullptr).take();
    Landmarks l{};
    l.heads = heads, l.head_dim = head_dim, l.rank = rank, l.rows = rows, l.stride = stride;
    const GroupedOps& ops = *backend->ops().grouped;
    StreamPlan plan;
    plan.threads = threads;
    ops.plan(l, &plan);
    auto stream = backend->create_stream(plan).take();
    std::vector<float> running(l.running_floats()), out(2 * rank * width);
    l.running = Dev<float>(running.data());
    l.out_key = Dev<float>(out.data()), l.out_value = l.out_key + rank * width;
    size_t first = 0;
    for (size_t n : launches) {
      l.key = Dev<const float>(x.data()) + first * stride, l.value = l.key + width, l.score = l.value + width;
      l.rows = n, l.first = first == 0;
      ops.landmarks(*stream, l);
      first += n;
    }
    CHECK(first == rows);
    CHECK(backend->synchronize(*stream).ok());
    return out;
  };

  std::vector<double> expected(2 * rank * width);
  for (size_t head = 0; head < heads; ++head) {
    for (size_t j = 0; j < rank; ++j) {
      double total = 0;
      for (size_t t = 0; t < rows; ++t)
        total += std::exp(double{x[t * stride + 2 * width + head * rank + j]});
      for (size_t t = 0; t < rows; ++t) {
        const double p = std::exp(double{x[t * stride + 2 * width + head * rank + j]}) / total;
        for (size_t e = head * head_dim; e < (head + 1) * head_dim; ++e) {
          expected[j * width + e] += p * x[t * stride + e];
          expected[(rank + j) * width + e] += p * x[t * stride + width + e];
        }
      }
    }
  }
  const std::vector<float> whole = run({rows}, 1, "");
  CHECK(difference(whole, expected) < 1e-5);
  const Kernels* const* sets;
  const size_t count = available_kernels(&sets);
  for (size_t i = 0; i < count; ++i) {
    INFO(std::string(sets[i]->isa));
    for (const std::vector<size_t>& launches :
         {std::vector<size_t>{rows}, {64, 136}, {128, 64, 8}, {192, 8}}) {
      const std::vector<float> got = run(launches, 1 + i % 3, sets[i]->isa);
      CHECK(std::memcmp(got.data(), whole.data(), got.size() * sizeof(float)) == 0);
    }
  }
}
