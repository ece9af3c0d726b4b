// The tables of operations of the CUDA backend.
#pragma once

#include "runtime/device/backend.h"

namespace lsrt {

// A linear layer where the device has it.
struct CudaLinear : Linear {
  DeviceTensor weight;
  Dev<const float> bias;
};

class CudaLinearOps : public LinearOps {
 public:
  explicit CudaLinearOps(const Backend& backend) : backend_(backend) {}
  void plan(const LinearView& view, size_t rows, StreamPlan* plan) const override;
  void linear(Stream& stream, const Linear& linear, Dev<const float> x, size_t rows, Activation activation,
              Dev<float> y) const override;

 private:
  const Backend& backend_;  // of which memory is cut
};

class CudaRowOps : public RowOps {
 public:
  void add_norm(Stream& stream, const DeviceNorm& norm, size_t width, Dev<const float> residual, size_t rows,
                Dev<float> x, Dev<float> y) const override;
  void layer_norm(Stream& stream, const DeviceNorm& norm, size_t width, Dev<const float> x, size_t x_stride,
                  size_t rows, Dev<float> y, size_t y_stride) const override;
  void clear(Stream& stream, Dev<float> x, size_t n) const override;
  void add(Stream& stream, Dev<const float> x, size_t n, Dev<float> y) const override;
  void embed(Stream& stream, const DeviceTensor& table, float scale, size_t width, Dev<const int32_t> tokens,
             size_t rows, Dev<const float> positions, Dev<float> y) const override;
  void mean_rows(Stream& stream, Dev<const float> x, size_t rows, size_t width, float divisor,
                 Dev<float> out) const override;
  void compare(Stream& stream, Dev<const float> features, size_t width, Dev<float> out) const override;
  void log_softmax(Stream& stream, size_t width, size_t rows, Dev<float> x) const override;
};

class CudaCausalOps : public CausalOps {
 public:
  explicit CudaCausalOps(const Backend& backend) : backend_(backend) {}
  size_t state_bytes(const CausalShape& shape) const override;
  void plan(const CausalShape& shape, StreamPlan* plan) const override;
  void reset(Stream& stream, const CausalLayer& layer, Dev<const float> zero_qkv) const override;
  void append(Stream& stream, const CausalLayer& layer, const CausalStep& step,
              Dev<float> compressed) const override;
  void remember(Stream& stream, const CausalLayer& layer, const CausalStep& step,
                Dev<const float> compressed_qkv) const override;
  void attend(Stream& stream, const CausalLayer& layer, const CausalStep& step, Dev<float> y) const override;
  size_t position_table_bytes(const CausalShape& shape, size_t rows) const override;
  DeviceTensor make_position_table(Stream& stream, const CausalShape& shape, Dev<const float> rows,
                                   size_t count, Dev<void> memory) const override;
  void export_state(Stream& stream, const CausalLayer& layer, uint64_t position,
                    Dev<void> out) const override;
  void import_state(Stream& stream, const CausalLayer& layer, uint64_t position,
                    Dev<const void> in) const override;

 private:
  const Backend& backend_;  // of which memory is cut
};

class CudaGroupedOps : public GroupedOps {
 public:
  explicit CudaGroupedOps(const Backend& backend) : backend_(backend) {}
  size_t key_value_bytes(const KeyValueStore& shape) const override;
  void store_key_values(Stream& stream, const KeyValueStore& store, size_t first, size_t rows,
                        Dev<const float> key, Dev<const float> value, size_t stride) const override;
  void plan(const GroupedAttention& shape, StreamPlan* plan) const override;
  void attend(Stream& stream, const GroupedAttention& attention) const override;
  void plan(const Landmarks& shape, StreamPlan* plan) const override;
  void landmarks(Stream& stream, const Landmarks& landmarks) const override;
  void plan(const ClsAttention& shape, StreamPlan* plan) const override;
  void attend(Stream& stream, const ClsAttention& attention) const override;
  void convolve(Stream& stream, const Convolution& convolution) const override;

 private:
  const Backend& backend_;  // of which memory is cut
};

class CudaImageOps : public ImageOps {
 public:
  void extract_patches(Stream& stream, const PatchSource& source, Dev<float> patches) const override;
};

class CudaScanOps : public ScanOps {
 public:
  void convolve(Stream& stream, const ScanConvolution& convolution) const override;
  void selective_scan(Stream& stream, const SelectiveScanRows& scan) const override;
  void dual_scan(Stream& stream, const DualScan& scan) const override;
  void gated_norm(Stream& stream, const GatedNorm& norm) const override;
};

class CudaFilterOps : public FilterOps {
 public:
  void plan(const GlobalFilterRows& shape, StreamPlan* plan) const override;
  void global_filter(Stream& stream, const GlobalFilterRows& filter) const override;
};

class CudaChooseOps : public ChooseOps {
 public:
  void choose(Stream& stream, const Choice& choice) const override;
};

}  // namespace lsrt
