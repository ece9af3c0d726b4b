// Checkpoint readers on good files, and the files and hashes beside them. The expected values were taken by
// PyTorch (tests/data/make_readers.py).

#include <cmath>
#include <nlohmann/json.hpp>

#include "base/mapped_file.h"
#include "converter/sha256.h"
#include "converter/source/safetensors.h"
#include "converter/source/tensor_source.h"
#include "tests/support/reader_files.h"

using namespace lsrt;
using namespace lsrt_test;

namespace {

using nlohmann::json;

json read_json(const std::string& path) { return json::parse(read_file(path)); }

std::unique_ptr<TensorSource> open_source(const std::string& path) {
  Result<std::unique_ptr<TensorSource>> source = TensorSource::open(path);
  REQUIRE_MESSAGE(source.ok(), source.status().message());
  return source.take();
}

void check_values(const TensorSource& source, const json& expected) {
  CHECK(source.tensors().size() == expected.size());
  for (const auto& [bound, entry] : expected.items()) {
    const std::string& name = bound;  // which CAPTURE can hold
    CAPTURE(name);
    const SourceTensor* tensor = source.find(name);
    REQUIRE(tensor != nullptr);
    CHECK(tensor->shape == entry["shape"].get<std::vector<int64_t>>());
    const Result<std::vector<float>> values = source.read(*tensor);
    REQUIRE(values.ok());
    CHECK(values.value() == entry["values"].get<std::vector<float>>());
  }
}

TEST_CASE("every element type and memory layout, in every container") {
  const json expected = read_json(reader_file("state.json"));
  for (const char* name : {"zip.pt", "zip-protocol3.pt", "zip-protocol4.pt", "zip-protocol5.pt", "legacy.pt",
                           "all.safetensors"}) {
    CAPTURE(name);
    check_values(*open_source(reader_file(name)), expected);
  }
}

TEST_CASE("the container is told by content") {
  CHECK(open_source(reader_file("zip.pt"))->format() == "pytorch-zip");
  CHECK(open_source(reader_file("small-zip64.pt"))->format() == "pytorch-zip");
  CHECK(open_source(reader_file("legacy.pt"))->format() == "pytorch-legacy");
  CHECK(open_source(reader_file("all.safetensors"))->format() == "safetensors");
}

TEST_CASE("zip64 sizes and positions") {
  const auto source = open_source(reader_file("small-zip64.pt"));
  CHECK(source->read(*source->find("w")).value() == std::vector<float>{1, 2, 3, 4});
}

TEST_CASE("element types keep their names and signs") {
  const auto source = open_source(reader_file("zip.pt"));
  for (const char* name : {"f16", "bf16", "f64", "i64", "i32", "i16", "i8", "u8", "bool"}) {
    CHECK(std::string(source_type_name(source->find(name)->type)) == name);
  }
  const std::vector<float> halves = source->read(*source->find("f16")).take();
  CHECK(halves[5] == 0x1p-24f);  // the smallest subnormal
  CHECK(std::signbit(halves[1]));
  CHECK(source->find("no such tensor") == nullptr);
}

TEST_CASE("integers are exact") {
  const auto source = open_source(reader_file("zip.pt"));
  CHECK(source->read_integers(*source->find("i64")).value() ==
        std::vector<int64_t>{1, -2, int64_t{1} << 40, -(int64_t{1} << 40)});
  CHECK(source->read_integers(*source->find("u8")).value() == std::vector<int64_t>{0, 255});
  CHECK(source->read_integers(*source->find("bool")).value() == std::vector<int64_t>{1, 0, 1});
  const Status status = source->read_integers(*source->find("whole")).status();
  CHECK(status.code() == Error::kCheckpoint);
  CHECK(contains(status.message(), "'whole' has type f32"));
}

TEST_CASE("the state dict is found under the usual keys") {
  for (const char* key : {"net", "model_state_dict", "state_dict"}) {
    const auto source = open_source(reader_file(std::string("key-") + key + ".pt"));
    CHECK(source->tensors().size() == 1);
    CHECK(source->tensors()[0].name == "w");
    CHECK(source->metadata() == json{{"epoch", 1}, {key, json::object()}});
  }
  const auto source = open_source(reader_file("small.pt"));
  CHECK(source->tensors()[0].name == "w");
  CHECK(source->metadata() == json{{"step", 5}});
}

TEST_CASE("metadata is a plain tree") {
  for (const char* name : {"zip.pt", "zip-protocol4.pt", "legacy.pt"}) {
    CAPTURE(name);
    const json metadata = open_source(reader_file(name))->metadata();
    CHECK(metadata["args"] == json{{"__class__", "argparse.Namespace"},
                                   {"layers", 4},
                                   {"rate", 0.5},
                                   {"names", {"a", "b"}},
                                   {"nothing", nullptr},
                                   {"on", true}});
    CHECK(metadata["cfg"] == json{{"model", {{"d_model", 64}, {"heads", {1, 2}}}}, {"task", "lm"}});
    CHECK(metadata["opaque"] == json{{"__class__", "__main__.Opaque"}, {"width", 3}, {"parent", nullptr}});
    CHECK(metadata["big"] == "0x400000000000000000");
    CHECK(metadata["nan"] == nullptr);
    CHECK(metadata["bytes"] == "raw");
    CHECK(metadata["set"] == json{5});
    CHECK(metadata["size"] == json{2, 3});
    CHECK(metadata["dtype"] == "torch.float16");
    CHECK(metadata["keys"] == json{{"1", "one"}, {"[2,3]", "pair"}, {"null", "none"}});
    CHECK(metadata["optimizer"]["exp_avg"] == json{{"tensor", {{"shape", {2, 2}}, {"type", "f16"}}}});
    CHECK(metadata["text"] == "n\u00e4me");
  }
  CHECK(open_source(reader_file("all.safetensors"))->metadata() == json{{"family", "lm"}});
}

// Sums over all values in double: the order of the additions may differ from PyTorch's.
void check_sums(const std::string& path, const json& expected) {
  CAPTURE(path);
  const auto source = open_source(path);
  CHECK(source->tensors().size() == expected.size());
  for (const auto& [bound, entry] : expected.items()) {
    const std::string& name = bound;  // which CAPTURE can hold
    CAPTURE(name);
    const SourceTensor* tensor = source->find(name);
    REQUIRE(tensor != nullptr);
    CHECK(tensor->shape == entry[0].get<std::vector<int64_t>>());
    const std::vector<float> values = source->read(*tensor).take();
    double sum = 0, magnitude = 0;
    for (const float value : values) {
      sum += value;
      magnitude += std::fabs(value);
    }
    CHECK(std::fabs(sum - entry[1].get<double>()) <= 1e-12 * magnitude);
    CHECK(values[0] == entry[2].get<float>());
  }
}

TEST_CASE("checkpoints of the authors' code") {
  const json sums = read_json(reader_file("sums.json"));
  for (const auto& [file, expected] : sums.items()) {
    const std::string golden = data_path("golden/" + file);
    const std::string trained = shared_path(file);
    if (std::filesystem::exists(golden)) {
      check_sums(golden, expected);
    } else if (std::filesystem::exists(trained)) {
      check_sums(trained, expected);
    } else {
      MESSAGE("skipped: no ", trained);
    }
  }
}

TEST_CASE("safetensors: written, then read") {
  const TemporaryFolder folder;
  const std::string path = folder / "out.safetensors";
  const float weights[] = {1.5f, -2, 3, 4, 5, 6};
  const int32_t tokens[] = {7, -8};
  const int64_t scalar = int64_t{1} << 50;
  REQUIRE(write_safetensors(path,
                            {{"w", "F32", {2, 3}, weights},
                             {"empty", "F32", {0, 4}, nullptr},
                             {"tokens", "I32", {2}, tokens},
                             {"scalar", "I64", {}, &scalar}},
                            {{"made by", "test"}})
              .ok());
  const auto source = open_source(path);
  CHECK(source->metadata() == json{{"made by", "test"}});
  CHECK(source->tensors().size() == 4);
  CHECK(source->tensors()[0].file_offset % 8 == 0);
  CHECK(source->read(*source->find("w")).value() == std::vector<float>{1.5f, -2, 3, 4, 5, 6});
  CHECK(source->read(*source->find("empty")).value().empty());
  CHECK(source->read_integers(*source->find("tokens")).value() == std::vector<int64_t>{7, -8});
  CHECK(source->read_integers(*source->find("scalar")).value() == std::vector<int64_t>{scalar});

  const auto code = [&](std::vector<NamedTensor> tensors) { return write_safetensors(path, tensors).code(); };
  CHECK(code({{"w", "F99", {1}, weights}}) == Error::kArgument);
  CHECK(code({{"w", "F32", {-1}, weights}}) == Error::kArgument);
  CHECK(code({{"w", "F32", {INT64_MAX, 4}, weights}}) == Error::kArgument);
  CHECK(code({{"w", "F32", {1}, weights}, {"w", "F32", {1}, weights}}) == Error::kArgument);
  CHECK(open_source(path)->tensors().size() == 4);  // a failed write leaves the old file
}

TEST_CASE("SHA-256: the examples of FIPS 180 and their longest one in pieces") {
  const auto hash = [](std::string_view text) {
    Sha256 hash;
    hash.update(text.data(), text.size());
    return hash.finish();
  };
  CHECK(hash("") == "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
  CHECK(hash("abc") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
  CHECK(hash("abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq") ==
        "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1");
  CHECK(hash("abcdefghbcdefghicdefghijdefghijkefghijklfghijklmghijklmnhijklmnoijklmnopjklmnopqklmnopqrlmnopqr"
             "smnopqrst"
             "nopqrstu") == "cf5b16a778af8380036ce59e7b0492370b249b11e8f07a51afac45037afee9d1");
  const std::string million(1000000, 'a');
  const std::string digest = "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0";
  CHECK(hash(million) == digest);
  Sha256 pieces;
  for (size_t done = 0, size = 1; done < million.size(); done += size, size = size * 7 % 131) {
    size = std::min(size, million.size() - done);
    pieces.update(million.data() + done, size);
  }
  CHECK(pieces.finish() == digest);
}

TEST_CASE("a file that cannot be mapped is named, with the reason") {
  const TemporaryFolder folder;
  const auto message = [](const std::string& path) {
    const auto file = MappedFile::open(path);
    REQUIRE(!file.ok());
    CHECK(file.status().code() == Error::kFile);
    CHECK(contains(file.status().message(), path));
    return file.status().message();
  };
  CHECK(contains(message(folder / "missing"), "No such file"));
  CHECK(contains(message(folder / ""), "is a folder"));
  CHECK(contains(message("/dev/null"), "not a regular file"));
  write_file(folder / "empty", "");
  CHECK(contains(message(folder / "empty"), "is empty"));
}

}  // namespace
