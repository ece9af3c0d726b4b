#include "converter/source/torch_tensor.h"

#include "base/text.h"

namespace lsrt {
namespace {

constexpr size_t kMaxRank = 64;  // as in PyTorch

// clang-format off
struct TypeRow {
  const char* storage;  // class of the storage, without module
  const char* dtype;    // name in module torch
  uint64_t size;
  int source;           // SourceType, -1: cannot be read
};
constexpr TypeRow kTypes[] = {
    {"FloatStorage",         "float32",       4, static_cast<int>(SourceType::f32)},
    {"HalfStorage",          "float16",       2, static_cast<int>(SourceType::f16)},
    {"BFloat16Storage",      "bfloat16",      2, static_cast<int>(SourceType::bf16)},
    {"DoubleStorage",        "float64",       8, static_cast<int>(SourceType::f64)},
    {"LongStorage",          "int64",         8, static_cast<int>(SourceType::i64)},
    {"IntStorage",           "int32",         4, static_cast<int>(SourceType::i32)},
    {"ShortStorage",         "int16",         2, static_cast<int>(SourceType::i16)},
    {"CharStorage",          "int8",          1, static_cast<int>(SourceType::i8)},
    {"ByteStorage",          "uint8",         1, static_cast<int>(SourceType::u8)},
    {"BoolStorage",          "bool",          1, static_cast<int>(SourceType::bool_)},
    {"UntypedStorage",       "",              1, -1},
    {"ComplexFloatStorage",  "complex64",     8, -1},
    {"ComplexDoubleStorage", "complex128",   16, -1},
    {"QInt8Storage",         "qint8",         1, -1},
    {"QUInt8Storage",        "quint8",        1, -1},
    {"QInt32Storage",        "qint32",        4, -1},
};
// clang-format on

// Accepts "torch.FloatStorage", "torch.cuda.FloatStorage", "torch.storage.UntypedStorage" and
// "torch.float32".
TorchType torch_type(const PickleName& global) {
  TorchType type;
  type.global = global;
  if (!global.in_package("torch")) return type;
  const std::string_view name = global.name.substr(global.name.rfind('.') + 1);
  for (const TypeRow& row : kTypes) {
    if (name != row.storage && name != row.dtype) continue;
    type.size = row.size;
    if (row.source >= 0) type.source = static_cast<SourceType>(row.source);
  }
  return type;
}

bool get_count(const Pickle& pickle, PickleId id, uint64_t* count) {
  const PickleValue& value = pickle[id];
  if (value.kind != PickleKind::integer || value.integer < 0) return false;
  *count = static_cast<uint64_t>(value.integer);
  return true;
}

bool get_text(const Pickle& pickle, PickleId id, std::string_view* text) {
  const PickleValue& value = pickle[id];
  if (value.kind != PickleKind::text) return false;
  *text = value.text;
  return true;
}

// Negative numbers and everything that is not an integer: false.
bool get_counts(const Pickle& pickle, PickleId id, std::vector<int64_t>* counts) {
  const std::vector<PickleId>* items = find_sequence(pickle, id);
  if (items == nullptr || items->size() > kMaxRank) return false;
  for (const PickleId item : *items) {
    uint64_t count;
    if (!get_count(pickle, item, &count)) return false;
    counts->push_back(static_cast<int64_t>(count));
  }
  return true;
}

}  // namespace

std::optional<TorchTensor> find_torch_tensor(const Pickle& pickle, PickleId id) {
  PickleName function;
  const std::vector<PickleId>* args = nullptr;
  const auto enter_object = [&](PickleId object) {
    function = pickle.class_name(object);
    if (function) args = &pickle[pickle[object].args].items;
  };
  enter_object(id);
  // A Parameter that holds a subclass of Tensor has two wrappers. Many more are made to waste time.
  constexpr int kMaxWrappers = 4;
  for (int i = 0; i < kMaxWrappers && args != nullptr; ++i) {
    if ((function == "torch._utils._rebuild_parameter" ||
         function == "torch._utils._rebuild_parameter_with_state") &&
        !args->empty()) {
      enter_object((*args)[0]);
    } else if (function == "torch._tensor._rebuild_from_type_v2" && args->size() >= 3) {
      function = pickle.global_name((*args)[0]);  // (function, type, arguments, state)
      args = find_sequence(pickle, (*args)[2]);
    }
  }
  if (args == nullptr || args->size() < 4) return {};
  const bool is_v3 = function == "torch._utils._rebuild_tensor_v3";
  if (!is_v3 && function != "torch._utils._rebuild_tensor" && function != "torch._utils._rebuild_tensor_v2")
    return {};
  // (storage, offset, shape, strides, requires_grad, hooks, type in v3 only)
  TorchTensor tensor{(*args)[0], (*args)[1], (*args)[2], (*args)[3], {}};
  if (is_v3) {
    if (args->size() < 7) return {};
    tensor.type = torch_type(pickle.global_name((*args)[6]));
  } else if (const std::optional<TorchStorage> storage = find_torch_storage(pickle, tensor.storage)) {
    tensor.type = storage->type;
  }
  return tensor;
}

std::optional<TorchStorage> find_torch_storage(const Pickle& pickle, PickleId id) {
  const PickleValue& reference = pickle[id];
  if (reference.kind != PickleKind::persistent) return {};
  const PickleValue& tuple = pickle[reference.items[0]];
  if (tuple.kind != PickleKind::tuple || tuple.items.size() < 5) return {};
  std::string_view tag;
  TorchStorage storage;
  if (!get_text(pickle, tuple.items[0], &tag) || tag != "storage") return {};
  if (!get_text(pickle, tuple.items[2], &storage.key)) return {};
  if (!get_count(pickle, tuple.items[4], &storage.count)) return {};
  storage.type = torch_type(pickle.global_name(tuple.items[1]));
  if (tuple.items.size() == 5 || pickle[tuple.items[5]].kind == PickleKind::none) return storage;

  const std::vector<PickleId>* view = find_sequence(pickle, tuple.items[5]);
  if (view == nullptr || view->size() != 3) return {};
  storage.is_view = true;
  if (!get_count(pickle, (*view)[1], &storage.view_offset)) return {};
  if (!get_count(pickle, (*view)[2], &storage.view_count)) return {};
  return storage;
}

const std::vector<PickleId>* find_sequence(const Pickle& pickle, PickleId id) {
  if (pickle.class_name(id) == "torch.Size") {
    const std::vector<PickleId>& args = pickle[pickle[id].args].items;
    if (args.size() != 1) return nullptr;
    id = args[0];
  }
  const PickleKind kind = pickle[id].kind;
  return kind == PickleKind::list || kind == PickleKind::tuple ? &pickle[id].items : nullptr;
}

Result<SourceTensor> place_torch_tensor(const Bytes& file, const Pickle& pickle,
                                        const TorchStorages& storages, std::string_view name,
                                        const TorchTensor& tensor) {
  const std::string shown = printable(name);
  const auto error = [&](const char* expected) {
    return fail(Error::kCheckpoint, "%s: tensor '%s': expected %s", file.name.c_str(), shown.c_str(),
                expected);
  };
  if (!is_utf8(name)) return error("a name in UTF-8");
  if (!tensor.type.source) {
    return fail(Error::kCheckpoint, "%s: tensor '%s' has type %s, which cannot be read", file.name.c_str(),
                shown.c_str(), printable(tensor.type.global.text()).c_str());
  }
  SourceTensor placed;
  placed.name = std::string(name);
  placed.type = *tensor.type.source;
  uint64_t offset;
  if (!get_count(pickle, tensor.offset, &offset)) return error("a storage offset that is not negative");
  if (!get_counts(pickle, tensor.shape, &placed.shape))
    return error("a shape of numbers that are not negative");
  if (!get_counts(pickle, tensor.strides, &placed.strides)) return error("strides that are not negative");

  const std::optional<TorchStorage> storage = find_torch_storage(pickle, tensor.storage);
  if (!storage) return error("a reference to a storage");
  const auto found = storages.find(storage->key);
  if (found == storages.end()) return error("a storage that is in the file");
  ByteRange range = found->second;
  // The file rounds a storage's size up only when it is not a whole number of elements.
  if (storage->type.size == 0 || range.size / storage->type.size != storage->count) {
    return error("a storage of the size that the pickle states");
  }
  if (storage->is_view) {
    const uint64_t count = storage->count;
    if (storage->view_offset > count || storage->view_count > count - storage->view_offset) {
      return error("a view inside its storage");
    }
    range = {range.begin + storage->view_offset * storage->type.size,
             storage->view_count * storage->type.size};
  }
  LSRT_TRY(place_tensor(file, range, static_cast<int64_t>(offset), &placed));
  return placed;
}

}  // namespace lsrt
