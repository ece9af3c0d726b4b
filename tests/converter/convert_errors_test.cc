// Conversions that must fail: each with a text that names the file, what is wrong and the way out, and
// without leaving a file behind.
#include <doctest/doctest.h>

#include <limits>

#include "converter/convert.h"
#include "converter/families/dictionary.h"
#include "tests/support/checkpoints.h"

using namespace lsrt;
using namespace lsrt_test;

namespace {

struct Case {
  TemporaryFolder folder;
  ConvertOptions options;
  std::string source;

  Case() { options.golden = false; }

  // A golden checkpoint, as it is or changed.
  explicit Case(const std::string& golden) : Case() {
    source = golden_checkpoint(golden);
    options.config_path = golden_path(golden, "case.json");
    if (std::filesystem::exists(golden_path(golden, "dict.txt")))
      options.dict_path = golden_path(golden, "dict.txt");
  }
  template <typename Change>
  Case(const std::string& golden, Change change) : Case(golden) {
    Tensors tensors = read_tensors(source);
    change(tensors);
    source = folder / "changed.safetensors";
    write_safetensors(source, tensors);
  }

  void write_config(const std::string& golden, const nlohmann::json& changes) {
    auto config = nlohmann::json::parse(read_file(golden_path(golden, "case.json")));
    (config.contains("config") ? config["config"] : config).update(changes);
    options.config_path = folder / "config.json";
    std::ofstream(options.config_path) << config;
  }

