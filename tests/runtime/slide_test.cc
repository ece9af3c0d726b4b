// Encoders of slides against the authors' code and plain double precision; lists of what is seen; what is
// refused.
#include <doctest/doctest.h>

#include <cmath>
#include <map>

#include "kernels/dispatch.h"
#include "runtime/classify/slide_network.h"
#include "tests/support/allocations.h"
#include "tests/support/backends.h"
#include "tests/support/editable_model.h"
#include "tests/support/goldens.h"
#include "tests/support/naive_slide.h"
#include "tests/support/random.h"

using namespace lsrt;
using namespace lsrt_test;

namespace {

std::vector<float> embed(const std::string& golden, const std::shared_ptr<const Model>& model,
                         const ArrayOptions& options) {
  const std::vector<Array> inputs = {golden_array(golden, "tiles"), golden_array(golden, "coords")};
  const std::vector<Array> outputs = take(run_arrays(cpu(model), inputs, options));
  REQUIRE(outputs.size() == 1);
  CHECK(outputs[0].name == "embedding");
  return {outputs[0].floats(), outputs[0].floats() + outputs[0].elements()};
}

double relative_difference(const std::vector<float>& a, const Array& expected) {
  REQUIRE(a.size() == expected.elements());
  double largest = 0, difference = 0;
  for (size_t i = 0; i < a.size(); ++i) {
    largest = std::max(largest, std::fabs(double{expected.floats()[i]}));
    difference = std::max(difference, std::fabs(double{a[i]} - expected.floats()[i]));
  }
  return difference / largest;
}

DilatedAttention mixer_of(uint32_t heads, std::initializer_list<DilatedAttention::Dilation> dilations) {
  DilatedAttention mixer;
  mixer.heads = heads;
  for (const auto& dilation : dilations) mixer.dilations[mixer.dilation_count++] = dilation;
  return mixer;
}

// The keys of every head and row, sorted; -1: zeros.
using Seen = std::map<std::pair<size_t, size_t>, std::vector<int64_t>>;

Seen listed(const DilatedAttention& mixer, size_t rows, size_t most_rows) {
  const DilatedGroups groups(mixer);
  std::vector<uint8_t> seen_by(most_rows);
  std::vector<int32_t> indices(groups.most_indices(most_rows));
  const auto zero_row = static_cast<int32_t>(most_rows);
  Seen seen;
  groups.for_batches(rows, zero_row, {seen_by.data(), indices.data()}, [&](const DilatedBatch& b) {
    CHECK(b.heads <= groups.most_heads());
    CHECK(b.groups <= groups.most_groups());
    CHECK(b.group_queries <= groups.most_queries(most_rows));
    CHECK(b.group_keys <= groups.most_keys(most_rows));
    CHECK(b.query_rows == indices.data());
    CHECK(b.key_rows + b.groups * b.group_keys <= indices.data() + indices.size());
    for (size_t i = 0; i < b.groups * b.group_queries; ++i) {
      if (b.query_rows[i] < 0) continue;
      const int32_t* keys = b.key_rows + i / b.group_queries * b.group_keys;
      std::vector<int64_t> list;
      for (size_t k = 0; k < b.group_keys; ++k) list.push_back(keys[k] == zero_row ? -1 : keys[k]);
      std::sort(list.begin(), list.end());
      for (size_t head = b.first_head; head < b.first_head + b.heads; ++head) {
        CHECK(seen.emplace(std::pair(head, size_t(b.query_rows[i])), list).second);  // once
      }
    }
  });
  return seen;
}

Seen by_formula(const DilatedAttention& m, size_t rows) {
  Seen seen;
  for (size_t head = 0; head < m.heads; ++head) {
    for (size_t t = 0; t < rows; ++t) {
      std::vector<int64_t>& list = seen[{head, t}];
      for (uint32_t i = 0; i < m.dilation_count; ++i) {
        const size_t w = std::min<size_t>(m.dilations[i].segment, rows), r = m.dilations[i].ratio;
        const size_t o = head / ((m.heads + r - 1) / r), s = t / w * w;
        if ((t - s) % r != o) continue;
        for (size_t j = s + o; j < s + (w + r - 1) / r * r; j += r)
          list.push_back(j < rows && j < s + w ? static_cast<int64_t>(j) : -1);
      }
      std::sort(list.begin(), list.end());
    }
  }
  return seen;
}

}  // namespace

