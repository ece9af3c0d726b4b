// Model::fingerprint(). The header is walked by the tables of types that flatc generates, so that a field
// that the schema gains is part of the fingerprint without a line here.
#include <algorithm>

#include "base/digest.h"
#include "runtime/model/model.h"
#include "schema/lsrt_generated.h"

namespace lsrt {
namespace {

using flatbuffers::ElementaryType;
using flatbuffers::TypeTable;

template <typename T>
T read(const uint8_t* at) {
  return flatbuffers::ReadScalar<T>(at);
}

// Where the offset at `at` points.
const uint8_t* follow(const uint8_t* at) { return at + read<flatbuffers::uoffset_t>(at); }

// Index of a field in its table, from its place in the vtable.
constexpr size_t field_index(size_t vtable_offset) {
  return vtable_offset / sizeof(flatbuffers::voffset_t) - 2;
}

bool is_left_out(const TypeTable* table, size_t field) {
  if (table == fb::ModelTypeTable()) {
    return field == field_index(fb::Model::VT_GOLDEN) || field == field_index(fb::Model::VT_PROVENANCE);
  }
  return table == fb::TensorTypeTable() && field == field_index(fb::Tensor::VT_NAME);
}

// Adds tables of a verified FlatBuffer to a digest; its depth and number of tables were bounded when it was
// verified.
class Walk {
 public:
  explicit Walk(Digest* digest) : digest_(*digest) {}

  void table(const uint8_t* object, const TypeTable* type) {
    const uint8_t* previous = nullptr;  // a union's kind stands before it
    for (size_t i = 0; i < type->num_elems; ++i) {
      const auto offset = flatbuffers::FieldIndexToOffset(static_cast<flatbuffers::voffset_t>(i));
      const uint8_t* value = reinterpret_cast<const flatbuffers::Table*>(object)->GetAddressOf(offset);
      if (value && !is_left_out(type, i)) {
        number(i + 1);
        const flatbuffers::TypeCode code = type->type_codes[i];
        const TypeTable* of = code.sequence_ref >= 0 ? type->type_refs[code.sequence_ref]() : nullptr;
        if (code.is_repeating) {
          vector(follow(value), static_cast<ElementaryType>(code.base_type), of);
        } else {
          field(value, static_cast<ElementaryType>(code.base_type), of, previous);
        }
      }
      previous = value;
    }
    number(0);
  }

 private:
  void number(uint64_t value) { digest_.update(&value, sizeof value); }

  void vector(const uint8_t* vector, ElementaryType type, const TypeTable* of) {
    const auto count = read<flatbuffers::uoffset_t>(vector);
    const uint8_t* elements = vector + sizeof count;
    number(count);
    const bool is_offset = type == flatbuffers::ET_STRING || type == flatbuffers::ET_SEQUENCE;
    if (!is_offset) return digest_.update(elements, count * scalar_bytes(type));
    if (of && of->st == flatbuffers::ST_STRUCT) return;
    for (size_t i = 0; i < count; ++i)
      field(elements + i * sizeof(flatbuffers::uoffset_t), type, of, nullptr);
  }

  void field(const uint8_t* value, ElementaryType type, const TypeTable* of, const uint8_t* kind) {
    if (type == flatbuffers::ET_STRING) {
      const uint8_t* text = follow(value);
      digest_.update(text + sizeof(flatbuffers::uoffset_t), read<flatbuffers::uoffset_t>(text));
    } else if (type != flatbuffers::ET_SEQUENCE) {
      digest_.update(value, scalar_bytes(type));
    } else if (of->st == flatbuffers::ST_TABLE) {
      table(follow(value), of);
    } else if (of->st == flatbuffers::ST_UNION && kind && *kind > 0 && *kind < of->num_elems) {
      table(follow(value), of->type_refs[of->type_codes[*kind].sequence_ref]());
    }
    // Structs are places in the file (Span).
  }

  static size_t scalar_bytes(ElementaryType type) {
    switch (type) {
      case flatbuffers::ET_UTYPE:
      case flatbuffers::ET_BOOL:
      case flatbuffers::ET_CHAR:
      case flatbuffers::ET_UCHAR:
        return 1;
      case flatbuffers::ET_SHORT:
      case flatbuffers::ET_USHORT:
        return 2;
      case flatbuffers::ET_LONG:
      case flatbuffers::ET_ULONG:
      case flatbuffers::ET_DOUBLE:
        return 8;
      default:
        return 4;
    }
  }

  Digest& digest_;
};

}  // namespace

uint64_t Model::fingerprint() const {
  std::call_once(fingerprint_once_, [this] {
    Digest digest;
    Walk(&digest).table(flatbuffers::GetRoot<uint8_t>(data_), fb::ModelTypeTable());
    auto is_golden = [&](const TensorView& tensor) {
      const auto same = [&](const TensorView& other) { return other.data == tensor.data; };
      return std::any_of(golden.inputs.begin(), golden.inputs.end(), same) ||
             std::any_of(golden.outputs.begin(), golden.outputs.end(), same);
    };
    for (const TensorView& tensor : tensors_) {
      if (is_golden(tensor)) continue;
      const size_t groups = tensor.rank == 3 ? tensor.shape[0] : 1;
      const size_t rows =
          tensor.scales ? groups * panel_count(tensor.shape[tensor.rank - 2]) * kPanelOutputs : 0;
      digest.update(tensor.data, tensor.bytes() - rows * (sizeof(float) + sizeof(int32_t)));
      digest.update(tensor.scales, rows * sizeof(float));
      digest.update(tensor.sums, rows * sizeof(int32_t));
    }
    fingerprint_ = digest.value();
  });
  return fingerprint_;
}

}  // namespace lsrt
