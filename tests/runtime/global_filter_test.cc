// Filters of a grid in model files: what the loader refuses.
#include <doctest/doctest.h>

#include "tests/support/editable_model.h"
#include "tests/support/take.h"

using namespace lsrt;
using namespace lsrt_test;

namespace {

GfnetParameters with_grid(uint32_t grid) {
  GfnetParameters p;
  p.stages = {{1, 1, grid, 1}};
  p.size = p.resize = grid;
  p.classes = 2;
  return p;
}

ModelBytes model_of(const GfnetParameters& p) {
  return tiny_model(plan_gfnet(p, WeightSource()), Precision::kInt8, {}, {});
}

}  // namespace

TEST_CASE("a filter has a kernel of its own grid and the one residual") {
  using M = fb::GlobalFilter;
  const auto editable = [] { return Editable{tiny_gfnet(Precision::kFloat32, {.force_defaults = true})}; };
  CHECK(load(editable().bytes).ok());
  const auto refused = [&](const std::string& text, const auto& change) {
    Editable model = editable();
    change(model, model.block(1)->mixer_as_GlobalFilter()->kernel());
    check_refused(model.bytes, Error::kModel, "stage 1, block 0, " + text);
  };
  using T = fb::Tensor;
  refused("kernel: shape [23, 3, 3], expected [24, 3, 3]",
          [](Editable& m, const T* t) { m.set_extent(t, 0, 23); });
  refused("kernel: shape [24, 4, 3], expected [24, 3, 3]",
          [](Editable& m, const T* t) { m.set_extent(t, 1, 4); });
  refused("kernel: shape [24, 3, 4294967295], expected [24, 3, 3]",
          [](Editable& m, const T* t) { m.set_extent(t, 2, UINT32_MAX); });
  refused("kernel: type int8 (1) is not possible here",
          [](Editable& m, const T* t) { m.set<uint8_t>(t, T::VT_TYPE, 1); });
  refused("kernel: bytes", [](Editable& m, const T* t) { m.set_span(t, m.bytes.size() / 64 * 64, 864); });
  for (const uint8_t residual : {0, 1, 2}) {
    refused("residual: kind " + std::to_string(residual) + ", but blocks of a GlobalFilter have single",
            [&](Editable& m, const T*) { m.set<uint8_t>(m.block(1), fb::Block::VT_RESIDUAL, residual); });
  }
  refused("residual: 4 is not in 0 .. 3",
          [](Editable& m, const T*) { m.set<uint8_t>(m.block(1), fb::Block::VT_RESIDUAL, 4); });
  Editable missing = editable();
  missing.remove(missing.block()->mixer(), M::VT_KERNEL);
  CHECK(load(missing.bytes).code() == Error::kModel);
}

TEST_CASE("no other mixer has the residual of filters") {
  const struct {
    ModelBytes bytes;
    const char* where;
  } models[] = {{tiny_vil(Precision::kInt8, {.force_defaults = true}), "stage 0, block 0, residual"},
                {tiny_lm(Precision::kInt8, {.force_defaults = true}), "stage 0, block 0, residual"},
                {tiny_encoder(Precision::kInt8, {.force_defaults = true}), "stage 0, block 0, residual"}};
  for (const auto& [bytes, where] : models) {
    Editable model{bytes};
    model.set(model.block(), fb::Block::VT_RESIDUAL, fb::Residual::single);
    check_refused(model.bytes, Error::kModel,
                  std::string(where) + ": kind 3, but only blocks of a GlobalFilter");
  }
}

TEST_CASE("the grid is bounded, and there are no cls rows") {
  CHECK(load(model_of(with_grid(256))).ok());
  check_refused(model_of(with_grid(257)), Error::kModel, "grid: 257 is not in 1 .. 256");
  ModelPlan plan = plan_gfnet(with_grid(2), WeightSource());
  plan.describe = [describe = plan.describe](ModelBuilder& b) {
    ModelParts parts = describe(b);
    const auto stem =
        fb::CreatePatchStem(b.fb(), 1, 2, 3, b.linear("patches", 1, 3), 0, b.floats("cls_tokens", {1, 1}));
    const auto norm1 = b.norm("norm1", 1, 1e-6f), norm2 = b.norm("norm2", 1, 1e-6f);
    const auto mixer = fb::CreateGlobalFilter(b.fb(), b.floats("kernel", {1, 2, 2}));
    const auto feed_forward = fb::CreateFeedForward(b.fb(), b.linear("fc1", 4, 1), b.linear("fc2", 1, 4));
    const std::vector<flatbuffers::Offset<fb::Block>> blocks = {fb::CreateBlock(
        b.fb(), norm1, fb::Mixer::GlobalFilter, mixer.Union(), norm2, feed_forward, fb::Residual::single)};
    const std::vector<flatbuffers::Offset<fb::Stage>> stages = {
        fb::CreateStageDirect(b.fb(), fb::Stem::PatchStem, stem.Union(), &blocks)};
    parts.stages = b.fb().CreateVector(stages);
    return parts;
  };
  check_refused(tiny_model(plan, Precision::kInt8, {}, {}), Error::kModel, "cls rows: 1 is not in 0 .. 0");
}
