#include "runtime/profiler.h"

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <map>

namespace lsrt {
namespace {

class ProfilingBackend : public Backend {
 public:
  ProfilingBackend(std::shared_ptr<Backend> inner, Profiler* profiler)
      : inner_(std::move(inner)), profiler_(*profiler) {}

  const char* name() const override { return inner_->name(); }
  const char* isa() const override { return inner_->isa(); }
  Result<const Linear*> prepare(const LinearView& view) override { return inner_->prepare(view); }
  Result<void*> allocate(size_t bytes) override { return inner_->allocate(bytes); }
  void release(void* memory) override { inner_->release(memory); }
  Result<std::unique_ptr<Stream>> create_stream(size_t threads, size_t workspace) override {
    return inner_->create_stream(threads, workspace);
  }
  Status synchronize(Stream& stream) override { return inner_->synchronize(stream); }
  size_t linear_workspace_bytes(const Linear& linear, size_t rows, size_t threads) const override {
    return inner_->linear_workspace_bytes(linear, rows, threads);
  }
  size_t causal_state_bytes(const CausalShape& shape) const override {
    return inner_->causal_state_bytes(shape);
  }
  size_t causal_workspace_bytes(const CausalShape& shape, size_t threads) const override {
    return inner_->causal_workspace_bytes(shape, threads);
  }
  size_t position_table_bytes(const CausalShape& shape, size_t rows) const override {
    return inner_->position_table_bytes(shape, rows);
  }
  TensorView make_position_table(Stream& stream, const CausalShape& shape, const float* rows, size_t count,
                                 void* memory) override {
    return inner_->make_position_table(stream, shape, rows, count, memory);
  }
  size_t key_value_bytes(const KeyValueStore& shape) const override { return inner_->key_value_bytes(shape); }
  size_t grouped_attention_workspace_bytes(const GroupedAttention& shape, size_t threads) const override {
    return inner_->grouped_attention_workspace_bytes(shape, threads);
  }
  size_t landmarks_workspace_bytes(const Landmarks& shape, size_t threads) const override {
    return inner_->landmarks_workspace_bytes(shape, threads);
  }
  size_t cls_attention_workspace_bytes(const ClsAttention& shape, size_t threads) const override {
    return inner_->cls_attention_workspace_bytes(shape, threads);
  }

  void copy_to_device(Stream& stream, void* device, const void* host, size_t bytes) override {
    timed("copy_to_device", 1, [&] { inner_->copy_to_device(stream, device, host, bytes); });
  }
  void copy_to_host(Stream& stream, void* host, const void* device, size_t bytes) override {
    timed("copy_to_host", 1, [&] { inner_->copy_to_host(stream, host, device, bytes); });
  }
  void linear(Stream& stream, const Linear& linear, const float* x, size_t rows, Activation activation,
              float* y) override {
    timed(
        "linear", rows, [&] { inner_->linear(stream, linear, x, rows, activation, y); }, linear.outputs,
        linear.inputs);
  }
  void add_norm(Stream& stream, const NormView& norm, size_t width, const float* residual, size_t rows,
                float* x, float* y) override {
    timed("add_norm", rows, [&] { inner_->add_norm(stream, norm, width, residual, rows, x, y); });
  }
  void layer_norm(Stream& stream, const NormView& norm, size_t width, const float* x, size_t x_stride,
                  size_t rows, float* y, size_t y_stride) override {
    timed("layer_norm", rows,
          [&] { inner_->layer_norm(stream, norm, width, x, x_stride, rows, y, y_stride); });
  }
  void add(Stream& stream, const float* x, size_t n, float* y) override {
    timed("add", 1, [&] { inner_->add(stream, x, n, y); });
  }
  void embed(Stream& stream, const TokenStem& stem, size_t width, const int32_t* tokens, size_t rows,
             const float* positions, float* y) override {
    timed("embed", rows, [&] { inner_->embed(stream, stem, width, tokens, rows, positions, y); });
  }
  void causal_reset(Stream& stream, const CausalLayer& layer, const float* zero_qkv) override {
    timed("causal_reset", 1, [&] { inner_->causal_reset(stream, layer, zero_qkv); });
  }
  void causal_append(Stream& stream, const CausalLayer& layer, const CausalStep& step,
                     float* compressed) override {
    timed("causal_append", step.rows, [&] { inner_->causal_append(stream, layer, step, compressed); });
  }
  void causal_remember(Stream& stream, const CausalLayer& layer, const CausalStep& step,
                       const float* compressed_qkv) override {
    timed("causal_remember", step.rows,
          [&] { inner_->causal_remember(stream, layer, step, compressed_qkv); });
  }
  void causal_attend(Stream& stream, const CausalLayer& layer, const CausalStep& step, float* y) override {
    timed("causal_attend", step.rows, [&] { inner_->causal_attend(stream, layer, step, y); });
  }
  void store_key_values(Stream& stream, const KeyValueStore& store, size_t first, size_t rows,
                        const float* key, const float* value, size_t stride) override {
    timed("store_key_values", rows,
          [&] { inner_->store_key_values(stream, store, first, rows, key, value, stride); });
  }
  void grouped_attention(Stream& stream, const GroupedAttention& attention) override {
    timed("grouped_attention", attention.groups * attention.group_queries,
          [&] { inner_->grouped_attention(stream, attention); });
  }
  void landmarks(Stream& stream, const Landmarks& landmarks) override {
    timed("landmarks", landmarks.rows, [&] { inner_->landmarks(stream, landmarks); });
  }
  void cls_attention(Stream& stream, const ClsAttention& attention) override {
    timed("cls_attention", attention.rows, [&] { inner_->cls_attention(stream, attention); });
  }
  void convolve(Stream& stream, const Convolution& convolution) override {
    timed("convolve", convolution.rows, [&] { inner_->convolve(stream, convolution); });
  }
  void extract_patches(Stream& stream, const PatchSource& source, float* patches) override {
    timed("extract_patches", source.grid * source.grid,
          [&] { inner_->extract_patches(stream, source, patches); });
  }
  void mean_rows(Stream& stream, const float* x, size_t rows, size_t width, float divisor,
                 float* out) override {
    timed("mean_rows", rows, [&] { inner_->mean_rows(stream, x, rows, width, divisor, out); });
  }
  void compare(Stream& stream, const float* features, size_t width, float* out) override {
    timed("compare", 1, [&] { inner_->compare(stream, features, width, out); });
  }

