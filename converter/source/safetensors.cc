#include "converter/source/safetensors.h"

#include <algorithm>
#include <nlohmann/json.hpp>
#include <optional>
#include <utility>

#include "base/atomic_file.h"
#include "base/text.h"
#include "converter/source/json_text.h"

namespace lsrt {
namespace {

using nlohmann::json;

constexpr uint64_t kLengthSize = 8;
constexpr uint64_t kMaxHeader = 100'000'000;
constexpr size_t kMaxRank = 64;

struct TypeRow {
  const char* dtype;
  SourceType type;
};
constexpr TypeRow kTypes[] = {{"F32", SourceType::f32},   {"F16", SourceType::f16},
                              {"BF16", SourceType::bf16}, {"F64", SourceType::f64},
                              {"I64", SourceType::i64},   {"I32", SourceType::i32},
                              {"I16", SourceType::i16},   {"I8", SourceType::i8},
                              {"U8", SourceType::u8},     {"BOOL", SourceType::bool_}};

std::optional<SourceType> find_type(std::string_view dtype) {
  for (const TypeRow& row : kTypes) {
    if (dtype == row.dtype) return row.type;
  }
  return {};
}

uint64_t header_length(const Bytes& file) {
  uint64_t length = 0;
  for (size_t i = kLengthSize; i-- > 0;) length = length << 8 | file.data[i];
  return length;
}

class HeaderReader {
 public:
  explicit HeaderReader(const Bytes& file) : file_(file) {}

  Result<SourceContents> read() {
    LSRT_ASSIGN(const json header, parse());
    SourceContents contents;
    contents.format = "safetensors";
    std::vector<ByteRange> ranges;
    for (const auto& [name, entry] : header.items()) {
      if (name == "__metadata__") {
        LSRT_TRY(check_metadata(entry));
        contents.metadata = entry;
        continue;
      }
      ByteRange range;
      LSRT_ASSIGN(SourceTensor tensor, read_tensor(name, entry, &range));
      contents.tensors.push_back(std::move(tensor));
      ranges.push_back(range);
    }
    LSRT_TRY(check_tiling(std::move(ranges)));
    const auto by_place = [](const SourceTensor& a, const SourceTensor& b) {
      return a.file_offset < b.file_offset;
    };
    std::stable_sort(contents.tensors.begin(), contents.tensors.end(), by_place);
    return contents;
  }

 private:
  Status error(const std::string& problem) const {
    return fail(Error::kCheckpoint, "%s: damaged safetensors header: %s", file_.name.c_str(),
                problem.c_str());
  }

  Status tensor_error(const std::string& name, const char* expected) const {
    return fail(Error::kCheckpoint, "%s: damaged safetensors header: tensor '%s': expected %s",
                file_.name.c_str(), printable(name).c_str(), expected);
  }

  Result<json> parse() {
    const uint64_t length = header_length(file_);
    if (length > kMaxHeader) return error("it is over 100 MB long");
    if (length > file_.size - kLengthSize) {
      return error("it is " + std::to_string(length) + " bytes long: expected at most " +
                   std::to_string(file_.size - kLengthSize) + ", up to the end of the file");
    }
    data_begin_ = kLengthSize + length;
    const char* text = reinterpret_cast<const char*>(file_.data + kLengthSize);
    constexpr JsonLimits kLimits{3, 1u << 20};  // header, tensor, shape
    std::string problem;
    json header = parse_json({text, length}, kLimits, &problem);
    if (!problem.empty()) return error(problem);
    if (!header.is_object()) return error("expected a JSON object");
    return header;
  }

  Status check_metadata(const json& metadata) const {
    bool is_text = metadata.is_object();
    for (const json& value : metadata) is_text = is_text && value.is_string();
    return is_text ? Status() : error("__metadata__: expected an object of strings");
  }

  Result<SourceTensor> read_tensor(const std::string& name, const json& entry, ByteRange* range) const {
    if (!entry.is_object() || entry.size() != 3 || !entry.contains("dtype") || !entry.contains("shape") ||
        !entry.contains("data_offsets") || !entry["dtype"].is_string()) {
      return tensor_error(name, "an object with dtype, shape and data_offsets");
    }
    SourceTensor tensor;
    tensor.name = name;
    const std::string& dtype = entry["dtype"].get_ref<const std::string&>();
    const std::optional<SourceType> type = find_type(dtype);
    if (!type) {
      return fail(Error::kCheckpoint, "%s: tensor '%s' has type %s, which cannot be read", file_.name.c_str(),
                  printable(name).c_str(), printable(dtype).c_str());
    }
    tensor.type = *type;
    LSRT_TRY(read_counts(name, entry["shape"], kMaxRank, &tensor.shape));
    std::vector<int64_t> offsets;
    LSRT_TRY(read_counts(name, entry["data_offsets"], 2, &offsets));
    const uint64_t data_size = file_.size - data_begin_;
    if (offsets.size() != 2 || offsets[0] > offsets[1] || static_cast<uint64_t>(offsets[1]) > data_size) {
      return tensor_error(name, "data_offsets of a range inside the file");
    }
    *range = {static_cast<uint64_t>(offsets[0]), static_cast<uint64_t>(offsets[1] - offsets[0])};

    LSRT_TRY(set_row_major(&tensor));
    LSRT_TRY(place_tensor(file_, {data_begin_ + range->begin, range->size}, 0, &tensor));
    if (static_cast<uint64_t>(tensor.count()) * source_type_size(tensor.type) != range->size) {
      return tensor_error(name, "as many bytes as shape and type need");
    }
    return tensor;
  }

