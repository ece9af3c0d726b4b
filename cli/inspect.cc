// lsrt inspect: what is in a model file.
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "cli/command.h"
#include "cli/options.h"
#include "cli/output.h"
#include "runtime/model/model.h"

namespace lsrt::tool {
namespace {

struct Options {
  EngineOptions engine;
  StreamOptions stream;
  bool json = false;
};

// What the tensors are for, by the address of their data.
class TensorClasses {
 public:
  explicit TensorClasses(const Model& model) {
    for (const Stage& stage : model.stages) {
      std::visit([&](const auto& stem) { add(stem); }, stage.stem);
      for (const Block& block : stage.blocks) {
        std::visit([&](const auto& mixer) { mixer.for_each_array([&](auto... array) { add(array...); }); },
                   block.mixer);
        add("feed-forward", block.feed_forward.fc1.weight.data);
        add("feed-forward", block.feed_forward.fc2.weight.data);
      }
    }
    if (auto* head = std::get_if<TokenHead>(&model.head)) add("head", head->projection.weight.data);
    if (auto* head = std::get_if<ClassifierHead>(&model.head)) {
      for (const LinearView& layer : head->layers) add("head", layer.weight.data);
    }
  }

  std::string of(const TensorView& tensor) const {
    auto found = classes_.find(tensor.data);
    return found == classes_.end() ? "norms and biases" : found->second;
  }

