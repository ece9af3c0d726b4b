// Folders as checkpoints: what is read, and what is refused by name.
#include <doctest/doctest.h>

#include "converter/source/safetensors.h"
#include "converter/source/tensor_source.h"
#include "tests/support/files.h"
#include "tests/support/take.h"

using namespace lsrt;
using namespace lsrt_test;

namespace {

constexpr char kIndexName[] = "model.safetensors.index.json";

void write_tensors(const std::string& path, const std::vector<std::string>& names, float first) {
  std::vector<std::vector<float>> values;
  std::vector<NamedTensor> tensors;
  for (size_t i = 0; i < names.size(); ++i) values.push_back({first + static_cast<float>(i), -1});
  for (size_t i = 0; i < names.size(); ++i) tensors.push_back({names[i], "F32", {2}, values[i].data()});
  REQUIRE(write_safetensors(path, tensors).ok());
}

// Two shards: a and b in the first, c in the second.
struct Shards {
  TemporaryFolder folder;

  Shards() {
    write_file(folder / "config.json", R"({"hidden_size": 8})");
    write_tensors(folder / "one.safetensors", {"a", "b"}, 1);
    write_tensors(folder / "two.safetensors", {"c"}, 3);
    index(R"({"weight_map": {"a": "one.safetensors", "b": "one.safetensors", "c": "two.safetensors"}})");
  }
  std::string path() const { return (folder / "").substr(0, (folder / "").size() - 1); }
  void index(const std::string& text) { write_file(folder / kIndexName, text); }
  void refused(Error code, const std::string& why) const {
    const Status status = TensorSource::open(path()).status();
    CAPTURE(status.message());
    CHECK(status.code() == code);
    CHECK(status.message().find(why) != std::string::npos);
    CHECK(status.message().find(path()) == 0);
  }
};

TEST_CASE("a folder of shards is one checkpoint") {
  const Shards shards;
  for (const std::string& path : {shards.path(), shards.path() + "/"}) {
    const auto source = take(TensorSource::open(path));
    CHECK(source->path() == shards.path());
    CHECK(source->folder() == shards.path() + "/");
    CHECK(source->files().size() == 2);
    CHECK(source->tensors().size() == 3);
    for (const char* name : {"a", "b", "c"}) {
      REQUIRE(source->find(name) != nullptr);
      CHECK(take(source->read(*source->find(name))) ==
            std::vector<float>{static_cast<float>(name[0] - 'a' + 1), -1});
    }
    CHECK(source->format() == "safetensors");
    CHECK(source->metadata()["config"]["hidden_size"] == 8);
  }
  const auto file = take(TensorSource::open(shards.folder / "two.safetensors"));
  CHECK(file->folder() == shards.path() + "/");
  CHECK(file->tensors().size() == 1);
}

TEST_CASE("one file stands before shards, and shards before a PyTorch file") {
  Shards shards;
  write_file(shards.folder / "pytorch_model.bin", "not read");
  CHECK(take(TensorSource::open(shards.path()))->tensors().size() == 3);
  write_tensors(shards.folder / "model.safetensors", {"d"}, 4);
  CHECK(take(TensorSource::open(shards.path()))->find("d") != nullptr);
  std::filesystem::remove(shards.folder / "model.safetensors");
  std::filesystem::remove(shards.folder / kIndexName);
  shards.refused(Error::kCheckpoint, "pytorch_model.bin: not a checkpoint");
}

TEST_CASE("numbers that JSON has no word for") {
  const Shards shards;
  write_file(shards.folder / "config.json",
             R"({"limit": [0.0, Infinity], "low": -Infinity, "none": NaN, "text": "Infinity \" NaN"})");
  const auto source = take(TensorSource::open(shards.path()));
  const nlohmann::json& config = source->metadata()["config"];
  CHECK(config["limit"][1] == "Infinity");
  CHECK(config["low"] == "-Infinity");
  CHECK(config["none"] == "NaN");
  CHECK(config["text"] == "Infinity \" NaN");
}

TEST_CASE("what makes no checkpoint is refused by name") {
  Shards shards;
  for (const char* file : {"../two.safetensors", "/etc/passwd", "sub/two.safetensors", "", "..", ".hidden"}) {
    shards.index(std::string(R"({"weight_map": {"a": ")") + file + R"("}})");
    shards.refused(Error::kCheckpoint, "tensor a: expected the name of a file of this folder");
  }
  shards.index(R"({"weight_map": {"a": 1}})");
  shards.refused(Error::kCheckpoint, "tensor a: expected the name");
  for (const char* text : {"{}", R"({"weight_map": []})", R"({"weight_map": {}})"}) {
    shards.index(text);
    shards.refused(Error::kCheckpoint, "expected a weight_map");
  }
  shards.index("[");
  shards.refused(Error::kCheckpoint, std::string(kIndexName) + ": is not what this file should be");
  shards.index(R"({"weight_map": {"a": "none.safetensors"}})");
  shards.refused(Error::kFile, "none.safetensors");
  shards.index(R"({"weight_map": {"a": "one.safetensors", "z": "two.safetensors"}})");
  shards.refused(Error::kCheckpoint, "tensor z is in the index, but in none of its files");
  write_tensors(shards.folder / "two.safetensors", {"b"}, 3);
  shards.refused(Error::kCheckpoint, "two.safetensors: tensor 'b' is in another file, too");
  std::filesystem::remove(shards.folder / kIndexName);
  shards.refused(Error::kFile, "has no weights: expected model.safetensors, model.safetensors.index.json");
  write_file(shards.folder / "config.json", "[1]");
  shards.refused(Error::kCheckpoint, "config.json: is not what this file should be: it is not an object");
  std::filesystem::remove(shards.folder / "config.json");
  shards.refused(Error::kFile, "is a folder without config.json");
}

}  // namespace
