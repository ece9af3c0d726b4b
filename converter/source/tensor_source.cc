#include "converter/source/tensor_source.h"

#include <algorithm>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <utility>

#include "base/text.h"
#include "converter/source/folder.h"
#include "converter/source/safetensors.h"
#include "converter/source/torch_file.h"

namespace lsrt {
namespace {

struct TypeInfo {
  const char* name;
  uint64_t size;
};

TypeInfo type_info(SourceType type) {
  switch (type) {
    case SourceType::f32:
      return {"f32", 4};
    case SourceType::f16:
      return {"f16", 2};
    case SourceType::bf16:
      return {"bf16", 2};
    case SourceType::f64:
      return {"f64", 8};
    case SourceType::i64:
      return {"i64", 8};
    case SourceType::i32:
      return {"i32", 4};
    case SourceType::i16:
      return {"i16", 2};
    case SourceType::i8:
      return {"i8", 1};
    case SourceType::u8:
      return {"u8", 1};
    case SourceType::bool_:
      break;
  }
  return {"bool", 1};
}

float float_from_bits(uint32_t bits) {
  float value;
  std::memcpy(&value, &bits, sizeof value);
  return value;
}

float float_from_half(uint16_t half) {
  const uint32_t sign = static_cast<uint32_t>(half & 0x8000) << 16;
  const uint32_t exponent = half >> 10 & 31;
  const uint32_t fraction = half & 1023;
  if (exponent == 31) return float_from_bits(sign | 0x7F800000 | fraction << 13);
  if (exponent == 0) {  // zero and subnormals: fraction x 2^-24
    const float magnitude = static_cast<float>(fraction) * 0x1p-24f;
    return sign != 0 ? -magnitude : magnitude;
  }
  return float_from_bits(sign | (exponent + 112) << 23 | fraction << 13);
}

// Copies the elements in row-major order. The last dimension is the inner loop, the others count like an
// odometer. Unsigned: the stride of a dimension of length 1 is never used, so it may be anything, and
// stepping by it wraps.
template <typename Stored, typename Out, typename Convert>
void gather(const uint8_t* base, const SourceTensor& tensor, std::vector<Out>* out, Convert convert) {
  const size_t rank = tensor.shape.size();
  const uint64_t row = rank == 0 ? 1 : static_cast<uint64_t>(tensor.shape[rank - 1]);
  const uint64_t step = rank == 0 ? 0 : static_cast<uint64_t>(tensor.strides[rank - 1]);
  std::vector<int64_t> index(rank, 0);
  uint64_t start = 0;  // element offset of the current row
  for (size_t done = 0; done < out->size(); done += row) {
    for (uint64_t i = 0; i < row; ++i) {
      Stored stored;
      std::memcpy(&stored, base + (start + i * step) * sizeof stored, sizeof stored);
      (*out)[done + i] = convert(stored);
    }
    for (size_t d = rank; d-- > 1;) {
      const uint64_t stride = static_cast<uint64_t>(tensor.strides[d - 1]);
      start += stride;
      if (++index[d - 1] < tensor.shape[d - 1]) break;
      start -= stride * static_cast<uint64_t>(tensor.shape[d - 1]);
      index[d - 1] = 0;
    }
  }
}

template <typename Out>
Status gather_integers(const std::string& path, const uint8_t* base, const SourceTensor& tensor,
                       std::vector<Out>* out) {
  const auto cast = [](auto value) { return static_cast<Out>(value); };
  switch (tensor.type) {
    case SourceType::i64:
      return gather<int64_t>(base, tensor, out, cast), Status();
    case SourceType::i32:
      return gather<int32_t>(base, tensor, out, cast), Status();
    case SourceType::i16:
      return gather<int16_t>(base, tensor, out, cast), Status();
    case SourceType::i8:
      return gather<int8_t>(base, tensor, out, cast), Status();
    case SourceType::u8:
      return gather<uint8_t>(base, tensor, out, cast), Status();
    case SourceType::bool_:
      return gather<uint8_t>(base, tensor, out, [](uint8_t value) { return static_cast<Out>(value != 0); }),
             Status();
    default:
      return fail(Error::kCheckpoint, "%s: tensor '%s' has type %s: expected integers", path.c_str(),
                  printable(tensor.name).c_str(), source_type_name(tensor.type));
  }
}

// What a file that is no checkpoint looks like, to help the user who picked the wrong one.
const char* describe_other_file(std::string_view start) {
  const auto begins = [&](std::string_view prefix) { return start.substr(0, prefix.size()) == prefix; };
  if (start.size() >= 8 && start.substr(4, 4) == "LSRT") return "an .lsrt model, which is converted already";
  if (begins("version https://git-lfs")) return "a Git LFS pointer: fetch the file itself with git lfs pull";
  if (begins("\x1f\x8b")) return "a gzip file: unpack it first";
  if (begins("GGUF")) return "a GGUF model";
  if (begins("\x89HDF")) return "an HDF5 file";
  if (begins("\x93NUMPY")) return "a NumPy array";
  if (start.size() >= 262 && start.substr(257, 5) == "ustar") return "a tar archive: unpack it first";
  if (begins("<")) return "an HTML or XML page: the download went wrong";
  if (begins("{") || begins("[")) return "a JSON text";
  return nullptr;
}

Status unknown_format(const Bytes& file) {
  const std::string_view start = file.text().substr(0, 512);
  std::string found;
  if (const char* description = describe_other_file(start)) {
    found = std::string("this is ") + description;
  } else {
    found = "the first bytes are";
    for (const char c : start.substr(0, 8)) {
      char text[8];
      std::snprintf(text, sizeof text, " %02x", static_cast<uint8_t>(c));
      found += text;
    }
  }
  return fail(Error::kCheckpoint,
              "%s: not a checkpoint: expected a PyTorch file (.pt, .pth, .model) or safetensors; %s",
              file.name.c_str(), found.c_str());
}

Result<SourceContents> read_contents(const Bytes& file) {
  constexpr uint8_t kZip[] = {'P', 'K', 3, 4};
  constexpr uint8_t kPickle = 0x80;  // the PROTO opcode
  if (file.size >= sizeof kZip && std::memcmp(file.data, kZip, sizeof kZip) == 0) return read_torch_zip(file);
  // First: the header length of a safetensors file may begin with any byte.
  if (looks_like_safetensors(file)) return read_safetensors(file);
  if (file.size > 0 && file.data[0] == kPickle) return read_torch_legacy(file);
  return unknown_format(file);
}

// Tensors may share their bytes, as tied layers do, and a stride of 0 repeats them: all together they must
// not make of a small file a model of any size.
Status check_total(const Bytes& file, const std::vector<SourceTensor>& tensors) {
  constexpr uint64_t kMaxElements = 16;  // for each byte of the file
  uint64_t total = 0;
  for (const SourceTensor& tensor : tensors) {
    total += static_cast<uint64_t>(tensor.count());  // each at most the bytes of the file: no overflow
    if (total / kMaxElements > file.size) {
      return fail(Error::kCheckpoint, "%s: the tensors have over %llu elements for each byte of the file",
                  file.name.c_str(), static_cast<unsigned long long>(kMaxElements));
    }
  }
  return {};
}

bool is_folder(const std::string& path) {
  std::error_code ignored;
  return std::filesystem::is_directory(path, ignored);
}

std::string without_slashes(const std::string& path) {
  const size_t last = path.find_last_not_of('/');
  return last == std::string::npos ? path : path.substr(0, last + 1);
}

}  // namespace

const char* source_type_name(SourceType type) { return type_info(type).name; }

uint64_t source_type_size(SourceType type) { return type_info(type).size; }

int64_t SourceTensor::count() const {
  int64_t product = 1;
  for (const int64_t length : shape) product *= length;
  return product;
}

TensorSource::TensorSource(const std::string& path)
    : path_(path), folder_(is_folder(path) ? path + "/" : path.substr(0, path.rfind('/') + 1)) {}

Result<std::unique_ptr<TensorSource>> TensorSource::open(const std::string& given) {
  const std::string path = without_slashes(given);
  std::unique_ptr<TensorSource> source(new TensorSource(path));
  if (!is_folder(path)) {
    LSRT_TRY(source->map(path));
    return source;
  }
  LSRT_ASSIGN(CheckpointFolder folder, read_folder(path));
  for (const std::string& file : folder.files) LSRT_TRY(source->map(file));
  for (const std::string& name : folder.listed) {
    if (source->find(name)) continue;
    return fail(Error::kCheckpoint, "%s: tensor %s is in the index, but in none of its files", path.c_str(),
                printable(name).c_str());
  }
  source->contents_.metadata["config"] = std::move(folder.config);
  return source;
}

Result<std::unique_ptr<TensorSource>> TensorSource::read(const Bytes& bytes) {
  std::unique_ptr<TensorSource> source(new TensorSource(bytes.name));
  LSRT_TRY(source->add(bytes));
  return source;
}

Status TensorSource::map(const std::string& path) {
  LSRT_ASSIGN(MappedFile file, MappedFile::open(path));
  LSRT_TRY(add({path, file.data(), file.size()}));
  mapped_.push_back(std::move(file));
  return {};
}

Status TensorSource::add(const Bytes& file) {
  LSRT_ASSIGN(SourceContents contents, read_contents(file));
  LSRT_TRY(check_total(file, contents.tensors));
  for (SourceTensor& tensor : contents.tensors) {
    tensor.file = files_.size();
    if (!index_.emplace(tensor.name, contents_.tensors.size()).second) {
      return fail(Error::kCheckpoint, "%s: tensor '%s' is in another file, too", file.name.c_str(),
                  printable(tensor.name).c_str());
    }
    contents_.tensors.push_back(std::move(tensor));
  }
  contents_.format = std::move(contents.format);
  contents_.metadata = std::move(contents.metadata);
  files_.push_back(file);
  return {};
}

const SourceTensor* TensorSource::find(std::string_view name) const {
  const auto found = index_.find(name);
  return found == index_.end() ? nullptr : &contents_.tensors[found->second];
}

Result<std::vector<float>> TensorSource::read(const SourceTensor& tensor) const {
  const uint8_t* base = files_[tensor.file].data + tensor.file_offset;
  std::vector<float> out(static_cast<size_t>(tensor.count()));
  switch (tensor.type) {
    case SourceType::f32:
      gather<float>(base, tensor, &out, [](float value) { return value; });
      break;
    case SourceType::f64:
      gather<double>(base, tensor, &out, [](double value) { return static_cast<float>(value); });
      break;
    case SourceType::f16:
      gather<uint16_t>(base, tensor, &out, float_from_half);
      break;
    case SourceType::bf16:
      gather<uint16_t>(base, tensor, &out,
                       [](uint16_t bits) { return float_from_bits(uint32_t{bits} << 16); });
      break;
    default:
      LSRT_TRY(gather_integers(path(), base, tensor, &out));
  }
  forget(tensor);
  return out;
}

void TensorSource::forget(const SourceTensor& tensor) const {
  if (mapped_.empty()) return;
  const Bytes& file = files_[tensor.file];
  const uint64_t size = static_cast<uint64_t>(tensor.count()) * source_type_size(tensor.type);
  forget_mapped(file.data + tensor.file_offset, std::min<uint64_t>(size, file.size - tensor.file_offset));
}

bool TensorSource::same(const SourceTensor& a, const SourceTensor& b) const {
  if (a.type != b.type || a.shape != b.shape || a.strides != b.strides) return false;
  if (a.file == b.file && a.file_offset == b.file_offset) return true;
  int64_t next = 1;  // what is not contiguous is taken for different
  for (size_t i = a.shape.size(); i-- > 0; next *= a.shape[i]) {
    if (a.strides[i] != next) return false;
  }
  const bool are_same = std::memcmp(files_[a.file].data + a.file_offset, files_[b.file].data + b.file_offset,
                                    static_cast<size_t>(a.count()) * source_type_size(a.type)) == 0;
  forget(a), forget(b);
  return are_same;
}

Result<std::vector<int64_t>> TensorSource::read_integers(const SourceTensor& tensor) const {
  std::vector<int64_t> out(static_cast<size_t>(tensor.count()));
  LSRT_TRY(gather_integers(path(), files_[tensor.file].data + tensor.file_offset, tensor, &out));
  return out;
}

Status place_tensor(const Bytes& file, ByteRange storage, int64_t offset, SourceTensor* tensor) {
  const auto error = [&](const char* expected) {
    return fail(Error::kCheckpoint, "%s: tensor '%s': expected %s", file.name.c_str(),
                printable(tensor->name).c_str(), expected);
  };
  if (tensor->strides.size() != tensor->shape.size()) return error("as many strides as dimensions");
  int64_t count = 1;
  int64_t last = offset;  // the furthest element, from the start of the storage
  bool fits = offset >= 0;
  bool is_empty = false;
  for (size_t d = 0; d < tensor->shape.size(); ++d) {
    const int64_t length = tensor->shape[d];
    const int64_t stride = tensor->strides[d];
    if (length < 0 || stride < 0) return error("a shape and strides that are not negative");
    if (length == 0) {
      is_empty = true;
      continue;
    }
    int64_t reach;
    fits = fits && !__builtin_mul_overflow(length - 1, stride, &reach) &&
           !__builtin_add_overflow(last, reach, &last) && !__builtin_mul_overflow(count, length, &count);
  }
  const uint64_t capacity = storage.size / source_type_size(tensor->type);  // elements
  // An empty tensor reads nothing, but its place must still be in the storage or at its end.
  fits =
      fits && (is_empty ? static_cast<uint64_t>(offset) <= capacity : static_cast<uint64_t>(last) < capacity);
  if (!fits) return error("all elements inside their storage");
  if (!is_empty && static_cast<uint64_t>(count) > file.size) {
    return error("no more elements than the file has bytes");
  }
  tensor->file_offset = storage.begin + static_cast<uint64_t>(offset) * source_type_size(tensor->type);
  return {};
}

}  // namespace lsrt