 private:
  void add(const char* name, const void* data) {
    if (data) classes_.emplace(data, name);  // what is shared with the embedding stays there
  }
  void add(const TokenStem& stem) {
    add("embedding", stem.embedding.data);
    add("positions", stem.positions.data);
  }
  void add(const PatchStem& stem) {
    add("embedding", stem.projection.weight.data);
    add("embedding", stem.cls_tokens);
    add("positions", stem.positions);
  }
  void add(const TileStem& stem) {
    add("embedding", stem.projection.weight.data);
    add("embedding", stem.cls_token);
    add("positions", stem.positions.data);
  }
  std::map<const void*, std::string> classes_;
};

Json class_bytes(const Model& model) {
  const TensorClasses classes(model);
  Json bytes = Json::object();
  for (const char* name : {"embedding", "attention", "scan", "filter", "feed-forward", "head", "positions",
                           "norms and biases"}) {
    bytes[name] = uint64_t{0};
  }
  uint64_t all = 0;
  for (const TensorView& tensor : model.tensors()) {
    Json& sum = bytes[classes.of(tensor)];
    sum = sum.get<uint64_t>() + tensor.bytes();
    all += tensor.bytes();
  }
  bytes["header, golden, alignment"] = model.file_bytes() > all ? model.file_bytes() - all : 0;
  return bytes;
}

const char kStateFormula[] =
    "layers x (rows x row bytes + chunk x pending bytes): rows = window + batch, (memory + block) / chunk "
    "x rank, block / chunk x rank and one zero row for each kind, each rounded up to 16; none of them "
    "depends on the length of the stream";

const char kScanStateFormula[] =
    "layers x channels x (states + taps - 1) x 4 bytes; none of them depends on the length of the stream";

const char kDualStateFormula[] =
    "layers x (channels x states + (channels + 2 x groups x states) x (taps - 1)) x 4 bytes; none of them depends on "
    "the length of the stream";

Json state_facts(const Model& model, const lsrt_session_memory& memory, const StreamOptions& stream) {
  Json facts = Json::object();
  if (model.block) {
    facts["block"] = stream.block ? stream.block : model.block;
    facts["memory"] = stream.memory ? stream.memory : model.memory;
  }
  // Of the first one of a kind: in a mixture of mixers there are others.
  std::string formula;
  for (const Block& block : model.stages[0].blocks) {
    if (const auto* mixer = std::get_if<CausalLongShort>(&block.mixer); mixer && !facts.contains("chunk")) {
      facts["chunk"] = mixer->chunk;
      facts["window"] = mixer->window;
      facts["rank"] = mixer->rank;
      formula = kStateFormula;
    }
    if (const auto* mixer = std::get_if<SelectiveScan>(&block.mixer); mixer && !facts.contains("states")) {
      facts["channels"] = mixer->inner;
      facts["states"] = mixer->states;
      facts["taps"] = mixer->taps;
      if (formula.empty()) formula = kScanStateFormula;
    }
    if (const auto* mixer = std::get_if<StateSpaceDual>(&block.mixer); mixer && !facts.contains("states")) {
      facts["heads"] = mixer->heads;
      facts["groups"] = mixer->groups;
      facts["channels"] = mixer->inner;
      facts["states"] = mixer->states;
      facts["taps"] = mixer->taps;
      if (formula.empty()) formula = kDualStateFormula;
    }
  }
  facts["vocabulary"] = model.vocabulary.size();
  facts["state_bytes"] = memory.state_bytes;
  facts["positions_bytes"] = memory.positions_bytes;
  facts["scratch_bytes"] = memory.scratch_bytes;
  facts["state_formula"] = formula;
  return facts;
}

Json slide_facts(const Model& model) {
  const auto& stem = std::get<TileStem>(model.stages[0].stem);
  Json facts = {{"features", stem.projection.inputs},
                {"tile_pixels", stem.tile},
                {"cells_on_a_side", stem.cells},
                {"embedding", model.stages[0].width}};
  // Of the first layer; others may differ.
  const auto& mixer = std::get<DilatedAttention>(model.stages[0].blocks[0].mixer);
  for (uint32_t i = 0; i < mixer.dilation_count; ++i) {
    facts["segments"].push_back(mixer.dilations[i].segment);
    facts["ratios"].push_back(mixer.dilations[i].ratio);
  }
  return facts;
}

Json input_facts(const Model& model) {
  if (model.family == Family::kSlide) return slide_facts(model);
  Json facts = {{"classes", std::get<ClassifierHead>(model.head).layers.back().outputs},
                {"labels", model.labels}};
  if (model.family == Family::kVil) {
    facts["image_size"] = model.image.size;
    facts["image_resize"] = model.image.resize;
  } else {
    facts["max_length"] = model.sequence.max_length;
    facts["byte_offset"] = model.sequence.byte_offset;
  }
  return facts;
}

Result<Json> facts_of(const Options& options) {
  LSRT_ASSIGN(std::shared_ptr<const Model> model, Model::load(options.engine.model, Placement::kMapped));
  uint64_t parameters = 0;
  for (const TensorView& tensor : model->tensors()) parameters += tensor.elements();
  Json facts = {{"file", options.engine.model},
                {"family", family_name(model->family)},
                {"architecture", model->provenance.architecture},
                {"precision", model->is_int8() ? "int8" : "float32"},
                {"parameters", parameters},
                {"bytes", model->file_bytes()},
                {"bytes_by_class", class_bytes(*model)}};
  if (model->family == Family::kLm) {
    LSRT_ASSIGN(ModelHandle handle, options.engine.load());
    LSRT_ASSIGN(lsrt_session_memory memory, plan_session(handle.get(), options.stream, 1));
    facts["stream"] = state_facts(*model, memory, options.stream);
  } else {
    facts["input"] = input_facts(*model);
  }
  const Provenance& origin = model->provenance;
  facts["origin"] = {{"file", origin.source_file},
                     {"sha256", origin.source_sha256},
                     {"format", origin.source_format},
                     {"converter", origin.converter_version}};
  facts["golden_difference"] = model->golden.outputs.empty() ? Json() : Json(model->golden.max_difference);
  return facts;
}

// One fact a line, nested ones indented; sizes also as people read them.
void append_lines(const Json& facts, const std::string& indent, std::string* text) {
  for (const auto& [key, value] : facts.items()) {
    std::string name = key;
    for (char& c : name) c = c == '_' ? ' ' : c;
    *text += indent + name + ":";
    if (value.is_object()) {
      *text += "\n";
      append_lines(value, indent + "  ", text);
      continue;
    }
    if (value.is_string()) {
      *text += " " + value.get<std::string>() + "\n";
    } else if (value.is_array()) {
      for (const Json& item : value)
        *text += " " + (item.is_string() ? item.get<std::string>() : item.dump());
      *text += value.empty() ? " none\n" : "\n";
    } else if (value.is_number_unsigned() && value.get<uint64_t>() >= 10 * 1024 && key != "parameters") {
      *text += " " + value.dump() + " (" + bytes_text(value.get<uint64_t>()) + ")\n";
    } else {
      *text += " " + (value.is_null() ? std::string("none") : value.dump()) + "\n";
    }
  }
}

Status inspect(const Options& options) {
  LSRT_ASSIGN(const Json facts, facts_of(options));
  if (options.json) return print_json(facts);
  std::string text;
  append_lines(facts, "", &text);
  return print(text);
}

}  // namespace

Command add_inspect(CLI::App& tool) {
  auto options = std::make_shared<Options>();
  CLI::App* app = tool.add_subcommand("inspect", "Architecture, sizes, memory and origin of a model file");
  options->engine.add_model(app);
  options->stream.add(app);
  app->add_flag("--json", options->json, "Print JSON");
  return {app, [options] { return inspect(*options); }};
}

}  // namespace lsrt::tool
