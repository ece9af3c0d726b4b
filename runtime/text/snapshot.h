// Saved streams: the bytes of lsrt_session_save() and lsrt_session_save_buffer(), the same in files and in
// memory.
//
// Format 2, little-endian, no gaps:
//
//    0  char[8]   "LSRTSTAT"
//    8  uint32    format, 2
//   12  uint32    bytes of the sampler's part, 0: none
//   16  uint64    Model::fingerprint() of the model
//   24  uint64    block, tokens
//   32  uint64    memory, tokens
//   40  uint64    position, tokens fed so far, at most 2^48
//   48  uint64    bytes of the layers' part
//   56            the layers' part: layer after layer: of causal long-short attention as in
//                 runtime/device/causal_exchange.h, of selective state spaces the state as it is
//                 the sampler's part: uint64[4] random state, not all 0; int32 last token, -1: none; uint32
//                 count, at most 65536; int32[count] recent tokens, oldest first
//   end - 8       uint64 Digest (base/digest.h) of all bytes before
//
// The same stream has the same bytes whatever max_batch, threads, instruction set or backend computed it
// (int8 models; in float models as far as those compute the same numbers). The size follows from the
// position: it grows until window and memory are full and never exceeds CausalMemory::exchange_bytes +
// snapshot_overhead().
//
// What loading promises: bytes are refused whole, before anything of session and sampler has changed, unless
// they are of this format, undamaged (any changed word; otherwise with a chance of 1 in 2^64 to miss it),
// saved by a session of the same model (Model::fingerprint()), block and memory, and hold values that a
// session can have. Somebody who makes up a state and its digest can make the stream say anything, but
// neither read nor write elsewhere.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>

#include "runtime/text/sampler.h"

namespace lsrt {

inline constexpr uint32_t kSnapshotFormat = 2;

struct SnapshotHeader {
  char magic[8];
  uint32_t format;
  uint32_t sampler_bytes;
  uint64_t model;
  uint64_t block, memory, position;
  uint64_t state_bytes;
};
static_assert(sizeof(SnapshotHeader) == 56, "no padding: the header is written as it is");

// Bytes of a sampler's part.
size_t sampler_bytes(const SamplerState& sampler);

// Bytes beside the layers' part; sampler may be null.
size_t snapshot_overhead(const SamplerState* sampler);

// Writes header, sampler's part and digest around the layers' part, which is at out + sizeof(SnapshotHeader)
// already.
void seal_snapshot(SnapshotHeader header, const SamplerState* sampler, uint8_t* out);

// Checks size, format and digest; header->state_bytes and sampler_bytes are then the parts that follow each
// other. name stands before messages. Errors: kModel, kVersion.
Status open_snapshot(const uint8_t* data, size_t size, const std::string& name, SnapshotHeader* header);

// The sampler's part, `size` bytes; false: it is none.
bool read_sampler(const uint8_t* data, size_t size, SamplerState* sampler);

}  // namespace lsrt
