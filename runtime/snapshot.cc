// State files, little-endian:
//
//   Header, then the state (state_bytes), then, where the file has a sampler, its record: random uint64[4],
//   last int32, count uint32, recent int32[count]; then the digest of all that comes before, uint64.
//
// Everything is checked before anything of the session is changed. The state itself holds no positions or
// counts, so that no content of a file can make the session read or write elsewhere.
#include <algorithm>
#include <cinttypes>
#include <cstring>

#include "runtime/atomic_file.h"
#include "runtime/mapped_file.h"
#include "runtime/sampler.h"
#include "runtime/session.h"

namespace lsrt {
namespace {

constexpr char kMagic[8] = {'L', 'S', 'R', 'T', 'S', 'T', 'A', 'T'};
constexpr uint32_t kSnapshotVersion = 1;
constexpr uint64_t kMaxPosition = uint64_t{1} << 48;  // far below where sums of positions would overflow

struct Header {
  char magic[8];
  uint32_t version;
  uint32_t has_sampler;  // 0 or 1
  uint64_t model;        // fingerprint
  uint64_t block, memory, max_rows, position;
  uint64_t state_bytes;
};
static_assert(sizeof(Header) == 64, "no padding: the header is written as it is");

// Detects damage, not malice. Each step is a bijection of the sum, so any change of a single word is found.
class Digest {
 public:
  void update(const void* data, size_t size) {
    const auto* bytes = static_cast<const uint8_t*>(data);
    for (; size >= 8; bytes += 8, size -= 8) add(word(bytes, 8));
    if (size) add(word(bytes, size));
  }
  void update(std::string_view text) {
    add(text.size());
    update(text.data(), text.size());
  }
  uint64_t value() const { return sum_ ^ (sum_ >> 32); }