TEST_CASE("the authors' embeddings") {
  for (const std::string& name : golden_names("slide")) {
    CAPTURE(name);
    const Array expected = golden_array(name, "embedding");
    const auto exact = convert_golden(name, "float32"), rounded = convert_golden(name, "int8");
    for (const uint32_t threads : {1u, 3u}) {
      ArrayOptions options;
      options.threads = threads;
      CHECK(relative_difference(embed(name, exact, options), expected) < 1e-5);
    }
    const double loss = relative_difference(embed(name, rounded, {}), expected);
    MESSAGE(name << ": int8 differs by " << loss << " of the largest value");
    CHECK(loss < 0.1);  // weights that are large on purpose: a wrong term makes about 1
  }
}

TEST_CASE("int8 embeddings depend on neither kernel set, threads nor room for more tiles") {
  const Kernels* const* sets;
  const size_t count = available_kernels(&sets);
  for (const std::string& name : golden_names("slide")) {
    const auto model = convert_golden(name, "int8");
    const Array tiles = golden_array(name, "tiles"), coords = golden_array(name, "coords");
    std::vector<float> expected;
    for (size_t i = 0; i < count; ++i) {
      for (const size_t threads : {1, 2, 5}) {
        for (const size_t more : {0, 1, 1000}) {
          SlideOptions options;
          options.threads = threads, options.max_tiles = tiles.shape[1] + more;
          const auto network = take(SlideNetwork::create(cpu(model, sets[i]->isa), options));
          std::vector<float> got(network->width());
          REQUIRE(network->run(tiles.floats(), coords.floats(), tiles.shape[1], got.data()).ok());
          if (expected.empty()) expected = got;
          CAPTURE(sets[i]->isa);
          CHECK(std::memcmp(got.data(), expected.data(), got.size() * sizeof(float)) == 0);
        }
      }
    }
  }
}

TEST_CASE("lists name what the formula does, each row and head once") {
  const DilatedAttention mixers[] = {
      mixer_of(8, {{8, 1}, {20, 2}, {64, 4}}), mixer_of(16, {{16, 1}, {32, 2}, {64, 4}, {128, 8}, {256, 16}}),
      mixer_of(3, {{5, 1}, {7, 2}, {50, 4}}),  mixer_of(5, {{1, 1}, {3, 8}, {9, 3}}),
      mixer_of(1, {{1000, 1}, {10, 40}}),      mixer_of(6, {{12, 2}, {4, 3}, {10, 1}, {1 << 24, 65536}}),
      mixer_of(2, {{7, 1}, {7, 1}, {13, 1}}),
  };
  for (const DilatedAttention& mixer : mixers) {
    for (const size_t rows : {1, 2, 7, 38, 151, 300}) {
      CAPTURE(mixer.heads);
      CAPTURE(rows);
      const Seen expected = by_formula(mixer, rows);
      CHECK(listed(mixer, rows, rows) == expected);
      CHECK(listed(mixer, rows, rows + 100) == expected);
    }
  }
}

#ifdef LSRT_COUNT_ALLOCATIONS
TEST_CASE("an int8 encoder allocates nothing once it is made") {
  const auto model = convert_golden("longnet", "int8");
  SlideOptions options;
  options.max_tiles = 200;
  const auto network = take(SlideNetwork::create(cpu(model), options));
  const std::vector<float> tiles(200 * 12, 0.5f), coords(2 * 200, 300.0f);
  std::vector<float> embedding(network->width());
  bool ok = true;
  const size_t before = allocations;
  for (const size_t count : {200, 1, 77}) {
    ok = ok && network->run(tiles.data(), coords.data(), count, embedding.data()).ok();
  }
  const size_t after = allocations;
  CHECK(ok);
  CHECK(after == before);
}
#endif

TEST_CASE("memory grows with the tiles, not with their square") {
  const auto model = take(Model::load_bytes(tiny_longnet(Precision::kInt8), "tiny"));
  const auto bytes = [&](size_t tiles) {
    SlideOptions options;
    options.max_tiles = tiles;
    return static_cast<double>(take(SlideNetwork::plan(*cpu(model), options)));
  };
  const double some = bytes(100000), more = bytes(1000000);
  CHECK(more < 11 * some);
  CHECK(more < 1000 * 1000000.0);
}

