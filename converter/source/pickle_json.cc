#include <cinttypes>
#include <cmath>
#include <set>
#include <utility>

#include "base/text.h"
#include "converter/source/torch_state.h"

namespace lsrt {
namespace {

using nlohmann::json;

constexpr int kMaxDepth = 100;
constexpr size_t kMaxValues = 1u << 20;
constexpr size_t kMaxText = 64u << 20;

std::string hexadecimal(std::string_view little_endian) {
  constexpr size_t kMaxBytes = 64;
  std::string text = "0x";
  for (size_t i = std::min(little_endian.size(), kMaxBytes); i-- > 0;) {
    constexpr char kDigits[] = "0123456789abcdef";
    const auto byte = static_cast<uint8_t>(little_endian[i]);
    text += kDigits[byte >> 4];
    text += kDigits[byte & 15];
  }
  return text;
}

bool is_builtin(const PickleName& name) { return name.module == "builtins" || name.module == "__builtin__"; }

bool is_dictionary_class(const PickleName& name) {
  return name == "collections.OrderedDict" || name == "collections.defaultdict" ||
         name == "collections.Counter" || (is_builtin(name) && name.name == "dict");
}

bool is_sequence_class(const PickleName& name) {
  for (const char* known : {"list", "tuple", "set", "frozenset"}) {
    if (is_builtin(name) && name.name == known) return true;
  }
  return name == "torch.Size" || name == "collections.deque";
}

class Converter {
 public:
  Converter(const Bytes& file, const Pickle& pickle) : file_(file), pickle_(pickle) {}

  Result<json> convert(PickleId id) {
    if (++values_ > kMaxValues) return error("at most 1 Mi values");
    const PickleValue& value = pickle_[id];
    switch (value.kind) {
      case PickleKind::none:
        return json();
      case PickleKind::boolean:
        return json(value.integer != 0);
      case PickleKind::integer:
        return json(value.integer);
      case PickleKind::big_integer:
        return convert_text(hexadecimal(value.text));
      case PickleKind::real:
        return std::isfinite(value.real) ? json(value.real) : json();
      case PickleKind::text:
      case PickleKind::bytes:
        return convert_text(value.text);
      case PickleKind::global:
        return convert_name(pickle_.global_name(id));
      case PickleKind::list:
      case PickleKind::tuple:
      case PickleKind::set:
      case PickleKind::dict:
      case PickleKind::object:
      case PickleKind::persistent:
        return convert_compound(id);
    }
    return json();
  }

 private:
  Status error(const char* expected) const {
    return fail(Error::kCheckpoint, "%s: the values beside the tensors are too many or too deep: expected %s",
                file_.name.c_str(), expected);
  }

  // All text of the tree passes one of these two: it is shared in the pickle and copied here.
  Result<json> convert_text(std::string_view text) {
    LSRT_TRY(count_text(text.size()));
    return json(to_utf8(text));
  }

  Result<json> convert_name(const PickleName& name) {
    LSRT_TRY(count_text(name.size()));
    return json(to_utf8(name.text()));
  }

  Status count_text(size_t size) {
    if (size > kMaxText - text_) return error("at most 64 MiB of text");
    text_ += size;
    return {};
  }

  Result<json> convert_compound(PickleId id) {
    if (open_.size() >= kMaxDepth) return error("at most 100 levels");
    if (!open_.insert(id).second) return json();  // inside itself, as the _parent of an OmegaConf node
    const PickleValue& value = pickle_[id];
    Result<json> result = value.kind == PickleKind::object ? convert_object(id)
                          : value.kind == PickleKind::dict ? convert_pairs(value.items)
                                                           : convert_items(value.items);
    open_.erase(id);
    return result;
  }

  Result<json> convert_items(const std::vector<PickleId>& items) {
    json result = json::array();
    for (const PickleId item : items) {
      LSRT_ASSIGN(json converted, convert(item));
      result.push_back(std::move(converted));
    }
    return result;
  }

