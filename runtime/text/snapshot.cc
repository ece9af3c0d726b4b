#include "runtime/text/snapshot.h"

#include <cstring>

#include "base/digest.h"

namespace lsrt {
namespace {

constexpr char kMagic[8] = {'L', 'S', 'R', 'T', 'S', 'T', 'A', 'T'};
constexpr size_t kFormatEnd = offsetof(SnapshotHeader, format) + sizeof(uint32_t);

uint64_t digest_of(const uint8_t* data, size_t size) {
  Digest digest;
  digest.update(data, size);
  return digest.value();
}

}  // namespace

size_t sampler_bytes(const SamplerState& sampler) {
  return sizeof sampler.random + sizeof sampler.last + sizeof(uint32_t) +
         sampler.recent.size() * sizeof(int32_t);
}

size_t snapshot_overhead(const SamplerState* sampler) {
  return sizeof(SnapshotHeader) + (sampler ? sampler_bytes(*sampler) : 0) + sizeof(uint64_t);
}

void seal_snapshot(SnapshotHeader header, const SamplerState* sampler, uint8_t* out) {
  std::memcpy(header.magic, kMagic, sizeof kMagic);
  header.format = kSnapshotFormat;
  header.sampler_bytes = sampler ? static_cast<uint32_t>(sampler_bytes(*sampler)) : 0;
  std::memcpy(out, &header, sizeof header);
  uint8_t* next = out + sizeof header + header.state_bytes;
  auto put = [&](const void* data, size_t size) {
    if (size) std::memcpy(next, data, size);
    next += size;
  };
  if (sampler) {
    const auto count = static_cast<uint32_t>(sampler->recent.size());
    put(sampler->random, sizeof sampler->random);
    put(&sampler->last, sizeof sampler->last);
    put(&count, sizeof count);
    put(sampler->recent.data(), count * sizeof(int32_t));
  }
  const uint64_t digest = digest_of(out, static_cast<size_t>(next - out));
  put(&digest, sizeof digest);
}

Status open_snapshot(const uint8_t* data, size_t size, const std::string& name, SnapshotHeader* header) {
  if (size < kFormatEnd || std::memcmp(data, kMagic, sizeof kMagic) != 0) {
    return fail(Error::kModel, "%s: is not a saved state", name.c_str());
  }
  std::memcpy(&header->format, data + offsetof(SnapshotHeader, format), sizeof header->format);
  if (header->format != kSnapshotFormat) {
    return fail(Error::kVersion, "%s: is a saved state of format %u, this version reads format %u%s",
                name.c_str(), header->format, kSnapshotFormat,
                header->format < kSnapshotFormat ? "; feed the text again" : "; update lsrt");
  }
  uint64_t digest = 0;
  bool whole = size >= sizeof *header + sizeof digest;
  if (whole) {
    const size_t body = size - sizeof *header - sizeof digest;
    std::memcpy(header, data, sizeof *header);
    std::memcpy(&digest, data + size - sizeof digest, sizeof digest);
    whole = header->sampler_bytes <= body && header->state_bytes == body - header->sampler_bytes &&
            digest == digest_of(data, size - sizeof digest);
  }
  return whole ? Status() : fail(Error::kModel, "%s: the saved state is damaged or incomplete", name.c_str());
}

bool read_sampler(const uint8_t* data, size_t size, SamplerState* sampler) {
  uint32_t count = 0;
  constexpr size_t kFixed = sizeof sampler->random + sizeof sampler->last + sizeof count;
  if (size < kFixed) return false;
  std::memcpy(sampler->random, data, sizeof sampler->random);
  std::memcpy(&sampler->last, data + sizeof sampler->random, sizeof sampler->last);
  std::memcpy(&count, data + kFixed - sizeof count, sizeof count);
  if (count > kMaxRepeatWindow || size != kFixed + count * sizeof(int32_t)) return false;
  sampler->recent.resize(count);
  if (count) std::memcpy(sampler->recent.data(), data + kFixed, count * sizeof(int32_t));
  return true;
}

}  // namespace lsrt
