#include "runtime/text/causal_network.h"

#include <algorithm>
#include <utility>

namespace lsrt {

CausalNetwork::~CausalNetwork() {
  backend_.release(state_);
  backend_.release(tables_);
  backend_.release(scratch_);
}

void CausalNetwork::reset() {
  for (const Layer& layer : layers_) {
    backend_.copy_in(*stream_, b_.x, zero_row_.data(), zero_row_.size() * sizeof(float));
    if (layer.block->residual != Residual::kPostNorm) {
      backend_.ops().rows->add_norm(*stream_, layer.norm1, extents_.width, nullptr, 1, b_.x, b_.x);
    }
    layer.mixer->reset(*stream_, b_.x);
  }
}

// x becomes the layer's output, but for what is owed to it: the next norm adds that. x and normed may change
// places.
void CausalNetwork::run_layer(const Layer& layer, const StreamStep& step, Dev<float>* x, Dev<float>* normed,
                              Dev<float>* owed) {
  const RowOps& rows = *backend_.ops().rows;
  const LinearOps& linear = *backend_.ops().linear;
  const size_t width = extents_.width;
  const Block& block = *layer.block;
  Stream& stream = *stream_;
  const bool norm_last = block.residual == Residual::kPostNorm;

  // input: of the mixer, later of the feed-forward. base: the row that their outputs are added to.
  const Dev<float> input = norm_last ? *x : *normed;
  const bool in_place = norm_last || block.residual == Residual::kPreNorm;
  const Dev<float> base = in_place ? *x : input;

  if (!norm_last) {
    rows.add_norm(stream, layer.norm1, width, *owed, step.rows, *x, input);
  } else if (*owed) {
    rows.add(stream, *owed, step.rows * width, *x);
  }
  *owed = nullptr;
  layer.mixer->step(stream, step, input, b_.mixed);
  if (block.feed_forward) {
    rows.add_norm(stream, norm_last ? layer.norm1 : layer.norm2, width, b_.mixed, step.rows, base, input);
    linear.linear(stream, *layer.fc1, input, step.rows, block.feed_forward.activation, b_.hidden);
    linear.linear(stream, *layer.fc2, b_.hidden, step.rows, Activation::kNone, b_.mixed);
  }
  if (norm_last) {
    const DeviceNorm& last = block.feed_forward ? layer.norm2 : layer.norm1;
    rows.add_norm(stream, last, width, b_.mixed, step.rows, base, *x);
  } else {
    *owed = b_.mixed;
    if (!in_place) std::swap(*x, *normed);
  }
}

void CausalNetwork::launch_step(uint64_t position, const int32_t* tokens, size_t rows, size_t scored) {
  const StepNumbers numbers{position};
  backend_.copy_in(*stream_, b_.numbers, &numbers, sizeof numbers);
  backend_.copy_in(*stream_, b_.tokens, tokens, rows * sizeof(int32_t));
  step_shape_[0] = static_cast<uint32_t>(rows), step_shape_[1] = static_cast<uint32_t>(scored);
  for (size_t i = 0; i < layers_.size(); ++i) step_shape_[2 + i] = layers_[i].mixer->shape(position, rows);

  if (backend_.begin(*stream_, {step_shape_.data(), step_shape_.size()})) {
    const RowOps& row_ops = *backend_.ops().rows;
    const size_t width = extents_.width;
    Dev<float> x = b_.x, normed = b_.normed, owed;
    row_ops.embed(*stream_, embedding_, std::get<TokenStem>(model().stages[0].stem).scale, width, b_.tokens,
                  rows, nullptr, x);
    for (size_t i = 0; i < layers_.size(); ++i) {
      run_layer(layers_[i], {b_.numbers, rows, step_shape_[2 + i]}, &x, &normed, &owed);
    }
    if (scored) {
      const size_t skipped = (rows - scored) * width;
      const Dev<float> last = x + skipped;
      if (head_norm_) {
        row_ops.add_norm(*stream_, head_norm_, width, owed ? owed + skipped : owed, scored, last, last);
      } else if (owed) {
        row_ops.add(*stream_, owed + skipped, scored * width, last);
      }
      backend_.ops().linear->linear(*stream_, *head_, last, scored, Activation::kNone, b_.logits);
      row_ops.log_softmax(*stream_, vocabulary(), scored, b_.logits);
    }
    backend_.end(*stream_);
  }
}

Status CausalNetwork::step(uint64_t position, const int32_t* tokens, size_t rows, size_t scored, float* out) {
  launch_step(position, tokens, rows, scored);
  if (scored) backend_.copy_out(*stream_, out, b_.logits, scored * vocabulary() * sizeof(float));
  return backend_.synchronize(*stream_);
}

Result<int32_t> CausalNetwork::step_and_choose(uint64_t position, const int32_t* tokens, size_t rows,
                                               const Draw& draw, const std::vector<int32_t>& penalized) {
  launch_step(position, tokens, rows, 1);
  if (!penalized.empty()) {
    backend_.copy_in(*stream_, b_.penalized, penalized.data(), penalized.size() * sizeof(int32_t));
  }
  backend_.ops().choose->choose(*stream_, {draw, vocabulary(), b_.logits, b_.with_text, b_.penalized,
                                           penalized.size(), b_.choose_scratch, b_.chosen});
  int32_t token = -1;
  backend_.copy_out(*stream_, &token, b_.chosen, sizeof token);
  LSRT_TRY(backend_.synchronize(*stream_));
  return token;
}

size_t CausalNetwork::exchange_bytes(uint64_t position) const {
  size_t bytes = 0;
  for (const Layer& layer : layers_) bytes += layer.mixer->exchange_bytes(position);
  return bytes;
}

bool CausalNetwork::is_state(uint64_t position, const uint8_t* host) const {
  for (const Layer& layer : layers_) {
    if (!layer.mixer->is_state(position, host)) return false;
    host += layer.mixer->exchange_bytes(position);
  }
  return true;
}

// Calls f(mixer, bytes of its exported state, staging memory on the device for that many), layer after layer.
template <typename F>
Status CausalNetwork::with_staging(uint64_t position, const F& f) {
  size_t most = 0;
  for (const Layer& layer : layers_) most = std::max(most, layer.mixer->exchange_bytes(position));
  LSRT_ASSIGN(const Dev<void> staging, backend_.allocate(most));
  for (const Layer& layer : layers_) f(*layer.mixer, layer.mixer->exchange_bytes(position), staging);
  const Status status = backend_.synchronize(*stream_);
  backend_.release(staging);
  return status;
}

Status CausalNetwork::export_state(uint64_t position, uint8_t* host) {
  return with_staging(position, [&](StreamMixer& mixer, size_t bytes, Dev<void> staging) {
    mixer.export_state(*stream_, position, staging);
    backend_.copy_out(*stream_, host, staging, bytes);
    host += bytes;
  });
}

Status CausalNetwork::import_state(uint64_t position, const uint8_t* host) {
  return with_staging(position, [&](StreamMixer& mixer, size_t bytes, Dev<void> staging) {
    backend_.copy_in(*stream_, staging, host, bytes);
    mixer.import_state(*stream_, position, staging);
    host += bytes;
  });
}

}  // namespace lsrt