 private:
  static uint64_t word(const uint8_t* bytes, size_t n) {
    uint64_t w = 0;
    std::memcpy(&w, bytes, n);
    return w;
  }
  void add(uint64_t w) {
    sum_ = (sum_ ^ w) * 0x9E3779B97F4A7C15;
    sum_ = (sum_ << 29) | (sum_ >> 35);
  }
  uint64_t sum_ = 0x4C53525453544154;
};

// Which model: origin, names and shapes of all tensors, and of the contents what is small: scales, the
// golden, and the first bytes of every tensor.
uint64_t fingerprint(const Model& model) {
  Digest digest;
  digest.update(model.family);
  digest.update(model.provenance.source_sha256);
  const uint64_t bytes = model.file_bytes();
  digest.update(&bytes, sizeof bytes);
  auto add = [&](const TensorView& t, size_t most) {
    digest.update(t.name);
    digest.update(&t.type, sizeof t.type);
    digest.update(t.shape, t.rank * sizeof t.shape[0]);
    const size_t element = t.type == DataType::kFloat32 || t.type == DataType::kInt32 ? 4 : 1;
    digest.update(t.data, std::min(most, t.elements() * element));
    const size_t rows = t.rank ? t.shape[t.rank == 3 ? 1 : 0] : 0;
    if (t.scales) digest.update(t.scales, rows * sizeof(float));
  };
  for (const TensorView& tensor : model.tensors()) add(tensor, 64);
  for (const TensorView& tensor : model.golden.outputs) add(tensor, SIZE_MAX);
  return digest.value();
}

std::string encode(const SamplerState& sampler) {
  std::string out;
  auto put = [&](const void* data, size_t size) { out.append(static_cast<const char*>(data), size); };
  const auto count = static_cast<uint32_t>(sampler.recent.size());
  put(sampler.random, sizeof sampler.random);
  put(&sampler.last, sizeof sampler.last);
  put(&count, sizeof count);
  put(sampler.recent.data(), count * sizeof(int32_t));
  return out;
}

bool decode(std::string_view in, size_t vocabulary, SamplerState* sampler) {
  uint32_t count = 0;
  constexpr size_t kFixed = sizeof sampler->random + sizeof sampler->last + sizeof count;
  if (in.size() < kFixed) return false;
  std::memcpy(sampler->random, in.data(), sizeof sampler->random);
  std::memcpy(&sampler->last, in.data() + sizeof sampler->random, sizeof sampler->last);
  std::memcpy(&count, in.data() + kFixed - sizeof count, sizeof count);
  if (count > kMaxRepeatWindow || in.size() != kFixed + count * sizeof(int32_t)) return false;
  sampler->recent.resize(count);
  std::memcpy(sampler->recent.data(), in.data() + kFixed, count * sizeof(int32_t));
  auto known = [&](int32_t id) { return id >= 0 && static_cast<size_t>(id) < vocabulary; };
  const bool random =
      std::any_of(std::begin(sampler->random), std::end(sampler->random), [](uint64_t w) { return w; });
  return random && (sampler->last == -1 || known(sampler->last)) &&
         std::all_of(sampler->recent.begin(), sampler->recent.end(), known);
}

}  // namespace

Status Session::save(const std::string& path, const SamplerState* sampler) {
  Header header = {};
  std::memcpy(header.magic, kMagic, sizeof kMagic);
  header.version = kSnapshotVersion;
  header.has_sampler = sampler != nullptr;
  header.model = fingerprint(*model_);
  header.block = block(), header.memory = memory(), header.max_rows = network_->shape().max_rows;
  header.position = position_;
  header.state_bytes = memory_use().state_bytes;

  std::vector<uint8_t> state(header.state_bytes);
  LSRT_TRY(network_->save(state.data()));
  const std::string record = sampler ? encode(*sampler) : std::string();
  Digest digest;
  digest.update(&header, sizeof header);
  digest.update(state.data(), state.size());
  digest.update(record.data(), record.size());
  const uint64_t sum = digest.value();

  LSRT_ASSIGN(AtomicFile file, AtomicFile::open(path));
  LSRT_TRY(file.write(&header, sizeof header));
  LSRT_TRY(file.write(state.data(), state.size()));
  LSRT_TRY(file.write(record.data(), record.size()));
  LSRT_TRY(file.write(&sum, sizeof sum));
  return file.commit();
}

Status Session::load(const std::string& path, SamplerState* sampler) {
  LSRT_ASSIGN(MappedFile file, MappedFile::open(path));
  const char* name = path.c_str();
  Header header;
  uint64_t stored = 0;
  if (file.size() < sizeof header + sizeof stored || std::memcmp(file.data(), kMagic, sizeof kMagic) != 0) {
    return fail(Error::kModel, "%s: not a state file", name);
  }
  std::memcpy(&header, file.data(), sizeof header);
  if (header.version != kSnapshotVersion) {
    return fail(Error::kVersion, "%s: state format %u, this version reads %u", name, header.version,
                kSnapshotVersion);
  }
  const size_t body = file.size() - sizeof header - sizeof stored;
  std::memcpy(&stored, file.data() + file.size() - sizeof stored, sizeof stored);
  Digest digest;
  digest.update(&header, sizeof header);
  const uint8_t* state = file.data() + sizeof header;
  const size_t state_bytes = std::min<uint64_t>(header.state_bytes, body);
  digest.update(state, state_bytes);
  digest.update(state + state_bytes, body - state_bytes);
  if (digest.value() != stored || header.state_bytes > body || header.has_sampler > 1 ||
      (!header.has_sampler && header.state_bytes != body) || header.position > kMaxPosition) {
    return fail(Error::kModel, "%s: the state file is damaged or incomplete", name);
  }
  if (header.model != fingerprint(*model_))
    return fail(Error::kModel, "%s: the state of another model", name);
  if (header.block != block() || header.memory != memory()) {
    return fail(Error::kModel,
                "%s: saved with block %" PRIu64 " and memory %" PRIu64 ", this session has %zu and %zu", name,
                header.block, header.memory, block(), memory());
  }
  if (header.max_rows != network_->shape().max_rows || header.state_bytes != memory_use().state_bytes) {
    return fail(Error::kModel, "%s: saved with batches of %" PRIu64 " tokens, this session has %zu", name,
                header.max_rows, network_->shape().max_rows);
  }
  if (sampler) {
    if (!header.has_sampler) return fail(Error::kModel, "%s: saved without a sampler", name);
    const std::string_view record(reinterpret_cast<const char*>(state + state_bytes), body - state_bytes);
    if (!decode(record, vocabulary(), sampler))
      return fail(Error::kModel, "%s: the sampler's part is damaged", name);
  }
  LSRT_TRY(network_->load(state));
  position_ = header.position;
  return Status();
}

}  // namespace lsrt