  Status read_counts(const std::string& name, const json& array, size_t limit,
                     std::vector<int64_t>* counts) const {
    if (!array.is_array() || array.size() > limit) return tensor_error(name, "a short array of numbers");
    for (const json& item : array) {
      if (!item.is_number_unsigned() || item.get<uint64_t>() > INT64_MAX) {
        return tensor_error(name, "whole numbers that are not negative");
      }
      counts->push_back(item.get<int64_t>());
    }
    return {};
  }

  Status set_row_major(SourceTensor* tensor) const {
    tensor->strides.resize(tensor->shape.size());
    int64_t stride = 1;
    for (size_t d = tensor->shape.size(); d-- > 0;) {
      tensor->strides[d] = stride;
      const int64_t length = std::max<int64_t>(tensor->shape[d], 1);
      if (__builtin_mul_overflow(stride, length, &stride))
        return tensor_error(tensor->name, "a smaller shape");
    }
    return {};
  }

  // No hole and no overlap: each byte of the data belongs to one tensor.
  Status check_tiling(std::vector<ByteRange> ranges) const {
    std::sort(ranges.begin(), ranges.end(), [](const ByteRange& a, const ByteRange& b) {
      return std::make_pair(a.begin, a.size) < std::make_pair(b.begin, b.size);
    });
    ranges.push_back({file_.size - data_begin_, 0});  // the end of the data
    uint64_t end = 0;
    for (const ByteRange& range : ranges) {
      if (range.begin != end) {
        return error("the tensors leave a hole or overlap at byte " + std::to_string(data_begin_ + end));
      }
      end += range.size;
    }
    return {};
  }

  const Bytes& file_;
  uint64_t data_begin_ = 0;
};

Result<uint64_t> byte_size(const std::string& path, const NamedTensor& tensor) {
  const std::optional<SourceType> type = find_type(tensor.dtype);
  bool fits = type.has_value();
  uint64_t size = fits ? source_type_size(*type) : 0;
  for (const int64_t length : tensor.shape) {
    fits = fits && length >= 0 && !__builtin_mul_overflow(size, static_cast<uint64_t>(length), &size);
  }
  if (fits && is_utf8(tensor.name)) return size;
  return fail(Error::kArgument, "%s: tensor '%s' of type %s: bad name, type or shape", path.c_str(),
              printable(tensor.name).c_str(), printable(tensor.dtype).c_str());
}

}  // namespace

bool looks_like_safetensors(const Bytes& file) {
  // Files far longer than 4 GiB of header are something else; a damaged length still gets a message of its
  // own.
  return file.size > kLengthSize && header_length(file) <= UINT32_MAX && file.data[kLengthSize] == '{';
}

Result<SourceContents> read_safetensors(const Bytes& file) { return HeaderReader(file).read(); }

Status write_safetensors(const std::string& path, const std::vector<NamedTensor>& tensors,
                         const std::map<std::string, std::string>& metadata) {
  json header = json::object();
  if (!metadata.empty()) header["__metadata__"] = metadata;
  std::vector<uint64_t> sizes;
  uint64_t offset = 0;
  for (const NamedTensor& tensor : tensors) {
    LSRT_ASSIGN(const uint64_t size, byte_size(path, tensor));
    if (header.contains(tensor.name)) {
      return fail(Error::kArgument, "%s: tensor '%s' is given twice", path.c_str(),
                  printable(tensor.name).c_str());
    }
    header[tensor.name] = {
        {"dtype", tensor.dtype}, {"shape", tensor.shape}, {"data_offsets", {offset, offset + size}}};
    sizes.push_back(size);
    offset += size;
  }
  std::string text = header.dump(-1, ' ', false, json::error_handler_t::replace);
  text.append((8 - text.size() % 8) % 8, ' ');  // so that the data is aligned

  LSRT_ASSIGN(AtomicFile file, AtomicFile::open(path));
  uint8_t length[kLengthSize];
  for (size_t i = 0; i < kLengthSize; ++i) length[i] = static_cast<uint8_t>(uint64_t{text.size()} >> (8 * i));
  LSRT_TRY(file.write(length, sizeof length));
  LSRT_TRY(file.write(text.data(), text.size()));
  for (size_t i = 0; i < tensors.size(); ++i) LSRT_TRY(file.write(tensors[i].data, sizes[i]));
  return file.commit();
}

}  // namespace lsrt
