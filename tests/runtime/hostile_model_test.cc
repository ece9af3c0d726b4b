// Model files that are well formed and mean harm: what the loader must refuse so that no network has to.
#include <doctest/doctest.h>
#include <unistd.h>

#include "base/text.h"
#include "converter/writer/random_weights.h"
#include "runtime/model/limits.h"
#include "runtime/model/weights.h"
#include "tests/support/editable_model.h"
#include "tests/support/files.h"

using namespace lsrt;
using namespace lsrt_test;

namespace {

const fb::Tensor* fc1(const Editable& model) { return model.block()->feed_forward()->fc1()->weight(); }
const fb::Tensor* fc2(const Editable& model) { return model.block()->feed_forward()->fc2()->weight(); }

ModelBytes lm_with(uint32_t chunk, uint32_t rank) {
  LmParameters p = tiny_lm_parameters();
  p.chunk = p.block = p.memory = chunk;
  p.rank = rank;
  return tiny_model(plan_lm(p, WeightSource()), Precision::kFloat32, {}, {});
}

TEST_CASE("a chunk that is summarized fits the rows that are gathered for it") {
  CHECK(load(lm_with(kMaxChunk, 1)).ok());
  check_refused(lm_with(2 * kMaxChunk, 1), Error::kModel, "chunk: 2048 is not in 1 .. 1024");
  check_refused(lm_with(kMaxWindow, 1), Error::kModel, "chunk: 65536 is not in 1 .. 1024");
  CHECK(load(lm_with(2 * kMaxChunk, 0)).ok());  // without summaries only a unit
}

TEST_CASE("two arrays are one and the same or lie apart") {
  for (const Precision precision : {Precision::kFloat32, Precision::kInt8}) {
    const Editable good{tiny_lm(precision)};
    const fb::Span own = *fc1(good)->data(), other = *fc2(good)->data();
    REQUIRE(own.bytes() == other.bytes());  // [64, 32] and [32, 64]
    Editable model = good;
    model.set_span(fc2(model), own.offset(), own.bytes());  // another shape
    check_refused(model.bytes, Error::kModel, "fc2.weight: lies where layers.0");
    model = good;  // the same shape, but it is another layer's
    const fb::Tensor* next =
        model.root()->stages()->Get(0)->blocks()->Get(1)->feed_forward()->fc1()->weight();
    model.set_span(next, own.offset(), own.bytes());
    check_refused(model.bytes, Error::kModel, "block 1, fc1.weight: lies where");
    for (const uint64_t distance : {uint64_t{64}, own.bytes() - 64}) {
      for (const uint64_t offset : {own.offset() - distance, own.offset() + distance}) {
        model = good;
        model.set_span(fc2(model), offset, own.bytes());
        check_refused(model.bytes, Error::kModel, "overlap another array");
      }
    }
    model = good;
    const fb::Tensor* gamma = model.block()->norm1()->gamma();
    model.set_span(gamma, 64, gamma->data()->bytes());
    check_refused(model.bytes, Error::kModel, "the array at byte 64 lies inside the header");
  }
  // Scales and sums are arrays, too.
  const Editable good{tiny_lm(Precision::kInt8)};
  const fb::Tensor *a = fc1(good), *b = fc2(good);
  const auto field = [](bool sums) { return sums ? fb::Tensor::VT_SUMS : fb::Tensor::VT_SCALES; };
  for (const bool sums : {false, true}) {
    const uint64_t bytes = (sums ? b->sums() : b->scales())->bytes();
    for (const fb::Span* there :
         {a->data(), a->scales(), a->sums(), b->data(), sums ? b->scales() : b->sums()}) {
      Editable model = good;
      model.set(fc2(model), field(sums), fb::Span(there->offset(), bytes));
      check_refused(model.bytes, Error::kModel, "overlap another array");
    }
  }
  // The tied embedding with other scales is another array.
  Editable model = good;
  const fb::Tensor* head = model.root()->head_as_TokenHead()->projection()->weight();
  CHECK(head == model.root()->stages()->Get(0)->stem_as_TokenStem()->embedding());
  CHECK(load(model.bytes).ok());
}

TEST_CASE("position tables have the type of the layer that reads them") {
  for (const Precision precision : {Precision::kFloat32, Precision::kInt8}) {
    const Editable good{tiny_lm(precision, {.force_defaults = true})};
    const uint8_t other = precision == Precision::kInt8 ? 0 : 1;
    const auto& mixer = *good.block()->mixer_as_CausalLongShort();
    for (const char* name : {"window_positions", "chunk_positions"}) {
      Editable model = good;
      const auto& table = *model.block()->mixer_as_CausalLongShort();
      const bool window = std::string(name) == "window_positions";
      model.set(window ? table.window_positions() : table.chunk_positions(), fb::Tensor::VT_TYPE, other);
      check_refused(model.bytes, Error::kModel, std::string(name) + ": type");
    }
    CHECK(mixer.window_positions()->type() == mixer.qkv()->weight()->type());
  }
}

TEST_CASE("an array of one type cannot be read as another") {
  for (const Precision precision : {Precision::kFloat32, Precision::kInt8}) {
    const auto model = Model::load_bytes(tiny_lm(precision), "tiny.lsrt");
    REQUIRE(model.ok());
    const TensorView& view = model.value()->stages[0].blocks[0].feed_forward.fc1.weight;
    const bool int8 = precision == Precision::kInt8;
    CHECK((view.floats() == nullptr) == int8);
    CHECK((view.panels().data == nullptr) == !int8);
    CHECK(view.panels().outputs == (int8 ? 64 : 0));
  }
}

// An int8 array of random weights that can be damaged.
struct Weights {
  TensorBytes bytes;
  std::vector<uint32_t> shape;