  void check(Error code, const std::vector<std::string>& texts) {
    const size_t files = folder.entries();
    const Status status = convert(source, folder / "model.lsrt", options).status();
    INFO(status.message());
    CHECK(status.code() == code);
    for (const std::string& text : texts) CHECK(status.message().find(text) != std::string::npos);
    CHECK(folder.entries() == files);
  }
};

TEST_CASE("dictionaries") {
  Case missing("lm-preln-rank2", [](Tensors&) {});
  missing.options.dict_path = "";
  missing.check(Error::kFile, {"changed.safetensors", "--dict", "dict.txt"});

  Case absent("lm-preln-rank2");
  absent.options.dict_path = "/nonexistent/dict.txt";
  absent.check(Error::kFile, {"/nonexistent/dict.txt"});

  Case other("lm-preln-rank2");
  other.options.dict_path = golden_path("lm-postln-relu-bias", "dict.txt");
  other.check(Error::kCheckpoint, {"36 tokens", "in_emb.weight has 40 rows"});

  const auto refused = [](const std::string& text, const char* message) {
    Case damaged("lm-preln-rank2");
    damaged.options.dict_path = damaged.folder / "dict.txt";
    std::ofstream(damaged.options.dict_path) << text;
    damaged.check(Error::kCheckpoint, {"dict.txt: line 2", message});
  };
  refused("97 5\nb\n98 4\n", "is \"b\", expected \"symbol count\"");
  refused("97 5\n97 4\n", "appears twice");
  refused("97 5\n98 many\n", "expected \"symbol count\"");
}

TEST_CASE("styles of dictionaries") {
  const auto read = [&](const std::string& text) {
    Result<std::vector<std::string>> tokens =
        read_dictionary({"dict.txt", reinterpret_cast<const uint8_t*>(text.data()), text.size()});
    REQUIRE_MESSAGE(tokens.ok(), tokens.status().message());
    return tokens.take();
  };
  using Texts = std::vector<std::string>;
  CHECK(read("32 9\n255 1\n10 1\nmadeupword0000 0\n") == Texts{"", "", "\n", "", " ", "\xff", "", ""});
  CHECK(read("_ 9\r\ne 5\r\n\xc3\xa9 1\nmadeupword0000 0") ==
        Texts{"", "", "", "", " ", "e", "\xc3\xa9", ""});
  CHECK(read("256 9\n7 1\n") == Texts{"", "", "", "", "256", "7"});
}

TEST_CASE("families") {
  Case unknown;
  unknown.source = unknown.folder / "other.safetensors";
  write_safetensors(unknown.source, {{"transformer.h.0.attn.c_attn.weight", {{2, 2}, {1, 2, 3, 4}}}});
  unknown.check(Error::kCheckpoint, {"fit no known family", "lm: decoder.model.in_emb.weight",
                                     "encoder: ", "vil: ", "found transformer.h.0.attn.c_attn.weight"});
  Case wrong("lm-preln-rank2");
  wrong.options.family = "vil";
  wrong.check(Error::kCheckpoint, {"fit no model of family vil", "layer1.0.proj.weight"});
  wrong.options.family = "gpt";
  wrong.check(Error::kArgument, {"family gpt is not known"});
}

TEST_CASE("block and memory") {
  Case lm("lm-preln-rank2");
  lm.options.memory = 8;
  lm.check(Error::kArgument, {"memory of 8 tokens is shorter than the window of 16", "--memory"});
  lm.options.memory = 100;
  lm.check(Error::kArgument, {"multiples of the chunk of 8", "--memory"});
  lm.options.memory = 0;
  lm.options.block = 60;
  lm.check(Error::kArgument, {"multiples of the chunk of 8", "--block"});
}

TEST_CASE("hyper-parameters") {
  Case missing("lm-preln-rank2", [](Tensors&) {});
  missing.options.config_path = "";
  missing.check(Error::kCheckpoint, {"hyper-parameter n_layer is not known", "--config"});

  const auto refused = [](const char* golden, const nlohmann::json& changes,
                          const std::vector<std::string>& texts) {
    Case wrong(golden);
    wrong.write_config(golden, changes);
    wrong.check(Error::kCheckpoint, texts);
  };
  refused("lm-preln-rank2", {{"d_model", 60}}, {"in_emb.weight has shape [40, 64], expected [40, 60]"});
  refused("lm-preln-rank2", {{"n_head", 5}}, {"n_head 5"});
  refused("lm-preln-rank2", {{"n_layer", "three"}}, {"config.json: hyper-parameter n_layer is \"three\""});
  refused("lm-preln-rank2", {{"n_layer", 4}}, {"layers.3.norm1.weight is missing"});
  refused("lm-preln-rank2", {{"n_layer", 1e9}}, {"expected an integer in 1 .. 4096"});
  refused("lm-preln-rank2", {{"use_bias", true}}, {"proj_query.bias is missing"});
  refused("lm-postln-relu-bias", {{"use_bias", false}},
          {"proj_query.bias exists, but the hyper-parameters say no bias"});
  refused("lm-preln-rank2", {{"chunk_rank", 1}}, {"dconv_1.weight has shape [8, 64], expected [4, 64]"});
  refused("lra-listops", {{"num_head", 3}}, {"3 heads"});
  refused("lra-listops", {{"max_seq_len", 128}}, {"max_seq_len is 128, but the tensors have 64"});
  refused("lra-listops", {{"cls_last_layer", true}}, {"model.cls_embed is missing"});
  refused("vil-4stage", {{"arch", "l1,h2,d32"}}, {"the architecture has 1 stages, the tensors have 4"});
  refused("vil-4stage", {{"img_size", 66}}, {"img_size 66"});
  refused("vil-4stage", {{"num_classes", 11}}, {"num_classes is 11, but head.weight has 10 rows"});
  refused("vil-4stage", {{"classes", {"a", "b"}}}, {"2 labels, but the model has 10 classes"});

  auto arch =
      nlohmann::json::parse(read_file(golden_path("vil-4stage", "case.json")))["arch"].get<std::string>();
  arch.replace(arch.find("f4"), 2, "f5");
  refused("vil-4stage", {{"arch", arch}},
          {"stage 1 is \"l1,h2,d32,n1,s1,g1,p2,a0,f5,r4\" in the architecture"});
  Case nonsense("vil-4stage");
  nonsense.write_config("vil-4stage", {{"arch", "l1,q7"}});
  nonsense.check(Error::kArgument, {"\"q7\" is not a letter"});
  nonsense.options.config_path = golden_path("lm-preln-rank2", "dict.txt");
  nonsense.check(Error::kCheckpoint, {"is not a JSON object"});
}

TEST_CASE("hyper-parameters beyond what can be computed") {
  const auto refused = [](const nlohmann::json& changes, Error code, const std::string& text) {
    Case wrong("lm-preln-rank2");
    wrong.write_config("lm-preln-rank2", changes);
    wrong.check(code, {text});
  };
  for (const uint32_t chunk : {2048, 65536}) {
    refused({{"chunk_size", chunk}, {"mem_len", chunk}}, Error::kCheckpoint,
            "chunk_size is " + std::to_string(chunk) + ", expected an integer in 1 .. 1024");
  }
  // 32 bits would wrap: 65536 heads x 65536 weights are 0 rows.
  refused({{"d_model", 65536}, {"n_head", 65536}, {"chunk_rank", 65536}}, Error::kUnsupported,
          "65536 heads make 4294967296 weights");
  refused({{"mem_len", 1 << 24}, {"chunk_size", 1}, {"chunk_rank", 16}, {"window_len", 1}},
          Error::kUnsupported, "summaries, at most ");
  // Tables of many times the weights.
  refused({{"mem_len", 1 << 20}}, Error::kUnsupported, "choose a smaller --memory");

  Case vision("vil-4stage");
  for (const char* arch :
       {"l1,h2,d32,f16385", "l1,h2,d65537", "l1,h2,d32,p16385", "l1,h2,d32,r65537", "l1,h65537"}) {
    CAPTURE(arch);
    vision.write_config("vil-4stage", {{"arch", arch}});
    vision.check(Error::kArgument, {"is not a letter"});
  }
}

TEST_CASE("configurations made to exhaust the reader") {
  const auto nested = [](const std::string& open, const std::string& middle, const std::string& close,
                         size_t n) {
    std::string text;
    for (size_t i = 0; i < n; ++i) text += open;
    text += middle;
    for (size_t i = 0; i < n; ++i) text += close;
    return text;
  };
  std::string many = "{\"a\": [0";
  for (int i = 0; i < 1 << 20; ++i) many += ",0";
  const std::pair<std::string, std::string> cases[] = {
      {"{\"a\":" + nested("[", "", "]", 2'000'000) + "}", "it is over 32 levels deep"},
      {"{\"config\":" + nested("{\"a\":", "1", "}", 1'000'000) + "}", "it is over 32 levels deep"},
      {nested("[", "", "]", 33), "it is over 32 levels deep"},
      {nested("[", "", "]", 32), "it is not an object"},
      {many + "]}", "it has over 1048576 values"},
      {"{\"n_layer\": 3, \"n_layer\": 4}", "'n_layer' appears twice"},
      {"{\"n_layer\": 1e400}", "it is not JSON at byte"},
      {"{\"n_layer\": \"\xff\"}", "it is not JSON at byte"},
      {"{\"n_layer\": 3", "it is not JSON at byte"}};
  for (const auto& [text, bound] : cases) {
    const std::string& message = bound;  // which CAPTURE can hold
    CAPTURE(message);
    Case wrong("lm-preln-rank2");
    wrong.options.config_path = wrong.folder / "config.json";
    write_file(wrong.options.config_path, text);
    wrong.check(Error::kCheckpoint, {"config.json: is not a JSON object of hyper-parameters: " + message});
  }
}

TEST_CASE("weights too large to compute with are refused by the check, and named") {
  Case large("lm-preln-rank2", [](Tensors& tensors) {
    for (float& value : tensors["decoder.model.layers.0.ff.fc1.weight"].values) value *= 1e30f;
    for (float& value : tensors["decoder.model.layers.0.ff.fc2.weight"].values) value *= 1e30f;
  });
  large.options.golden = true;
  large.check(Error::kCheckpoint, {"not all finite numbers", "--no-golden"});
}

TEST_CASE("tensors") {
  const std::string key = "decoder.model.layers.1.attn.proj_key.weight";
  Case missing("lm-preln-rank2", [&](Tensors& tensors) { tensors.erase(key); });
  missing.check(Error::kCheckpoint, {"tensor " + key + " is missing; expected shape [64, 64]"});
  Case extra("lm-preln-rank2", [](Tensors& tensors) { tensors["decoder.model.layers.0.gate"] = {{1}, {1}}; });
  extra.check(Error::kUnsupported, {"decoder.model.layers.0.gate [1] has no place in this architecture"});
  Case empty("vil-4stage", [](Tensors& tensors) {
    tensors["layer1.2.mlp.fc1.weight"] = {{0, 32}, {}};
    tensors["layer1.2.mlp.fc1.bias"] = {{0}, {}};
    tensors["layer1.2.mlp.fc2.weight"] = {{32, 0}, {}};
  });
  empty.check(Error::kCheckpoint, {"layer1.2.mlp.fc1.weight: the tensor is empty"});
  Case not_finite("lm-preln-rank2", [&](Tensors& tensors) {
    tensors[key].values[70] = std::numeric_limits<float>::quiet_NaN();
  });
  not_finite.check(Error::kCheckpoint, {key + ": element 70 is nan"});
  Case frequencies("lm-preln-rank2",
                   [](Tensors& tensors) { tensors["decoder.model.pos_emb.inv_freq"].values[3] *= 2; });
  frequencies.check(Error::kUnsupported, {"pos_emb.inv_freq[3]"});
  Case index("vil-4stage",
             [](Tensors& tensors) { tensors["layer2.3.attn.relative_position_index"].values[5] += 1; });
  index.check(Error::kUnsupported, {"layer2.3.attn.relative_position_index["});
  Case outside("vil-4stage",
               [](Tensors& tensors) { tensors["layer2.3.attn.relative_position_index"].values[5] = 91; });
  outside.check(Error::kUnsupported,
                {"layer2.3.attn.relative_position_index[0, 5] is 91: not a row of the table"});
}

TEST_CASE("files") {
  Case absent;
  absent.source = "/nonexistent/checkpoint.pt";
  absent.check(Error::kFile, {"/nonexistent/checkpoint.pt"});
  Case good("lra-listops");
  CHECK(convert(good.source, "/nonexistent/model.lsrt", good.options).status().code() == Error::kFile);
  CHECK(convert(good.source, good.folder / "", good.options).status().code() == Error::kFile);
}

TEST_CASE("a conversion can be cancelled while its outputs are checked") {
  Case cancelled("lm-preln-rank2");
  cancelled.options.golden = true;
  size_t checks = 0;
  cancelled.options.progress = [&](size_t, size_t, const std::string& what) {
    return what != "checking the outputs" || ++checks < 2;
  };
  cancelled.check(Error::kCancelled, {"cancelled"});
  CHECK(checks == 2);
}

TEST_CASE("an old output stays when the conversion fails, and when it is cancelled") {
  Case cancelled("lra-listops");
  std::ofstream(cancelled.folder / "model.lsrt") << "old";
  for (size_t steps : {size_t{0}, size_t{20}}) {
    size_t called = 0;
    cancelled.options.progress = [&](size_t done, size_t total, const std::string& what) {
      CHECK(done <= total);
      CHECK(!what.empty());
      return called++ < steps;
    };
    cancelled.check(Error::kCancelled, {"cancelled"});
    CHECK(read_file(cancelled.folder / "model.lsrt") == "old");
  }
}

}  // namespace
