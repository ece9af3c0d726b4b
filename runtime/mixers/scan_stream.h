// What selective state spaces share as layers of a stream (spec mamba): the state is the rows before the
// convolution and the channels' states, in one piece; in this form it also leaves the device.
#pragma once

#include "runtime/mixers/mixer.h"

namespace lsrt {

class ScanStream : public StreamMixer {
 public:
  void place_state(DeviceCarver* carver) override { state_ = carver->take<float>(state_floats()); }
  void place_tables(DeviceCarver*) override {}
  Status make_tables(Stream&) override { return {}; }

  // Before the stream there is nothing: rows and states are 0.
  void reset(Stream& stream, Dev<const float>) override { rows_.clear(stream, state_, state_floats()); }

  uint32_t shape(uint64_t, size_t) const override { return 0; }

  size_t exchange_bytes(uint64_t) const override { return state_floats() * sizeof(float); }
  size_t most_exchange_bytes() const override { return exchange_bytes(0); }
  void export_state(Stream& stream, uint64_t, Dev<void> out) override {
    copy(stream, state_, out.as<float>());
  }
  void import_state(Stream& stream, uint64_t, Dev<const void> in) override {
    copy(stream, in.as<const float>(), state_);
  }
  // Any numbers: what the scan makes of infinities and NaN is defined.
  bool is_state(uint64_t, const uint8_t*) const override { return true; }

 protected:
  // Floats of the rows before the convolution, [taps - 1, its channels], and of the states.
  ScanStream(Backend& backend, size_t max_rows, size_t history_floats, size_t channel_floats)
      : backend_(backend),
        linear_(*backend.ops().linear),
        rows_(*backend.ops().rows),
        scan_(*backend.ops().scan),
        max_rows_(max_rows),
        history_floats_(history_floats),
        channel_floats_(channel_floats) {}

  Dev<float> history() const { return state_; }
  Dev<float> channels() const { return state_ + history_floats_; }

  Backend& backend_;
  const LinearOps& linear_;
  const RowOps& rows_;
  const ScanOps& scan_;
  const size_t max_rows_;

 private:
  size_t state_floats() const { return history_floats_ + channel_floats_; }
  void copy(Stream& stream, Dev<const float> from, Dev<float> to) const {
    rows_.copy_rows(stream, state_floats(), from, state_floats(), 1, to, state_floats());
  }

  const size_t history_floats_, channel_floats_;
  Dev<float> state_;
};

// Of a mixer that fits a backend with selective state spaces.
template <typename Layer, typename Kind>
Result<std::unique_ptr<StreamMixer>> make_scan_stream(const Kind& mixer, const StreamExtents& extents,
                                                      Backend& backend) {
  if (!backend.ops().scan) {
    return fail(Error::kUnsupported, "backend '%s' has no selective state spaces", backend.info().name);
  }
  return std::unique_ptr<StreamMixer>(new Layer(mixer, extents, backend));
}

}  // namespace lsrt
