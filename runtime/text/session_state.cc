// Saving and loading of sessions. The bytes are described in runtime/text/snapshot.h.
#include <unistd.h>

#include <cerrno>
#include <cinttypes>
#include <cstring>

#include "base/atomic_file.h"
#include "base/mapped_file.h"
#include "runtime/text/sampler.h"
#include "runtime/text/session.h"
#include "runtime/text/snapshot.h"

namespace lsrt {
namespace {

constexpr uint64_t kMaxPosition = uint64_t{1} << 48;  // far below where sums of positions would overflow

// At most `most` bytes of a file. Read, not mapped: a file that is shortened meanwhile must not end the
// process.
Result<std::vector<uint8_t>> read_file(const std::string& path, size_t most) {
  LSRT_ASSIGN(const OpenFile file, OpenFile::open(path));
  std::vector<uint8_t> bytes(std::min(file.size(), most));
  size_t done = 0;
  while (done < bytes.size()) {
    const ssize_t n = ::read(file.descriptor(), bytes.data() + done, bytes.size() - done);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return fail(Error::kFile, "%s: cannot read: %s", path.c_str(), std::strerror(errno));
    if (n == 0) break;
    done += static_cast<size_t>(n);
  }
  bytes.resize(done);
  return bytes;
}

const SamplerState* state_of(const Sampler* sampler) { return sampler ? &sampler->state() : nullptr; }

}  // namespace

size_t Session::snapshot_bytes(const Sampler* sampler) const {
  return network_->exchange_bytes(position_) + snapshot_overhead(state_of(sampler));
}

Status Session::save(const Sampler* sampler, uint8_t* out) {
  SnapshotHeader header = {};
  header.model = network_->model().fingerprint();
  header.block = block(), header.memory = memory(), header.position = position_;
  header.state_bytes = network_->exchange_bytes(position_);
  LSRT_TRY(network_->export_state(position_, out + sizeof header));
  seal_snapshot(header, state_of(sampler), out);
  return {};
}

Status Session::load(const uint8_t* data, size_t size, const std::string& name, Sampler* sampler) {
  SnapshotHeader header = {};
  LSRT_TRY(open_snapshot(data, size, name, &header));
  if (header.model != network_->model().fingerprint()) {
    return fail(Error::kModel, "%s: is the state of another model", name.c_str());
  }
  if (header.block != block() || header.memory != memory()) {
    return fail(Error::kModel,
                "%s: was saved with block %" PRIu64 " and memory %" PRIu64 ", this session has %zu and %zu",
                name.c_str(), header.block, header.memory, block(), memory());
  }
  const uint8_t* layers = data + sizeof header;
  if (header.position > kMaxPosition || header.state_bytes != network_->exchange_bytes(header.position) ||
      !network_->is_state(header.position, layers)) {
    return fail(Error::kModel, "%s: holds values that no stream can have", name.c_str());
  }
  SamplerState state;
  if (sampler) {
    if (header.sampler_bytes == 0)
      return fail(Error::kModel, "%s: was saved without a sampler", name.c_str());
    if (!read_sampler(layers + header.state_bytes, header.sampler_bytes, &state)) {
      return fail(Error::kModel, "%s: the sampler's part is damaged", name.c_str());
    }
    const Status status = sampler->check(state);
    if (!status.ok()) return fail(Error::kModel, "%s: %s", name.c_str(), status.message().c_str());
  }
  LSRT_TRY(network_->import_state(header.position, layers));
  position_ = header.position;
  return sampler ? sampler->restore(state) : Status();
}

Status Session::save_file(const std::string& path, const Sampler* sampler) {
  std::vector<uint8_t> bytes(snapshot_bytes(sampler));
  LSRT_TRY(save(sampler, bytes.data()));
  LSRT_ASSIGN(AtomicFile file, AtomicFile::open(path));
  LSRT_TRY(file.write(bytes.data(), bytes.size()));
  return file.commit();
}

Status Session::load_file(const std::string& path, Sampler* sampler) {
  SamplerState largest;
  largest.recent.resize(kMaxRepeatWindow);
  // One byte more than any state of this session has, so that a larger file is seen to be none.
  const size_t most = memory_use().exchange_bytes + snapshot_overhead(&largest) + 1;
  LSRT_ASSIGN(const std::vector<uint8_t> bytes, read_file(path, most));
  return load(bytes.data(), bytes.size(), path, sampler);
}

}  // namespace lsrt