  Result<json> convert_pairs(const std::vector<PickleId>& items) {
    json result = json::object();
    for (size_t i = 0; i + 1 < items.size(); i += 2) {
      LSRT_ASSIGN(json key, convert(items[i]));
      if (!key.is_string()) {
        // Counts as text: the escapes in a key of a key of a key double at every level.
        LSRT_ASSIGN(key, convert_text(key.dump()));
      }
      LSRT_ASSIGN(json converted, convert(items[i + 1]));
      result[key.get_ref<const std::string&>()] = std::move(converted);
    }
    return result;
  }

  Result<json> convert_object(PickleId id) {
    const PickleValue& object = pickle_[id];
    const PickleName name = pickle_.class_name(id);
    const std::vector<PickleId>& args = pickle_[object.args].items;
    if (const auto tensor = find_torch_tensor(pickle_, id)) return convert_tensor(*tensor);
    if (name == "_codecs.encode" && !args.empty()) return convert(args[0]);  // bytes, from protocol 2
    if (is_sequence_class(name)) return args.empty() ? convert_items(object.items) : convert(args[0]);
    if (is_dictionary_class(name)) return convert_dictionary(object, args);
    if (name.in_package("omegaconf")) {
      for (const char* field : {"_content", "_val"}) {
        const PickleId content = find_attribute(object, field);
        if (content != kNoValue) return convert(content);
      }
    }
    return convert_record(object, args, name);
  }

  Result<json> convert_tensor(const TorchTensor& tensor) {
    LSRT_ASSIGN(json shape, convert(tensor.shape));
    LSRT_ASSIGN(json type, tensor.type.source ? convert_text(source_type_name(*tensor.type.source))
                                              : convert_name(tensor.type.global));
    return json{{"tensor", {{"shape", std::move(shape)}, {"type", std::move(type)}}}};
  }

  // Filled item by item, or built from another dictionary, its last argument.
  Result<json> convert_dictionary(const PickleValue& object, const std::vector<PickleId>& args) {
    const bool is_copy =
        object.items.empty() && !args.empty() && pickle_[args.back()].kind == PickleKind::dict;
    return convert_pairs(is_copy ? pickle_[args.back()].items : object.items);
  }

  PickleId find_attribute(const PickleValue& object, std::string_view name) {
    if (object.state == kNoValue || pickle_[object.state].kind != PickleKind::dict) return kNoValue;
    const std::vector<PickleId>& items = pickle_[object.state].items;
    values_ += items.size();  // the search is work too: many objects may share one long state
    for (size_t i = 0; i + 1 < items.size(); i += 2) {
      if (pickle_[items[i]].kind == PickleKind::text && pickle_[items[i]].text == name) return items[i + 1];
    }
    return kNoValue;
  }

  Result<json> convert_record(const PickleValue& object, const std::vector<PickleId>& args,
                              const PickleName& name) {
    json result = json::object();
    if (object.state != kNoValue) {
      LSRT_ASSIGN(json state, convert(object.state));
      if (state.is_object()) {
        result = std::move(state);
      } else {
        result["__state__"] = std::move(state);
      }
    }
    LSRT_ASSIGN(result["__class__"], convert_name(name));
    if (!args.empty()) {
      LSRT_ASSIGN(result["__args__"], convert_items(args));
    }
    if (!object.items.empty()) {
      LSRT_ASSIGN(result["__items__"],
                  object.is_mapping ? convert_pairs(object.items) : convert_items(object.items));
    }
    return result;
  }

  const Bytes& file_;
  const Pickle& pickle_;
  size_t values_ = 0;
  size_t text_ = 0;
  std::set<PickleId> open_;  // the compounds being converted, outermost to innermost
};

}  // namespace

Result<json> pickle_to_json(const Bytes& file, const Pickle& pickle, PickleId id) {
  return Converter(file, pickle).convert(id);
}

}  // namespace lsrt
