// What a network knows of a mixer of a stream: a causal layer with a state of fixed size. One file each,
// <kind>_stream.cc: its plan and its launches. Nothing else in the runtime knows which mixers there are.
#pragma once

#include <memory>

#include "runtime/device/device_carver.h"

namespace lsrt {

// Of the stream, the same in all layers.
struct StreamExtents {
  size_t width = 0;
  size_t block = 0, memory = 0;  // tokens; 0 where no layer has a window or summaries
  size_t max_rows = 0;           // of one step, at most block
};

// One step of a stream: what its launches are given.
struct StreamStep {
  Dev<const StepNumbers> numbers;
  size_t rows;
  uint32_t shape;  // StreamMixer::shape()
};

class StreamMixer {
 public:
  // Checks the extents against the mixer (kArgument). kUnsupported: the device has no such attention; no
  // mixer of a stream. The mixer and the backend must outlive the result.
  static Result<std::unique_ptr<StreamMixer>> create(const Mixer& mixer, const StreamExtents& extents,
                                                     Backend& backend);
  virtual ~StreamMixer() = default;

  // -- memory: counted before any is there, then placed, by the same functions

  virtual void plan(StreamPlan* plan) const = 0;
  // The stream's state.
  virtual void place_state(DeviceCarver* carver) = 0;
  // Tables that the mixer makes itself.
  virtual void place_tables(DeviceCarver* carver) = 0;
  // What lives during one launch sequence only: the layers share it.
  virtual void place_scratch(DeviceCarver* carver) = 0;

  // Prepares linear layers, which must be before the stream is made.
  virtual Status prepare() = 0;
  // Fills the tables. Allocates nothing that stays.
  virtual Status make_tables(Stream& stream) = 0;

  // -- launches

  // Starts a stream: an endless past of layer inputs that are zero. x: [width], the mixer's input row for
  // one.
  virtual void reset(Stream& stream, Dev<const float> x) = 0;
  // What the launches of a step depend on beside its rows.
  virtual uint32_t shape(uint64_t position, size_t rows) const = 0;
  // y[rows, width] = mixer(x[rows, width]), and the state moves on.
  virtual void step(Stream& stream, const StreamStep& step, Dev<const float> x, Dev<float> y) = 0;

  // -- the state at a stream position, in a form that depends on no device and no batch size

  virtual size_t exchange_bytes(uint64_t position) const = 0;
  virtual size_t most_exchange_bytes() const = 0;
  virtual void export_state(Stream& stream, uint64_t position, Dev<void> out) = 0;
  virtual void import_state(Stream& stream, uint64_t position, Dev<const void> in) = 0;
  // Whether bytes of that form (on the host) hold what a state can.
  virtual bool is_state(uint64_t position, const uint8_t* host) const = 0;
};

// Of <kind>_stream.cc; only those that fit a language model are defined.
#define LSRT_MIXER(Kind)                                                                                  \
  Result<std::unique_ptr<StreamMixer>> make_stream_mixer(const Kind& mixer, const StreamExtents& extents, \
                                                         Backend& backend);
#include "runtime/model/mixers.inc"
#undef LSRT_MIXER

}  // namespace lsrt
