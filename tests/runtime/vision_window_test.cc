// Windows with global rows: which rows see which, with what bias, and what files may say.
#include <doctest/doctest.h>

#include <algorithm>
#include <limits>

#include "runtime/mixers/vision_layout.h"
#include "tests/support/editable_model.h"
#include "tests/support/take.h"

using namespace lsrt;
using namespace lsrt_test;

namespace {

constexpr size_t kHeads = 2;

struct Shape {
  size_t grid, cls, window, margin;
  WindowEdge edge;
};

struct Problem {
  Shape s;
  size_t side;
  std::vector<float> relative, global, among;
  VisionWindow mixer;

  explicit Problem(const Shape& shape) : s(shape), side(2 * (s.window - 1 + s.margin) + 1) {
    auto count = [next = 0.0f](std::vector<float>* x, size_t n) mutable {
      for (size_t i = 0; i < n; ++i) x->push_back(++next);
    };
    count(&relative, side * side * kHeads);
    count(&global, 2 * kHeads * s.cls);
    count(&among, kHeads * s.cls * s.cls);
    mixer.heads = kHeads, mixer.window = s.window, mixer.margin = s.margin, mixer.edge = s.edge;
    mixer.relative_bias = relative.data();
    if (s.cls) mixer.global_bias = global.data(), mixer.global_global_bias = among.data();
  }

  using Seen = std::vector<std::pair<int32_t, float>>;  // key and bias of head 1, sorted

  Seen expected(size_t row) const {
    Seen seen;
    const int n = s.grid, f = s.window, reach = f - 1 + static_cast<int>(s.margin), m = (n + f - 1) / f;
    if (row < s.cls) {
      for (size_t t = 0; t < s.cls + n * n; ++t) {
        seen.push_back({t, t < s.cls ? among[(s.cls + row) * s.cls + t] : global[s.cls + row]});
      }
      return seen;
    }
    for (size_t t = 0; t < s.cls; ++t) seen.push_back({t, global[3 * s.cls + t]});
    const int y = (row - s.cls) / n, x = (row - s.cls) % n, margin = s.margin;
    for (int v = y / f * f - margin; v < y / f * f + f + margin; ++v) {
      for (int u = x / f * f - margin; u < x / f * f + f + margin; ++u) {
        const bool torus = s.edge == WindowEdge::kTorus;
        const int at_v = torus ? (v + m * f) % (m * f) : v, at_u = torus ? (u + m * f) % (m * f) : u;
        if (at_v < 0 || at_v >= n || at_u < 0 || at_u >= n) continue;
        const bool far = std::max(std::abs(y - v), std::abs(x - u)) > f;
        const float bias = relative[((y - v + reach) * side + x - u + reach) * kHeads + 1];
        seen.push_back({s.cls + at_v * n + at_u, far && s.edge == WindowEdge::kExact
                                                     ? -std::numeric_limits<float>::infinity()
                                                     : bias});
      }
    }
    std::sort(seen.begin(), seen.end());
    return seen;
  }

  // Every query row of the layout sees what it should, and there are `rows` of them, each once.
  void check(const VisionLayout& layout, size_t first, size_t rows) const {
    const LayoutTables tables = layout.tables();
    const std::vector<float> biases = relative_biases(mixer, layout);
    CHECK(tables.query_rows.size() == layout.query_row_count());
    CHECK(tables.key_rows.size() == layout.key_row_count());
    CHECK(tables.bias_offsets.size() == layout.bias_offset_count());
    REQUIRE(biases.size() == kHeads * layout.bias_floats());
    std::vector<size_t> times(layout.rows());
    for (size_t q = 0; q < tables.query_rows.size(); ++q) {
      const int32_t row = tables.query_rows[q];
      if (row < 0) continue;
      ++times[row];
      Seen got;
      for (size_t k = 0; k < layout.group_keys; ++k) {
        const int32_t key = tables.key_rows[q / layout.group_queries * layout.group_keys + k];
        const size_t run = q % layout.group_queries * layout.runs() + k / layout.span;
        const size_t at = tables.bias_offsets[run] + k % layout.span;
        REQUIRE(at < layout.bias_floats());
        if (key >= 0) got.push_back({key, biases[layout.bias_floats() + at]});
      }
      std::sort(got.begin(), got.end());
      CHECK(got == expected(row));
    }
    for (size_t row = 0; row < times.size(); ++row) CHECK(times[row] == (row >= first && row < first + rows));
  }
};

}  // namespace