  explicit Weights(const std::vector<uint32_t>& s) : bytes(random_int8("w", s)), shape(s) {}
  uint32_t columns() const { return shape.back(); }
  int8_t& at(size_t row, size_t k) {
    const size_t panel = row / kPanelOutputs * panel_bytes(columns());
    return reinterpret_cast<int8_t&>(
        bytes.data[panel + k / kPanelDepth * 64 + row % kPanelOutputs * kPanelDepth + k % kPanelDepth]);
  }
  std::string problem() const {
    TensorView view;
    view.name = "w";
    view.data = bytes.data.data();
    view.scales = bytes.scales.data();
    view.sums = bytes.sums.data();
    view.type = DataType::kInt8;
    view.rank = static_cast<uint32_t>(shape.size());
    std::copy(shape.begin(), shape.end(), view.shape);
    return check_int8(view).message();
  }
};

TEST_CASE("row sums, -128 and padding of int8 weights are recounted") {
  const std::vector<std::vector<uint32_t>> shapes = {{1, 1},    {16, 4},    {17, 3},
                                                     {10, 513}, {33, 1030}, {3, 5, 6}};
  for (const std::vector<uint32_t>& shape : shapes) {
    CAPTURE(shape.back());
    const Weights good(shape);
    CHECK(good.problem().empty());
    const size_t rows = good.bytes.sums.size(), columns = shape.back();
    const size_t group_rows = round_up(shape[shape.size() - 2], kPanelOutputs);
    for (size_t row = 0; row < rows; ++row) {
      const bool padding = row % group_rows >= shape[shape.size() - 2];
      Weights w = good;
      w.bytes.sums[row] += 1;
      CHECK(w.problem().find("its sum is not that of its weights") != std::string::npos);
      w = good;
      w.bytes.sums[row] -= w.at(row, columns - 1) + 128;
      w.at(row, columns - 1) = -128;
      CHECK(w.problem().find("a weight is -128") != std::string::npos);
      if (columns % kPanelDepth) {
        w = good;
        w.at(row, columns) = 1;
        w.bytes.sums[row] += 1;
        const char* text = padding ? "it is padding" : "behind its last column";
        CHECK(w.problem().find(text) != std::string::npos);
      }
      if (!padding) continue;
      w = good;
      w.bytes.scales[row] = 1;
      CHECK(w.problem().find("it is padding, but not zero") != std::string::npos);
      w = good;
      w.at(row, 0) = 1, w.at(row, 1) = -1;  // the sum is right
      CHECK(w.problem().find("it is padding, but not zero") != std::string::npos);
    }
  }
  // The extremes of both signs, over more columns than a run of 16-bit sums holds.
  for (const int8_t value : {int8_t{127}, int8_t{-127}}) {
    Weights w({16, 65536});
    std::fill(w.bytes.data.begin(), w.bytes.data.end(), static_cast<uint8_t>(value));
    std::fill(w.bytes.sums.begin(), w.bytes.sums.end(), value * 65536);
    CHECK(w.problem().empty());
  }
}

TEST_CASE("weights are recounted when a file is read, and on demand when it is mapped") {
  Editable model{tiny_lm(Precision::kInt8)};
  model.bytes[fc1(model)->data()->offset()] ^= 1;
  check_refused(model.bytes, Error::kModel, "row 0: its sum is not that of its weights");
  const TemporaryFolder folder;
  const std::string path = folder / "sums.lsrt";
  write_file(path, {reinterpret_cast<const char*>(model.bytes.data()), model.bytes.size()});
  CHECK(Model::load(path).status().message().find(path + ": layers.0.ff.fc1.weight") == 0);
  const auto mapped = Model::load(path, Placement::kMapped);
  REQUIRE_MESSAGE(mapped.ok(), mapped.status().message());
  CHECK(mapped.value()->check_weights().message().find(path + ": layers.0.ff.fc1.weight") == 0);
}

TEST_CASE("texts that a terminal would act on are refused") {
  const auto refused = [](const std::string& text, bool good) {
    const auto describe = [&](const char* what, auto change) {
      CAPTURE(what);
      const Status status = load(change());
      CHECK(status.ok() == good);
      if (!good) CHECK(status.message().find("has control characters or is not UTF-8") != std::string::npos);
      CHECK(is_plain_text(status.message()));
    };
    const auto with_label = [&] {
      VilParameters p = tiny_vil_parameters();
      p.labels[3] = text;
      return tiny_model(plan_vil(p, WeightSource()), Precision::kFloat32, {}, {});
    };
    describe("a label", with_label);
    for (size_t line = 0; line < 5; ++line) {
      describe("provenance", [&] {
        Provenance origin;
        std::string* const lines[] = {&origin.source_file, &origin.source_sha256, &origin.source_format,
                                      &origin.converter_version, &origin.architecture};
        *lines[line] = text;
        return tiny_model(plan_vil(tiny_vil_parameters(), WeightSource()), Precision::kFloat32, {}, {},
                          origin);
      });
    }
  };
  refused("caf\xc3\xa9 \xe2\x82\xac \xf0\x9f\x98\x80", true);
  for (const char* text : {"\x1b[2J", "a\nb", "\t", "\x7f", "\xc2\x80",
                           "\xc2\x9b"
                           "31m",
                           "\xff", "\xe2\x82", "\xc0\x80", "\xed\xa0\x80"}) {
    refused(text, false);
  }
  // A tensor's name.
  Editable model{tiny_lm(Precision::kInt8)};
  const_cast<uint8_t*>(fc1(model)->name()->Data())[2] = 0x1b;
  check_refused(model.bytes, Error::kModel, "fc1.weight: its name");
  // The bytes of tokens may be any.
  LmParameters p = tiny_lm_parameters();
  p.vocabulary[0] = "\x1b";
  CHECK(load(tiny_model(plan_lm(p, WeightSource()), Precision::kFloat32, {}, {})).ok());
}

TEST_CASE("plain text") {
  CHECK(is_plain_text(""));
  CHECK(plain_text("a\x1b[1m\xc2\x9b\xff?\xc3\xa9") == "a?[1m???\xc3\xa9");
  for (int byte = 0; byte < 256; ++byte)
    CHECK(is_plain_text(plain_text(std::string(3, static_cast<char>(byte)))));
  CHECK(plain_text(std::string("\0a", 2)) == "?a");
}

TEST_CASE("what a network does not compute is refused when the model is loaded") {
  for (const uint8_t kind : {1, 2}) {
    Editable vil{tiny_vil(Precision::kFloat32, {.force_defaults = true})};
    vil.set<uint8_t>(vil.block(1), fb::Block::VT_RESIDUAL, kind);
    check_refused(vil.bytes, Error::kModel, "stage 1, block 0, residual");
    Editable encoder{tiny_encoder(Precision::kFloat32, {.force_defaults = true})};
    encoder.set<uint8_t>(encoder.block(), fb::Block::VT_RESIDUAL, kind);
    check_refused(encoder.bytes, Error::kModel, "block 0, residual");
  }
  Editable vil{tiny_vil(Precision::kFloat32)};
  vil.set(vil.block()->mixer_as_VisionLongShort(), fb::VisionLongShort::VT_WINDOW, kMaxVisionWindow + 1);
  check_refused(vil.bytes, Error::kModel, "window: 8193 is not in 1 .. 8192");
}

TEST_CASE("a file that is shortened while it is read") {
  const TemporaryFolder folder;
  const std::string path = folder / "short.bin";
  write_file(path, std::string(100000, 'x'));
  const auto file = OpenFile::open(path);
  REQUIRE(file.ok());
  std::vector<uint8_t> bytes(file.value().size());
  CHECK(file.value().read(0, bytes.data(), bytes.size()).ok());
  REQUIRE(truncate(path.c_str(), 50000) == 0);
  const Status status = file.value().read(0, bytes.data(), bytes.size());
  CHECK(status.code() == Error::kFile);
  CHECK(status.message() == path + ": was shortened while it was read");
}

}  // namespace
