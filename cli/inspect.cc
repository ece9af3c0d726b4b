// lsrt inspect: what is in a model file.
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "cli/command.h"
#include "cli/options.h"
#include "cli/output.h"
#include "runtime/model.h"

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
        std::visit([&](const auto& mixer) { add(mixer); }, block.mixer);
        add("feed-forward", block.feed_forward.fc1.weight);
        add("feed-forward", block.feed_forward.fc2.weight);
      }
    }
    if (auto* head = std::get_if<TokenHead>(&model.head)) add("head", head->projection.weight);
    if (auto* head = std::get_if<ClassifierHead>(&model.head)) {
      for (const LinearView& layer : head->layers) add("head", layer.weight);
    }
  }

  std::string of(const TensorView& tensor) const {
    auto found = classes_.find(tensor.data);
    return found == classes_.end() ? "norms and biases" : found->second;
  }

 private:
  void add(const char* name, const TensorView& tensor) {
    if (tensor) classes_.emplace(tensor.data, name);  // what is shared with the embedding stays there
  }
  void add(const char* name, const float* data) {
    if (data) classes_.emplace(data, name);
  }
  void add(const TokenStem& stem) {
    add("embedding", stem.embedding);
    add("positions", stem.positions);
  }
  void add(const PatchStem& stem) {
    add("embedding", stem.projection.weight);
    add("embedding", stem.cls_tokens);
    add("positions", stem.positions);
  }
  template <typename T>
  void add_attention(const T& mixer) {
    add("attention", mixer.qkv.weight);
    add("attention", mixer.out.weight);
  }
  void add(const CausalLongShort& mixer) {
    add_attention(mixer);
    add("positions", mixer.window_positions);
    add("positions", mixer.chunk_positions);
    add("positions", mixer.chunk_position_projection.weight);
    add("positions", mixer.content_bias);
    add("positions", mixer.position_bias);
  }
  void add(const EncoderLongShort& mixer) {
    add_attention(mixer);
    add("attention", mixer.convolution);
  }
  void add(const VisionLongShort& mixer) {
    add_attention(mixer);
    add("positions", mixer.relative_bias);
  }
  void add(const FullAttention& mixer) {
    add_attention(mixer);
    add("positions", mixer.relative_bias);
    add("positions", mixer.cls_bias);
  }

  std::map<const void*, std::string> classes_;
};

Json class_bytes(const Model& model) {
  const TensorClasses classes(model);
  Json bytes = Json::object();
  for (const char* name :
       {"embedding", "attention", "feed-forward", "head", "positions", "norms and biases"}) {
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
    "layers x (rows x row bytes + chunk x pending bytes): rows = window + batch, (memory + block) / chunk x "
    "rank,"
    " block / chunk x rank and one zero row for each kind, each rounded up to 16; none of them depends on "
    "the length of"
    " the stream";

Json state_facts(const Model& model, const lsrt_session_memory& memory, const StreamOptions& stream) {
  const auto& mixer = std::get<CausalLongShort>(model.stages[0].blocks[0].mixer);
  return {{"block", stream.block ? stream.block : model.block},
          {"memory", stream.memory ? stream.memory : model.memory},
          {"chunk", mixer.chunk},
          {"window", mixer.window},
          {"rank", mixer.rank},
          {"vocabulary", model.vocabulary.size()},
          {"state_bytes", memory.state_bytes},
          {"positions_bytes", memory.positions_bytes},
          {"scratch_bytes", memory.scratch_bytes},
          {"state_formula", kStateFormula}};
}

Json input_facts(const Model& model) {
  Json facts = {{"classes", std::get<ClassifierHead>(model.head).layers.back().outputs},
                {"labels", model.labels}};
  if (model.family == "vil") {
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
                {"family", model->family},
                {"architecture", model->provenance.architecture},
                {"precision", model->is_int8() ? "int8" : "float32"},
                {"parameters", parameters},
                {"bytes", model->file_bytes()},
                {"bytes_by_class", class_bytes(*model)}};
  if (model->family == "lm") {
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
      for (const Json& item : value) *text += " " + item.get<std::string>();
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