TEST_CASE("patches see global rows and their surroundings, global rows see all") {
  using Edge = WindowEdge;
  for (const Shape& s : {Shape{6, 1, 2, 2, Edge::kCut},
                         {7, 0, 3, 3, Edge::kCut},
                         {10, 1, 4, 4, Edge::kCut},
                         {5, 3, 3, 0, Edge::kCut},
                         {5, 1, 7, 7, Edge::kCut},
                         {2, 9, 1, 1, Edge::kCut},
                         {7, 2, 3, 3, Edge::kExact},
                         {8, 1, 4, 1, Edge::kExact},
                         {7, 1, 3, 3, Edge::kTorus},
                         {4, 2, 4, 4, Edge::kTorus},
                         {5, 0, 3, 2, Edge::kTorus},
                         {3, 1, 4, 4, Edge::kTorus},
                         {1, 1, 1, 1, Edge::kTorus}}) {
    INFO("window " << s.window << " + " << s.margin << " of " << s.grid << ", " << s.cls << " cls rows, edge "
                   << static_cast<int>(s.edge));
    const Problem problem(s);
    problem.check(VisionLayout::windows(s.grid, s.cls, s.window, s.margin, s.edge == Edge::kTorus), s.cls,
                  s.grid * s.grid);
    if (s.cls) problem.check(VisionLayout::globals(s.grid, s.cls), 0, s.cls);
  }
}

TEST_CASE("what a file may say of windows") {
  using M = fb::VisionWindow;
  const auto editable = [] {
    return Editable{tiny_longformer(Precision::kFloat32, {.force_defaults = true})};
  };
  REQUIRE(load(editable().bytes).ok());
  const auto refused = [&](const char* text, const auto& change) {
    Editable model = editable();
    change(model, model.block()->mixer_as_VisionWindow());
    check_refused(model.bytes, Error::kModel, text);
  };
  refused("window: 8193 is not in 1 .. 8192",
          [](Editable& m, const M* w) { m.set(w, M::VT_WINDOW, kMaxVisionWindow + 1); });
  refused("margin: 3 is not in 0 .. 2", [](Editable& m, const M* w) { m.set(w, M::VT_MARGIN, 3u); });
  refused("edge: 3 is not in 0 .. 2", [](Editable& m, const M* w) { m.set<uint8_t>(w, M::VT_EDGE, 3); });
  refused("relative_bias: shape [49, 2], expected [25, 2]",
          [](Editable& m, const M* w) { m.set(w, M::VT_MARGIN, 1u); });
  refused("global_qkv, global_out: one of them is missing",
          [](Editable& m, const M* w) { m.remove(w, M::VT_GLOBAL_OUT); });
  refused("global_bias, global_global_bias: one of them is missing",
          [](Editable& m, const M* w) { m.remove(w, M::VT_GLOBAL_BIAS); });
  refused("global_qkv, global_bias: need cls rows", [](Editable& m, const M*) {
    m.remove(m.root()->stages()->Get(0)->stem(), fb::PatchStem::VT_CLS_TOKENS);
  });
}

TEST_CASE("several cls rows are for windows alone") {
  for (const char* arch : {"l1,h2,d16,n1,s0,g2,p2,a1", "l1,h2,d16,n1,s1,g2,p2,f2,a1,r1"}) {
    VilParameters p = tiny_vil_parameters();
    p.stages = take(parse_vil_architecture(arch));
    check_refused(tiny_model(plan_vil(p, WeightSource()), Precision::kInt8, {}, {}), Error::kModel,
                  "cls rows: 2 is not in 0 .. 1");
  }
  LongformerParameters p;
  p.vil = tiny_vil_parameters();
  p.vil.stages = take(parse_vil_architecture("l1,h2,d16,n1,s1,g256,p2,f2,a0"));
  CHECK(load(tiny_model(plan_longformer(p, WeightSource()), Precision::kInt8, {}, {})).ok());
  p.vil.stages[0].cls_tokens = 257;
  check_refused(tiny_model(plan_longformer(p, WeightSource()), Precision::kInt8, {}, {}), Error::kModel,
                "cls_tokens rows: 257 is not in 1 .. 256");
}
