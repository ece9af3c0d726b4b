#include "converter/source/torch_state.h"

#include <set>
#include <utility>

#include "base/text.h"

namespace lsrt {
namespace {

// The keys and values of anything that acts as a dictionary; nullptr for all else.
const std::vector<PickleId>* find_pairs(const Pickle& pickle, PickleId id) {
  const PickleValue& value = pickle[id];
  const bool is_dictionary =
      value.kind == PickleKind::dict || (value.kind == PickleKind::object && value.is_mapping);
  return is_dictionary ? &value.items : nullptr;
}

PickleId find_value(const Pickle& pickle, const std::vector<PickleId>& pairs, std::string_view key) {
  PickleId found = kNoValue;
  for (size_t i = 0; i + 1 < pairs.size(); i += 2) {
    if (pickle[pairs[i]].kind == PickleKind::text && pickle[pairs[i]].text == key) found = pairs[i + 1];
  }
  return found;
}

bool holds_tensors(const Pickle& pickle, const std::vector<PickleId>& pairs) {
  for (size_t i = 0; i + 1 < pairs.size(); i += 2) {
    if (find_torch_tensor(pickle, pairs[i + 1])) return true;
  }
  return false;
}

// The value of the state dict, kNoValue if there is none.
PickleId find_state_dict(const Pickle& pickle, const std::vector<PickleId>& root) {
  std::set<PickleId> seen;  // one long dictionary may be the value of all keys
  for (const char* key : {"model", "net", "model_state_dict", "state_dict"}) {
    const PickleId id = find_value(pickle, root, key);
    if (id == kNoValue || !seen.insert(id).second) continue;
    const std::vector<PickleId>* pairs = find_pairs(pickle, id);
    if (pairs != nullptr && holds_tensors(pickle, *pairs)) return id;
  }
  return holds_tensors(pickle, root) ? pickle.root : kNoValue;
}

Status no_state_dict(const Bytes& file, const Pickle& pickle, const std::vector<PickleId>& root) {
  std::string keys;
  for (size_t i = 0; i + 1 < root.size() && keys.size() < 300; i += 2) {
    if (pickle[root[i]].kind == PickleKind::text) keys += " '" + printable(pickle[root[i]].text) + "'";
  }
  return fail(Error::kCheckpoint,
              "%s: no state dict: expected tensors under 'model', 'net', 'model_state_dict', 'state_dict' or "
              "at the top; the file has the keys%s",
              file.name.c_str(), keys.empty() ? " (none)" : keys.c_str());
}

}  // namespace

Status read_torch_state(const Bytes& file, Pickle pickle, const TorchStorages& storages,
                        SourceContents* contents) {
  const std::vector<PickleId>* root = find_pairs(pickle, pickle.root);
  if (root == nullptr) {
    const PickleName name = pickle.class_name(pickle.root);
    return fail(Error::kCheckpoint,
                "%s: expected a dictionary with a state dict, found %s; save model.state_dict()",
                file.name.c_str(), name ? ("an object " + printable(name.text())).c_str() : "another value");
  }
  const PickleId state_dict = find_state_dict(pickle, *root);
  if (state_dict == kNoValue) return no_state_dict(file, pickle, *root);

  std::vector<PickleId> others;  // in the state dict, but no tensors
  std::set<std::string_view> names;
  const std::vector<PickleId>& pairs = *find_pairs(pickle, state_dict);
  for (size_t i = 0; i + 1 < pairs.size(); i += 2) {
    const PickleValue& key = pickle[pairs[i]];
    const std::optional<TorchTensor> tensor = find_torch_tensor(pickle, pairs[i + 1]);
    if (!tensor || key.kind != PickleKind::text) {
      others.insert(others.end(), {pairs[i], pairs[i + 1]});
      continue;
    }
    if (!names.insert(key.text).second) {
      return fail(Error::kCheckpoint, "%s: tensor '%s' appears twice", file.name.c_str(),
                  printable(key.text).c_str());
    }
    LSRT_ASSIGN(SourceTensor placed, place_torch_tensor(file, pickle, storages, key.text, *tensor));
    contents->tensors.push_back(std::move(placed));
  }
  pickle.values[state_dict].items = std::move(others);
  LSRT_ASSIGN(contents->metadata, pickle_to_json(file, pickle, pickle.root));
  return {};
}

}  // namespace lsrt
