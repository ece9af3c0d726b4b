// The model loader: what it gives for good files, and that it refuses every damaged one in words.
#include "runtime/model/model.h"

#include <doctest/doctest.h>
#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>

#include "tests/support/editable_model.h"
#include "tests/support/files.h"

using namespace lsrt;
using namespace lsrt_test;

namespace {

TEST_CASE("the views of a language model") {
  const auto model = Model::load_bytes(tiny_lm(Precision::kInt8), "tiny.lsrt");
  REQUIRE_MESSAGE(model.ok(), model.status().message());
  const Model& m = *model.value();
  CHECK(m.family == Family::kLm);
  CHECK(m.block == 8);
  CHECK(m.memory == 16);
  CHECK(m.is_int8());
  CHECK(m.vocabulary == tiny_lm_parameters().vocabulary);
  REQUIRE(m.stages.size() == 1);
  CHECK(m.stages[0].width == 32);
  REQUIRE(m.stages[0].blocks.size() == 2);
  const auto& mixer = std::get<CausalLongShort>(m.stages[0].blocks[1].mixer);
  CHECK(mixer.head_dim == 16);
  CHECK(mixer.qkv.outputs == 3 * 32 + 2 * 2);
  CHECK(mixer.qkv.inputs == 32);
  CHECK(mixer.qkv.bias != nullptr);
  CHECK(mixer.out.bias == nullptr);
  CHECK(mixer.chunk_positions.shape[1] == (16 + 8) / 4 * 2);
  CHECK(mixer.window_positions.panels(1).outputs == 8);
  CHECK(mixer.window_positions.panels(1).data == mixer.window_positions.panels(0).data + panel_bytes(16));
  CHECK(mixer.window_positions.panels(1).scale == mixer.window_positions.scales + 16);
  CHECK(m.stages[0].blocks[1].residual == Residual::kNormed);
  // The embedding and the head share their weights, which count once.
  const auto& head = std::get<TokenHead>(m.head);
  CHECK(head.projection.weight.data == std::get<TokenStem>(m.stages[0].stem).embedding.data);
  size_t embeddings = 0;
  for (const TensorView& tensor : m.tensors())
    embeddings += tensor.data == head.projection.weight.data ? 1 : 0;
  CHECK(embeddings == 1);
}

TEST_CASE("the views of a vision model and of an encoder") {
  const auto vil = Model::load_bytes(tiny_vil(Precision::kFloat32), "tiny.lsrt");
  REQUIRE_MESSAGE(vil.ok(), vil.status().message());
  REQUIRE(vil.value()->stages.size() == 2);
  CHECK(!vil.value()->is_int8());
  CHECK(std::get<PatchStem>(vil.value()->stages[1].stem).channels == 16);
  CHECK(std::get<VisionLongShort>(vil.value()->stages[0].blocks[0].mixer).relative_bias != nullptr);
  CHECK(std::get<FullAttention>(vil.value()->stages[1].blocks[0].mixer).cls_bias != nullptr);
  CHECK(vil.value()->image.resize == 18);

  const auto encoder = Model::load_bytes(tiny_encoder(Precision::kInt8), "tiny.lsrt");
  REQUIRE_MESSAGE(encoder.ok(), encoder.status().message());
  CHECK(encoder.value()->sequence.cls_from_block == 1);
  CHECK(encoder.value()->sequence.cls_token != nullptr);
  CHECK(std::get<ClassifierHead>(encoder.value()->head).layers.size() == 2);
  CHECK(std::get<EncoderLongShort>(encoder.value()->stages[0].blocks[0].mixer).kernel == 3);
}

TEST_CASE("every shortened file is refused, up to the padding of its last array") {
  for (const ModelBytes& bytes :
       {tiny_lm(Precision::kInt8), tiny_vil(Precision::kInt8), tiny_encoder(Precision::kFloat32)}) {
    size_t shortest = bytes.size();
    for (size_t size = 0; size < bytes.size(); ++size) {
      const Status status =
          load(ModelBytes(bytes.begin(), bytes.begin() + static_cast<std::ptrdiff_t>(size)));
      if (status.ok()) {
        shortest = std::min(shortest, size);
      } else if (status.code() != Error::kModel || size > shortest) {
        CAPTURE(size);
        CHECK(status.message() == "");
      }
    }
    CHECK(bytes.size() - shortest < kWeightAlignment);
  }
}

TEST_CASE("no change of a header byte breaks the loader") {
  size_t refused = 0, loaded = 0;
  for (const ModelBytes& good :
       {tiny_lm(Precision::kInt8), tiny_vil(Precision::kInt8), tiny_encoder(Precision::kInt8)}) {
    ModelBytes bytes = good;
    const size_t header = first_weight(good);
    for (size_t i = 0; i < header; i++) {
      for (uint8_t value : {0, 1, 0x7f, 0x80, 0xff, good[i] ^ 1, good[i] ^ 0x40}) {
        bytes[i] = value;
        load(bytes).ok() ? loaded++ : refused++;
      }
      bytes[i] = good[i];
    }
  }
  MESSAGE(refused << " refused, " << loaded << " loaded");
  CHECK(refused > loaded / 4);
}

TEST_CASE("files that are something else") {
  const auto text = [](const char* bytes, size_t size) { return ModelBytes(bytes, bytes + size); };
  check_refused(text("", 0), Error::kModel, "is not an lsrt model: it has only 0 bytes");
  check_refused(text("PK\x03\x04 and more", 13), Error::kModel, "convert it first with `lsrt convert`");
  check_refused(text("\x80\x02}q\x00 and more", 14), Error::kModel, "convert it first");
  check_refused(text("\x10\0\0\0\0\0\0\0{\"a\":{}} and more", 25), Error::kModel, "a safetensors file");
  check_refused(text("GGUF\x03\0\0\0\0\0\0\0", 12), Error::kModel, "another runtime's");
  check_refused(text("version https://git-lfs.github.com/spec/v1\n", 43), Error::kModel, "git lfs pull");
  check_refused(text("Call me Ishmael.\n", 17), Error::kModel, "it looks like a text");
  check_refused(text("\x18\0\0\0LSRT", 8), Error::kModel, "the header is damaged or cut short");
  check_refused(text("\0\0\0\0LSRT", 8), Error::kModel, "the header is damaged or cut short");
  check_refused(text("\xff\xff\xff\xffLSRT\0\0\0\0", 12), Error::kModel,
                "the header is damaged or cut short");
  CHECK(Model::load("/nonexistent/model.lsrt").status().code() == Error::kFile);
}

TEST_CASE("a newer format is named") {
  Editable model{tiny_lm(Precision::kInt8, {.force_defaults = true})};
  model.set<uint32_t>(model.root(), fb::Model::VT_FORMAT, 7);
  check_refused(model.bytes, Error::kVersion, "model format 7, but this version reads formats up to 3");
  model.set<uint32_t>(model.root(), fb::Model::VT_FORMAT, 0);
  check_refused(model.bytes, Error::kModel, "model format 0");
}

TEST_CASE("spans") {
  const uint64_t most = std::numeric_limits<uint64_t>::max();
  Editable model{tiny_lm(Precision::kInt8)};
  const fb::Tensor* fc1 = model.block()->feed_forward()->fc1()->weight();
  const fb::Span good = *fc1->data();
  model.set_span(fc1, good.offset() + 1, good.bytes());
  check_refused(model.bytes, Error::kModel, "block 0, fc1.weight: offset");
  model.set_span(fc1, model.bytes.size(), good.bytes());
  check_refused(model.bytes, Error::kModel, "end after the file");
  model.set_span(fc1, most - 63, good.bytes());
  check_refused(model.bytes, Error::kModel, "end after the file");
  model.set_span(fc1, most / 64 * 64 - good.bytes() + 64, good.bytes());
  check_refused(model.bytes, Error::kModel, "end after the file");
  model.set_span(fc1, good.offset(), good.bytes() - 1);
  check_refused(model.bytes, Error::kModel, "but the shape needs");
  model.set_span(fc1, good.offset(), most);
  check_refused(model.bytes, Error::kModel, "but the shape needs");
  model.set_span(fc1, good.offset(), good.bytes());
  CHECK(load(model.bytes).ok());
}

TEST_CASE("shapes") {
  Editable model{tiny_lm(Precision::kInt8)};
  const fb::Tensor* fc1 = model.block()->feed_forward()->fc1()->weight();
  const uint32_t most = std::numeric_limits<uint32_t>::max();
  for (uint32_t extent : {0u, 47u, 1u << 31, most}) {
    CAPTURE(extent);
    model.set_extent(fc1, 0, extent);
    check_refused(model.bytes, Error::kModel, "block 0, fc1.weight: ");
  }
  model.set_extent(fc1, 0, 64);
  model.set_extent(fc1, 1, 31);
  check_refused(model.bytes, Error::kModel, "shape [64, 31], expected [0, 32]");
  model.set_extent(fc1, 1, 32);
  // Four extents whose product is 2^128.
  Editable golden{tiny_vil(Precision::kFloat32, {.golden = true})};
  const fb::Tensor* image = golden.root()->golden()->inputs()->Get(0);
  for (uint32_t axis = 0; axis < 4; axis++) golden.set_extent(image, axis, most);
  check_refused(golden.bytes, Error::kModel, "is too large");
}

TEST_CASE("scales and sums") {
  Editable model{tiny_lm(Precision::kInt8)};
  const fb::Tensor* fc1 = model.block()->feed_forward()->fc1()->weight();
  for (float scale : {-1.0f, std::nanf(""), std::numeric_limits<float>::infinity()}) {
    Editable damaged = model;
    damaged.set_data(fc1->scales(), 3, scale);
    check_refused(damaged.bytes, Error::kModel, "fc1.weight: scale 3 is");
  }
  for (int32_t sum : {127 * 32 + 1, -127 * 32 - 1, std::numeric_limits<int32_t>::min()}) {
    Editable damaged = model;
    damaged.set_data(fc1->sums(), 5, sum);
    check_refused(damaged.bytes, Error::kModel, "fc1.weight: sum 5 is");
  }
  model.set_data(fc1->sums(), 5, 127 * 32);  // possible, but not the sum of this row
  check_refused(model.bytes, Error::kModel, "row 5: its sum is not that of its weights");
}

TEST_CASE("relations between parts of a language model") {
  const Editable good{tiny_lm(Precision::kInt8)};
  const auto refused = [&](const char* text, auto change) {
    Editable model = good;
    change(model, *model.block(), *model.block()->mixer_as_CausalLongShort());
    check_refused(model.bytes, Error::kModel, text);
  };
  using Mixer = fb::CausalLongShort;
  refused("heads: 3 do not divide",
          [](Editable& m, auto&, auto& mixer) { m.set(&mixer, Mixer::VT_HEADS, 3u); });
  refused("heads: 0 is not in", [](Editable& m, auto&, auto& mixer) { m.set(&mixer, Mixer::VT_HEADS, 0u); });
  refused("chunk: 0 is not in", [](Editable& m, auto&, auto& mixer) { m.set(&mixer, Mixer::VT_CHUNK, 0u); });
  refused("chunk: 5 does not divide",
          [](Editable& m, auto&, auto& mixer) { m.set(&mixer, Mixer::VT_CHUNK, 5u); });
  refused("qkv.weight: shape", [](Editable& m, auto&, auto& mixer) { m.set(&mixer, Mixer::VT_RANK, 3u); });
  refused("heads * rank", [](Editable& m, auto&, auto& mixer) { m.set(&mixer, Mixer::VT_RANK, ~0u); });
  refused("longer than the memory",
          [](Editable& m, auto&, auto& mixer) { m.set(&mixer, Mixer::VT_WINDOW, 17u); });
  refused("window_positions: shape",
          [](Editable& m, auto&, auto& mixer) { m.set(&mixer, Mixer::VT_WINDOW, 7u); });
  refused("residual",
          [](Editable& m, auto& block, auto&) { m.set<uint8_t>(&block, fb::Block::VT_RESIDUAL, 3); });
  refused("mixer: kind 0",
          [](Editable& m, auto& block, auto&) { m.set<uint8_t>(&block, fb::Block::VT_MIXER_TYPE, 0); });
  refused("norm1.gamma: shape",
          [](Editable& m, auto& block, auto&) { m.set_extent(block.norm1()->gamma(), 0, 31); });
  refused("type", [](Editable& m, auto& block, auto&) {
    m.set<uint8_t>(block.feed_forward()->fc1()->weight(), fb::Tensor::VT_TYPE, 2);
  });
  refused("stream memory",
          [](Editable& m, auto&, auto&) { m.set(m.root()->stream(), fb::Stream::VT_MEMORY, ~0u); });
  refused("stream block",
          [](Editable& m, auto&, auto&) { m.set(m.root()->stream(), fb::Stream::VT_BLOCK, 0u); });
  refused("chunk_positions: shape",
          [](Editable& m, auto&, auto&) { m.set(m.root()->stream(), fb::Stream::VT_MEMORY, 32u); });
  refused("width: the model says 33",
          [](Editable& m, auto&, auto&) { m.set(m.root(), fb::Model::VT_WIDTH, 33u); });
  refused("head: kind",
          [](Editable& m, auto&, auto&) { m.set<uint8_t>(m.root(), fb::Model::VT_HEAD_TYPE, 0); });
  refused("family",
          [](Editable& m, auto&, auto&) { *const_cast<uint8_t*>(m.root()->family()->Data()) = 'x'; });
  refused("vocabulary: 9 tokens", [](Editable& m, auto&, auto&) {
    const uint32_t count = 9;
    std::memcpy(const_cast<uint8_t*>(m.root()->vocabulary()->tokens()->Data()) - sizeof count, &count,
                sizeof count);
  });
}

TEST_CASE("relations between parts of a vision model and of an encoder") {
  Editable vil{tiny_vil(Precision::kFloat32, {.golden = true})};
  Editable model = vil;
  model.set(model.root()->stages()->Get(1)->stem_as_PatchStem(), fb::PatchStem::VT_GRID, 3u);
  check_refused(model.bytes, Error::kModel, "stage 1, grid");
  model = vil;
  model.set(model.root()->stages()->Get(1)->stem_as_PatchStem(), fb::PatchStem::VT_CHANNELS, 3u);
  check_refused(model.bytes, Error::kModel, "stage 1, channels: 3, expected 16");
  model = vil;
  model.set(model.block()->mixer_as_VisionLongShort(), fb::VisionLongShort::VT_WINDOW, 3u);
  check_refused(model.bytes, Error::kModel, "relative_bias: shape");
  model = vil;
  model.set(model.root()->image(), fb::ImageInput::VT_SIZE, 17u);
  check_refused(model.bytes, Error::kModel, "image size: 17");
  model = vil;
  model.set_extent(model.root()->golden()->inputs()->Get(0), 3, 8);
  check_refused(model.bytes, Error::kModel, "golden input");

  Editable encoder{tiny_encoder(Precision::kFloat32)};
  model = encoder;
  model.set(model.root()->sequence(), fb::SequenceInput::VT_CLS_FROM_BLOCK, 2u);
  check_refused(model.bytes, Error::kModel, "cls_from_block");
  model = encoder;
  model.set(model.root()->sequence(), fb::SequenceInput::VT_MAX_LENGTH, 25u);
  check_refused(model.bytes, Error::kModel, "but there are 24 positions");
}

TEST_CASE("a file over 4 GiB") {
  // The first weight moves to the end of a sparse file.
  Editable model{tiny_lm(Precision::kInt8)};
  const fb::Tensor* fc1 = model.block()->feed_forward()->fc1()->weight();
  const uint64_t offset = uint64_t{5} << 30, size = fc1->data()->bytes();
  model.set_span(fc1, offset, size);
  const TemporaryFolder folder;
  const std::string path = folder / "large.lsrt";
  FILE* file = std::fopen(path.c_str(), "wb");
  REQUIRE(file != nullptr);
  REQUIRE(std::fwrite(model.bytes.data(), 1, model.bytes.size(), file) == model.bytes.size());
  std::fclose(file);
  if (truncate(path.c_str(), static_cast<off_t>(offset + size)) == 0) {
    const auto loaded = Model::load(path);
    REQUIRE_MESSAGE(loaded.ok(), loaded.status().message());
    const LinearView& view = loaded.value()->stages[0].blocks[0].feed_forward.fc1;
    CHECK(static_cast<const uint8_t*>(view.weight.data)[size - 1] == 0);
    CHECK(loaded.value()->file_bytes() == offset + size);
  } else {
    MESSAGE("skipped: no room for a sparse file");
  }
}

}  // namespace