TEST_CASE("slides that are none are refused, and the next one is right") {
  const auto model = take(Model::load_bytes(tiny_longnet(Precision::kFloat32), "tiny"));
  SlideOptions options;
  options.max_tiles = 5;
  const auto network = take(SlideNetwork::create(cpu(model), options));
  const std::vector<float> tiles(6 * 6, 1.0f);
  std::vector<float> embedding(16);
  const auto refused = [&](std::vector<float> coords, const std::string& text) {
    const Status status = network->run(tiles.data(), coords.data(), coords.size() / 2, embedding.data());
    INFO(status.message());
    CHECK(status.code() == Error::kArgument);
    CHECK(status.message().find(text) != std::string::npos);
  };
  refused({}, "a slide of 0 tiles, must be 1 to 5");
  refused(std::vector<float>(12), "a slide of 6 tiles, must be 1 to 5");
  refused({0, 0, 0, 320}, "coordinate 1 of tile 1 is 320, must be at least 0 and below 320");
  refused({-0.5f, 0}, "coordinate 0 of tile 0 is -0.5");
  refused({NAN, 0}, "coordinate 0 of tile 0 is nan");
  refused({0, INFINITY}, "coordinate 1 of tile 0 is inf");
  const std::vector<float> coords = {319.9f, 0, 17, 31};
  REQUIRE(network->run(tiles.data(), coords.data(), 2, embedding.data()).ok());
  const naive::Row expected = naive::embed_slide(*model, std::vector<float>(2 * 6, 1.0f), coords);
  for (size_t i = 0; i < expected.size(); ++i) CHECK(std::fabs(embedding[i] - expected[i]) < 1e-5);
  options.max_tiles = 0;
  CHECK(SlideNetwork::create(cpu(model), options).status().code() == Error::kArgument);
  options.max_tiles = size_t{kMaxStreamTokens} + 1;
  CHECK(SlideNetwork::create(cpu(model), options).status().code() == Error::kArgument);
  options.max_tiles = kMaxStreamTokens;  // 4 GiB are not enough
  CHECK(SlideNetwork::create(cpu(model), options).status().code() == Error::kMemory);
  CHECK(SlideNetwork::create(cpu(take(Model::load_bytes(tiny_lm(Precision::kInt8), "tiny"))), {})
            .status()
            .code() == Error::kArgument);
}

TEST_CASE("arrays are told from others by name and shape") {
  const auto model = take(Model::load_bytes(tiny_longnet(Precision::kInt8), "tiny"));
  const Array tiles = make_array("tiles", DataType::kFloat32, {2, 3, 6});
  const auto refused = [&](std::vector<Array> inputs, const std::string& text) {
    const Status status = run_arrays(cpu(model), inputs, {}).status();
    INFO(status.message());
    CHECK(status.code() == Error::kArgument);
    CHECK(status.message().find(text) != std::string::npos);
  };
  refused({tiles}, "no input is called 'coords' (there is: tiles)");
  refused({tiles, make_array("coords", DataType::kFloat32, {2, 4, 2})}, "expected [2, 3, 2]");
  refused({tiles, make_array("coords", DataType::kFloat32, {3, 2})}, "expected rank 3");
  refused({make_array("tiles", DataType::kFloat32, {1, 3, 7}), tiles}, "expected [batch, n, 6]");
  refused({make_array("tiles", DataType::kInt32, {1, 3, 6})}, "expected rank 3 of float32");
  refused({make_array("tiles", DataType::kFloat32, {1, 0, 6})}, "not empty");
  const auto as_floats =
      take(run_arrays(cpu(model), {tiles, make_array("coords", DataType::kFloat32, {2, 3, 2})}, {}));
  const auto as_integers =
      take(run_arrays(cpu(model), {tiles, make_array("coords", DataType::kInt32, {2, 3, 2})}, {}));
  CHECK(as_floats[0].shape == std::vector<uint32_t>{2, 16});
  CHECK(as_floats[0].bytes == as_integers[0].bytes);
}

