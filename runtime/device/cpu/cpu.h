// The CPU backend: own kernels (kernels/) on int8 panels read in place from the model file; float32 matrix
// products as of float_linear.h. Device memory is the host's.
#pragma once

#include <algorithm>
#include <cstdlib>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <tuple>
#include <utility>

#include "base/carver.h"
#include "base/pages.h"
#include "kernels/dispatch.h"
#include "runtime/device/backend.h"
#include "runtime/device/cpu/cpu_ops.h"
#include "runtime/device/cpu/thread_pool.h"

namespace lsrt {

struct FreeMemory {
  void operator()(uint8_t* memory) const { std::free(memory); }
};

class CpuStream : public Stream {
 public:
  CpuStream(LaunchObserver* observer, size_t threads, std::unique_ptr<uint8_t, FreeMemory> workspace)
      : Stream(observer), pool_(threads), workspace_(std::move(workspace)) {}

  size_t threads() const { return pool_.threads(); }
  uint8_t* workspace() const { return workspace_.get(); }
  // What float32 layers need beside the stream's own threads (float_linear.h).
  void* float_threads() const { return float_threads_.get(); }
  void set_float_threads(std::shared_ptr<void> threads) { float_threads_ = std::move(threads); }

  // Keeps the first error for synchronize().
  void fail(Status status) const {
    if (status_.ok()) status_ = std::move(status);
  }
  Status take_status() { return std::exchange(status_, Status()); }

  // f(i, thread) for i < n, thread < threads(); returns when all are done.
  template <typename F>
  void parallel(size_t n, const F& f) const {
    pool_.run(
        n, [](const void* g, size_t i, size_t thread) { (*static_cast<const F*>(g))(i, thread); }, &f);
  }

  // The same for loops whose turns are short, several at a time: f(first, count, thread).
  template <typename F>
  void parallel_blocks(size_t n, const F& f) const {
    constexpr size_t kBlock = 16;
    parallel((n + kBlock - 1) / kBlock, [&](size_t block, size_t thread) {
      const size_t first = block * kBlock;
      f(first, std::min(kBlock, n - first), thread);
    });
  }
  template <typename F>
  void parallel_rows(size_t n, const F& f) const {
    parallel_blocks(n, [&](size_t first, size_t count, size_t thread) {
      for (size_t i = first; i < first + count; ++i) f(i, thread);
    });
  }

 private:
  mutable ThreadPool pool_;
  std::shared_ptr<void> float_threads_;
  std::unique_ptr<uint8_t, FreeMemory> workspace_;
  mutable Status status_;
};

inline const CpuStream& cpu_stream(const Stream& stream) { return static_cast<const CpuStream&>(stream); }

class CpuBackend : public Backend {
 public:
  CpuBackend(const Kernels& kernels, std::shared_ptr<const Model> model, bool keep_weights = true);

  BackendInfo info() const override { return {"cpu", kernels_.isa, 4 * Landmarks::kRowBlock}; }
  const Ops& ops() const override { return table_; }
  Result<const Linear*> prepare(const LinearView& view) override;
  Dev<const void> weights(const void* in_file) const override { return Dev<const void>(in_file); }
  Result<Dev<void>> allocate(size_t bytes) override;
  void release(Dev<void> memory) override;
  Result<std::unique_ptr<Stream>> create_stream(const StreamPlan& plan) override;
  void copy_in(Stream&, Dev<void> to, const void* host, size_t bytes) override;
  void copy_out(Stream&, void* host, Dev<const void> from, size_t bytes) override;
  Status synchronize(Stream& stream) override { return static_cast<CpuStream&>(stream).take_status(); }
  void fence(Dev<void> memory, size_t bytes) const override { close_memory(memory.address(), bytes); }

 private:
  // A layer's arrays and extents: layers that share an address may still differ.
  using Key = std::tuple<const void*, const void*, const void*, size_t, size_t, DataType>;

  const Kernels& kernels_;
  const bool keep_weights_;
  CpuLinearOps linear_;
  CpuRowOps rows_;
  CpuCausalOps causal_;
  CpuGroupedOps grouped_;
  CpuImageOps image_;
  CpuScanOps scan_;
  CpuFilterOps filter_;
  const Ops table_;
  std::mutex mutex_;  // of what follows
  bool uses_floats_ = false;
  std::map<Key, std::unique_ptr<Linear>> prepared_;
  std::map<void*, Pages> allocated_;  // by address
};

}  // namespace lsrt
