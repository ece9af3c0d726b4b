// What the list of mixers decides: who can hold which, what is read, and blocks that are a mixer alone.
#include <doctest/doctest.h>

#include <set>
#include <string>

#include "tests/support/editable_model.h"

using namespace lsrt;
using namespace lsrt_test;

namespace {

TEST_CASE("families have names") {
  std::set<std::string> names;
  for (Family family : kFamilies) {
    names.insert(family_name(family));
    CHECK(family_called(family_name(family)) == family);
  }
  CHECK(names == std::set<std::string>{"lm", "encoder", "vil", "slide"});
  for (const char* name : {"", "LM", "lm ", "gpt"}) CHECK(!family_called(name));
}

// Every mixer of the list is in the variant, in the schema's order, and refused in a family that it does not
// fit.
TEST_CASE("a family holds the mixers that its networks compute") {
  size_t index = 0;
#define LSRT_MIXER(Kind)                                                                        \
  CHECK(Mixer(Kind{}).index() == index);                                                        \
  CHECK(static_cast<size_t>(fb::Mixer::Kind) == ++index);                                       \
  CHECK((Kind::fits(Family::kLm) || Kind::fits(Family::kEncoder) || Kind::fits(Family::kVil) || \
         Kind::fits(Family::kSlide)));
#include "runtime/model/mixers.inc"
#undef LSRT_MIXER
  CHECK(index == std::variant_size_v<Mixer>);
  CHECK(index == static_cast<size_t>(fb::Mixer::MAX));
  for (const ModelBytes& bytes : {tiny_lm(Precision::kInt8), tiny_vil(Precision::kInt8),
                                  tiny_encoder(Precision::kInt8), tiny_longnet(Precision::kInt8)}) {
    const auto model = Model::load_bytes(bytes, "tiny.lsrt");
    REQUIRE(model.ok());
    for (const Stage& stage : model.value()->stages) {
      for (const Block& block : stage.blocks) {
        size_t arrays = 0;
        std::visit(
            [&](const auto& mixer) {
              CHECK(mixer.fits(model.value()->family));
              mixer.for_each_array([&](const char*, const void* data) { arrays += data != nullptr; });
            },
            block.mixer);
        CHECK(arrays >= 2);
      }
    }
  }
  // An encoder's file that says it holds a language model's mixer.
  Editable encoder{tiny_encoder(Precision::kFloat32)};
  encoder.set(encoder.block(), fb::Block::VT_MIXER_TYPE, fb::Mixer::CausalLongShort);
  const Status status = load(encoder.bytes);
  CHECK(status.code() == Error::kModel);
}

TEST_CASE("a block may be a mixer alone, from format 2 on") {
  for (const bool norm_too : {true, false}) {
    Editable model{tiny_lm(Precision::kInt8, {.force_defaults = true})};
    model.remove(model.block(), fb::Block::VT_FEED_FORWARD);
    if (norm_too) model.remove(model.block(), fb::Block::VT_NORM2);
    check_refused(model.bytes, Error::kModel,
                  norm_too ? "feed_forward: is missing, which format 1 does not allow"
                           : "feed_forward, norm2: one of them is missing");
    model.set<uint32_t>(model.root(), fb::Model::VT_FORMAT, 2);
    const auto loaded = Model::load_bytes(model.bytes, "tiny.lsrt");
    CHECK(loaded.ok() == norm_too);
    if (!loaded.ok()) continue;
    const Block& block = loaded.value()->stages[0].blocks[0];
    CHECK(!block.feed_forward);
    CHECK(!block.norm2);
  }
  CHECK(fb::GetModel(tiny_lm(Precision::kInt8, {.force_defaults = true}).data())->format() == 1);
}

}  // namespace