TEST_CASE("the loader refuses slides' models that do not fit") {
  const auto editable = [] { return Editable{tiny_longnet(Precision::kFloat32, {.force_defaults = true})}; };
  CHECK(load(editable().bytes).ok());
  const auto refused = [&](const std::string& text, const auto& change) {
    Editable model = editable();
    change(model, model.block()->mixer_as_DilatedAttention());
    check_refused(model.bytes, Error::kModel, text);
  };
  using M = fb::DilatedAttention;
  const auto set_list = [](Editable& m, const flatbuffers::Vector<uint32_t>* list, int index,
                           uint32_t value) {
    std::memcpy(m.bytes.data() + (reinterpret_cast<const uint8_t*>(list->data() + index) - m.bytes.data()),
                &value, sizeof value);  // index -1: its length
  };
  refused("block 0, heads: 3 do not divide the width 16",
          [](Editable& m, const M* d) { m.set<uint32_t>(d, M::VT_HEADS, 3); });
  refused("heads: 0 is not in 1 .. 16", [](Editable& m, const M* d) { m.set<uint32_t>(d, M::VT_HEADS, 0); });
  for (const uint32_t segment : {0u, (1u << 24) + 1, UINT32_MAX}) {
    refused("block 0, segments: " + std::to_string(segment) + " is not in 1 .. 16777216",
            [&](Editable& m, const M* d) { set_list(m, d->segments(), 1, segment); });
  }
  for (const uint32_t ratio : {0u, 65537u, UINT32_MAX}) {
    refused("block 0, ratios: " + std::to_string(ratio) + " is not in 1 .. 65536",
            [&](Editable& m, const M* d) { set_list(m, d->ratios(), 1, ratio); });
  }
  refused("ratios: none is 1", [&](Editable& m, const M* d) { set_list(m, d->ratios(), 0, 2); });
  refused("ratios: 1, but there are 2 segments",
          [&](Editable& m, const M* d) { set_list(m, d->ratios(), -1, 1); });
  refused("segments: 0 is not in 1 .. 8",
          [&](Editable& m, const M* d) { set_list(m, d->segments(), -1, 0); });
  refused("qkv.weight: shape [47, 16], expected [48, 16]",
          [](Editable& m, const M* d) { m.set_extent(d->qkv()->weight(), 0, 47); });
  refused("out.weight: shape [16, 15], expected [16, 16]",
          [](Editable& m, const M* d) { m.set_extent(d->out()->weight(), 1, 15); });
  refused("norm_mixed.gamma: shape [15], expected [16]",
          [](Editable& m, const M*) { m.set_extent(m.block()->norm_mixed()->gamma(), 0, 15); });
  refused("feed_forward norm.gamma: shape [23], expected [24]",
          [](Editable& m, const M*) { m.set_extent(m.block()->feed_forward()->norm()->gamma(), 0, 23); });
  const auto stem = [](const Editable& m) { return m.root()->stages()->Get(0)->stem_as_TileStem(); };
  for (const uint32_t tile : {0u, (1u << 24) + 1}) {
    refused("stage 0, tile: " + std::to_string(tile) + " is not in 1 .. 16777216",
            [&](Editable& m, const M*) { m.set<uint32_t>(stem(m), fb::TileStem::VT_TILE, tile); });
  }
  refused("projection.weight",
          [&](Editable& m, const M*) { m.set_extent(stem(m)->projection()->weight(), 0, 0); });
  refused("width: 15 is odd", [&](Editable& m, const M*) {
    m.set_extent(stem(m)->projection()->weight(), 0, 15);
    m.set_span(stem(m)->projection()->weight(), first_weight(m.bytes), 15 * 6 * 4);
    m.set_extent(stem(m)->projection()->bias(), 0, 15);
    m.set_span(stem(m)->projection()->bias(), stem(m)->projection()->bias()->data()->offset(), 15 * 4);
  });
  refused("cls_token: shape [15], expected [16]",
          [&](Editable& m, const M*) { m.set_extent(stem(m)->cls_token(), 0, 15); });
  refused("positions: shape [20, 9], expected [0, 8]",
          [&](Editable& m, const M*) { m.set_extent(stem(m)->positions(), 1, 9); });
  refused("positions: 640 bytes, but the shape needs 84934656",
          [&](Editable& m, const M*) {  // bytes of more cells than the file has
            m.set_extent(stem(m)->positions(), 0, 84934656 / 32);
          });
  refused("pool: 2 is not in 0 .. 1", [](Editable& m, const M*) {
    m.set<uint8_t>(m.root()->head_as_EmbeddingHead(), fb::EmbeddingHead::VT_POOL, 2);
  });
  refused("residual: kind 1, but models of family slide have pre_norm only",
          [](Editable& m, const M*) { m.set<uint8_t>(m.block(), fb::Block::VT_RESIDUAL, 1); });
}

TEST_CASE("the stored check is of tiles, coordinates and an embedding") {
  const auto bytes = tiny_longnet(Precision::kInt8, {.force_defaults = true, .golden = true});
  CHECK(load(bytes).ok());
  Editable model{bytes};
  model.set_extent(model.root()->golden()->inputs()->Get(1), 1, 95);
  model.set_span(model.root()->golden()->inputs()->Get(1),
                 model.root()->golden()->inputs()->Get(1)->data()->offset(), 95 * 2 * 4);
  check_refused(model.bytes, Error::kModel,
                "golden: expected tiles [batch, n, features], coords [batch, n, 2]");
}