 private:
  template <typename F>
  void timed(const char* name, size_t rows, const F& launch, size_t outputs = 0, size_t inputs = 0) {
    const double start = profiler_.now_us();
    launch();
    profiler_.add({name, rows, outputs, inputs, start, profiler_.now_us() - start});
  }

  std::shared_ptr<Backend> inner_;
  Profiler& profiler_;
};

double clock_us() {
  return std::chrono::duration<double, std::micro>(std::chrono::steady_clock::now().time_since_epoch())
      .count();
}

}  // namespace

Profiler::Profiler(size_t capacity) : capacity_(capacity), origin_us_(clock_us()) {
  events_.reserve(capacity);
}

std::unique_ptr<Backend> Profiler::wrap(std::shared_ptr<Backend> backend) {
  return std::make_unique<ProfilingBackend>(std::move(backend), this);
}

double Profiler::now_us() const { return clock_us() - origin_us_; }

void Profiler::add(const LaunchEvent& event) {
  if (events_.size() < capacity_) {
    events_.push_back(event);
  } else {
    ++dropped_;
  }
}

std::vector<LaunchTotal> Profiler::totals(size_t first) const {
  std::map<std::string, LaunchTotal> by_name;
  for (size_t i = first; i < events_.size(); ++i) {
    const LaunchEvent& event = events_[i];
    std::string name = event.name;
    if (event.outputs) name += " " + std::to_string(event.outputs) + " x " + std::to_string(event.inputs);
    LaunchTotal& total = by_name[name];
    total.name = name;
    total.count += 1;
    total.total_us += event.duration_us;
    total.multiply_adds += static_cast<double>(event.rows) * event.outputs * event.inputs;
  }
  std::vector<LaunchTotal> totals;
  for (auto& entry : by_name) totals.push_back(entry.second);
  std::sort(totals.begin(), totals.end(),
            [](const LaunchTotal& a, const LaunchTotal& b) { return a.total_us > b.total_us; });
  return totals;
}

std::string Profiler::chrome_trace() const {
  std::string text = "{\"traceEvents\":[";
  char line[256];
  for (size_t i = 0; i < events_.size(); ++i) {
    const LaunchEvent& e = events_[i];
    std::snprintf(line, sizeof line,
                  "%s\n{\"name\":\"%s\",\"ph\":\"X\",\"pid\":1,\"tid\":1,\"ts\":%.3f,\"dur\":%.3f,"
                  "\"args\":{\"rows\":%zu,\"outputs\":%zu,\"inputs\":%zu}}",
                  i ? "," : "", e.name, e.start_us, e.duration_us, e.rows, e.outputs, e.inputs);
    text += line;
  }
  return text + "\n]}\n";
}

}  // namespace lsrt
