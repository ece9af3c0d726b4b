// The CPU backend: own kernels (kernels/) on int8 panels read in place from the model file, XNNPACK (with
// pthreadpool) for float32 matrix products.
#pragma once

#include <pthreadpool.h>

#include <algorithm>
#include <map>
#include <mutex>
#include <utility>
#include <vector>

#include "kernels/dispatch.h"
#include "runtime/backend.h"
#include "runtime/backends/thread_pool.h"
#include "runtime/carver.h"
#include "runtime/pages.h"

namespace lsrt {

class CpuStream : public Stream {
 public:
  // xnnpack_pool may be null: one thread. Takes both over.
  CpuStream(size_t threads, pthreadpool_t xnnpack_pool, uint8_t* workspace)
      : pool_(threads), xnnpack_pool_(xnnpack_pool), workspace_(workspace) {}
  ~CpuStream() override;

  pthreadpool_t xnnpack_pool() const { return xnnpack_pool_; }
  size_t threads() const { return pool_.threads(); }
  uint8_t* workspace() const { return workspace_; }

  // f(i, thread) for i < n, thread < threads(); returns when all are done.
  template <typename F>
  void parallel(size_t n, const F& f) const {
    pool_.run(
        n, [](const void* g, size_t i, size_t thread) { (*static_cast<const F*>(g))(i, thread); }, &f);
  }

  // The same for loops whose turns are short: several at a time.
  template <typename F>
  void parallel_rows(size_t n, const F& f) const {
    constexpr size_t kChunk = 16;
    parallel((n + kChunk - 1) / kChunk, [&](size_t chunk, size_t thread) {
      for (size_t i = chunk * kChunk; i < std::min(n, (chunk + 1) * kChunk); ++i) f(i, thread);
    });
  }

 private:
  mutable ThreadPool pool_;
  pthreadpool_t xnnpack_pool_;
  uint8_t* workspace_;
};

class CpuBackend : public Backend {
 public:
  explicit CpuBackend(const Kernels& kernels) : kernels_(kernels) {}

  const char* name() const override { return "cpu"; }
  const char* isa() const override { return kernels_.isa; }

  Result<const Linear*> prepare(const LinearView& view) override;
  Result<void*> allocate(size_t bytes) override;
  void release(void* memory) override;
  Result<std::unique_ptr<Stream>> create_stream(size_t threads, size_t workspace) override;
  void copy_to_device(Stream&, void* device, const void* host, size_t bytes) override;
  void copy_to_host(Stream&, void* host, const void* device, size_t bytes) override;
  Status synchronize(Stream& stream) override;

  size_t linear_workspace_bytes(const Linear& linear, size_t rows, size_t threads) const override;
  void linear(Stream& stream, const Linear& linear, const float* x, size_t rows, Activation activation,
              float* y) override;
  void add_norm(Stream& stream, const NormView& norm, size_t width, const float* residual, size_t rows,
                float* x, float* y) override;
  void layer_norm(Stream& stream, const NormView& norm, size_t width, const float* x, size_t x_stride,
                  size_t rows, float* y, size_t y_stride) override;
  void add(Stream& stream, const float* x, size_t n, float* y) override;
  void embed(Stream& stream, const TokenStem& stem, size_t width, const int32_t* tokens, size_t rows,
             const float* positions, float* y) override;

  size_t causal_state_bytes(const CausalShape& shape) const override;
  size_t causal_workspace_bytes(const CausalShape& shape, size_t threads) const override;
  void causal_reset(Stream& stream, const CausalLayer& layer, const float* zero_qkv) override;
  void causal_append(Stream& stream, const CausalLayer& layer, const CausalStep& step,
                     float* compressed) override;
  void causal_remember(Stream& stream, const CausalLayer& layer, const CausalStep& step,
                       const float* compressed_qkv) override;
  void causal_attend(Stream& stream, const CausalLayer& layer, const CausalStep& step, float* y) override;
  size_t position_table_bytes(const CausalShape& shape, size_t rows) const override;
  TensorView make_position_table(Stream& stream, const CausalShape& shape, const float* rows, size_t count,
                                 void* memory) override;

  size_t key_value_bytes(const KeyValueStore& shape) const override;
  void store_key_values(Stream& stream, const KeyValueStore& store, size_t first, size_t rows,
                        const float* key, const float* value, size_t stride) override;
  size_t grouped_attention_workspace_bytes(const GroupedAttention& shape, size_t threads) const override;
  void grouped_attention(Stream& stream, const GroupedAttention& attention) override;
  size_t landmarks_workspace_bytes(const Landmarks& shape, size_t threads) const override;
  void landmarks(Stream& stream, const Landmarks& landmarks) override;
  size_t cls_attention_workspace_bytes(const ClsAttention& shape, size_t threads) const override;
  void cls_attention(Stream& stream, const ClsAttention& attention) override;
  void convolve(Stream& stream, const Convolution& convolution) override;
  void extract_patches(Stream& stream, const PatchSource& source, float* patches) override;
  void mean_rows(Stream& stream, const float* x, size_t rows, size_t width, float divisor,
                 float* out) override;
  void compare(Stream& stream, const float* features, size_t width, float* out) override;

 private:
  const Kernels& kernels_;
  std::mutex mutex_;  // of what follows
  bool uses_xnnpack_ = false;
  std::map<std::pair<const void*, const void*>, std::unique_ptr<Linear>>
      prepared_;                      // by weight and bias address
  std::map<void*, Pages> allocated_;  // by address
};

}  // namespace lsrt
