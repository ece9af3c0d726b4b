#include "runtime/causal_network.h"

#include <algorithm>
#include <cmath>

#include "runtime/carver.h"

namespace lsrt {
namespace {

// Rows of a step beyond which nothing gets faster.
constexpr size_t kUsefulRows = 256;

const TokenStem& stem_of(const Model& model) { return std::get<TokenStem>(model.stages[0].stem); }
const TokenHead& head_of(const Model& model) { return std::get<TokenHead>(model.head); }

Status check(const Model& model, const CausalOptions& options, const CausalLongShort& mixer,
             CausalShape* shape) {
  shape->heads = mixer.heads, shape->head_dim = mixer.head_dim;
  shape->window = mixer.window, shape->chunk = mixer.chunk, shape->rank = mixer.rank;
  shape->block = options.block ? options.block : model.block;
  shape->memory = options.memory ? options.memory : model.memory;
  shape->int8 = mixer.qkv.weight.type == DataType::kInt8;
  constexpr size_t kMost = size_t{1} << 30;
  if (shape->block > kMost || shape->block % mixer.chunk != 0) {
    return fail(Error::kArgument, "block is %zu tokens, must be a multiple of the chunk length %u",
                shape->block, mixer.chunk);
  }
  if (shape->memory > kMost || shape->memory % mixer.chunk != 0) {
    return fail(Error::kArgument, "memory is %zu tokens, must be a multiple of the chunk length %u",
                shape->memory, mixer.chunk);
  }
  if (shape->memory < mixer.window || shape->memory == 0) {
    return fail(Error::kArgument, "memory is %zu tokens, must be at least the window of %u", shape->memory,
                mixer.window);
  }
  shape->max_rows = std::min(options.max_rows ? options.max_rows : kUsefulRows, shape->block);
  return Status();
}

// Rows that summarize the chunks of a step, at most.
size_t compressed_rows(const CausalShape& s) { return (s.max_rows / s.chunk + 1) * s.rank; }

}  // namespace

struct CausalNetwork::Buffers {
  int32_t* tokens;        // [rows]
  float* x;               // [rows, width]: the layer's input, then its output
  float* normed;          // [rows, width]
  float* qkv;             // [rows, 3 width + heads * rank]
  float* attention;       // [rows, width]
  float* mixed;           // [rows, width]: output of the mixer, then of the feed-forward
  float* hidden;          // [rows, feed-forward width]
  float* compressed;      // [chunks * rank, width]
  float* compressed_qkv;  // [chunks * rank, 3 width + heads * rank]
  float* logits;          // [rows, vocabulary]

  // Blocks may differ in rank, chunk and window: room for the largest.
  Buffers(const CausalShape& stream, const std::vector<Layer>& layers, const Model& model, Carver* carver) {
    const size_t rows = stream.max_rows, width = stream.width();
    size_t qkv_width = 0, hidden_width = 0, most_compressed = 0;
    for (const Layer& layer : layers) {
      const CausalShape& s = layer.causal.shape;
      qkv_width = std::max(qkv_width, layer.qkv->outputs);
      hidden_width = std::max(hidden_width, layer.fc1->outputs);
      most_compressed = std::max(most_compressed, compressed_rows(s));
    }
    tokens = carver->take<int32_t>(rows);
    x = carver->take<float>(rows * width);
    normed = carver->take<float>(rows * width);
    qkv = carver->take<float>(rows * qkv_width);
    attention = carver->take<float>(rows * width);
    mixed = carver->take<float>(rows * width);
    hidden = carver->take<float>(rows * hidden_width);
    compressed = carver->take<float>(most_compressed * width);
    compressed_qkv = carver->take<float>(most_compressed * qkv_width);
    logits = carver->take<float>(rows * model.vocabulary.size());
  }
};

CausalNetwork::CausalNetwork(std::shared_ptr<const Model> model, std::shared_ptr<Backend> backend)
    : model_(std::move(model)), backend_(std::move(backend)) {}

CausalNetwork::~CausalNetwork() {
  backend_->release(state_);
  backend_->release(positions_);
  backend_->release(scratch_);
}

// Fills everything that needs no memory of the backend: layers, shapes, sizes.
Status CausalNetwork::prepare(const CausalOptions& options) {
  const Model& model = *model_;
  if (model.family != "lm") {
    return fail(Error::kArgument, "a model of family '%s' is not a language model", model.family.c_str());
  }
  vocabulary_ = model.vocabulary.size();
  LSRT_ASSIGN(head_, backend_->prepare(head_of(model).projection));
  auto need = [&](const Linear& linear, size_t rows) {
    workspace_bytes_ =
        std::max(workspace_bytes_, backend_->linear_workspace_bytes(linear, rows, options.threads));
  };
  for (const Block& block : model.stages[0].blocks) {
    const auto& mixer = std::get<CausalLongShort>(block.mixer);
    Layer layer{};
    layer.block = &block;
    layer.causal.weights = &mixer;
    LSRT_TRY(check(model, options, mixer, &layer.causal.shape));
    const CausalShape& shape = layer.causal.shape;
    shape_ = shape;
    LSRT_ASSIGN(layer.qkv, backend_->prepare(mixer.qkv));
    LSRT_ASSIGN(layer.out, backend_->prepare(mixer.out));
    LSRT_ASSIGN(layer.fc1, backend_->prepare(block.feed_forward.fc1));
    LSRT_ASSIGN(layer.fc2, backend_->prepare(block.feed_forward.fc2));
    for (const Linear* linear : {layer.qkv, layer.out, layer.fc1, layer.fc2, head_})
      need(*linear, shape.max_rows);
    need(*layer.qkv, compressed_rows(shape));
    workspace_bytes_ = std::max(workspace_bytes_, backend_->causal_workspace_bytes(shape, options.threads));
    memory_.state_bytes += backend_->causal_state_bytes(shape);
    if (const size_t bytes = extended_bytes(layer)) {
      memory_.positions_bytes += bytes;
      LSRT_ASSIGN(const Linear* projection, backend_->prepare(mixer.chunk_position_projection));
      need(*projection, shape.max_rows);
    }
    layers_.push_back(layer);
  }
  Carver carver(nullptr);
  Buffers buffers(shape_, layers_, model, &carver);
  memory_.scratch_bytes = carver.used() + workspace_bytes_;
  return Status();
}

Result<CausalMemory> CausalNetwork::plan(const Model& model, Backend& backend, const CausalOptions& options) {
  // The plan lives no longer than these references.
  CausalNetwork network(std::shared_ptr<const Model>(std::shared_ptr<void>(), &model),
                        std::shared_ptr<Backend>(std::shared_ptr<void>(), &backend));
  LSRT_TRY(network.prepare(options));
  return network.memory_;
}

Result<std::unique_ptr<CausalNetwork>> CausalNetwork::create(std::shared_ptr<const Model> model,
                                                             std::shared_ptr<Backend> backend,
                                                             const CausalOptions& options) {
  std::unique_ptr<CausalNetwork> network(new CausalNetwork(std::move(model), std::move(backend)));
  LSRT_TRY(network->prepare(options));
  Backend& device = *network->backend_;
  network->zero_row_.resize(network->shape_.width());
  LSRT_ASSIGN(network->state_, device.allocate(network->memory_.state_bytes));
  LSRT_ASSIGN(network->positions_, device.allocate(network->memory_.positions_bytes));
  LSRT_ASSIGN(network->scratch_, device.allocate(network->memory_.scratch_bytes - network->workspace_bytes_));
  LSRT_ASSIGN(network->stream_, device.create_stream(options.threads, network->workspace_bytes_));
  uint8_t* state = static_cast<uint8_t*>(network->state_);
  uint8_t* positions = static_cast<uint8_t*>(network->positions_);
  for (Layer& layer : network->layers_) {
    layer.causal.state = state;
    layer.causal.chunk_positions = &layer.causal.weights->chunk_positions;
    state += device.causal_state_bytes(layer.causal.shape);
    if (const size_t bytes = network->extended_bytes(layer)) {
      LSRT_TRY(network->extend_positions(&layer, positions));
      positions += bytes;
    }
  }
  network->reset();
  LSRT_TRY(device.synchronize(*network->stream_));
  return network;
}

// Bytes of the layer's own position table; 0 where the model's is long enough.
size_t CausalNetwork::extended_bytes(const Layer& layer) const {
  const CausalShape& shape = layer.causal.shape;
  if (shape.rank == 0 || shape.positions() <= layer.causal.weights->chunk_positions.shape[1]) return 0;
  return round_up(backend_->position_table_bytes(shape, shape.positions()), kWeightAlignment);
}

// A position table for more memory than the model's own reaches: farthest first, row y is distance n - 1 - y.
Status CausalNetwork::extend_positions(Layer* layer, void* table) {
  const CausalLongShort& mixer = *layer->causal.weights;
  const size_t width = shape_.width(), count = layer->causal.shape.positions();
  std::vector<float> sinusoid(shape_.max_rows * width);
  void* memory = nullptr;
  LSRT_ASSIGN(memory, backend_->allocate(count * width * sizeof(float)));
  auto* rows = static_cast<float*>(memory);
  Carver carver(scratch_);
  Buffers b(shape_, layers_, *model_, &carver);
  auto projection = backend_->prepare(mixer.chunk_position_projection);  // again, cannot fail
  for (size_t first = 0; first < count; first += shape_.max_rows) {
    const size_t n = std::min(shape_.max_rows, count - first);
    for (size_t i = 0; i < n; ++i) {
      double distance = static_cast<double>(count - 1 - (first + i));
      if (mixer.chunk_position_clamp > 0) distance = std::min<double>(distance, mixer.chunk_position_clamp);
      for (size_t k = 0; k < width / 2; ++k) {
        double angle =
            distance * std::pow(10000.0, -2.0 * static_cast<double>(k) / static_cast<double>(width));
        sinusoid[i * width + k] = static_cast<float>(std::sin(angle));
        sinusoid[i * width + width / 2 + k] = static_cast<float>(std::cos(angle));
      }
    }
    backend_->copy_to_device(*stream_, b.x, sinusoid.data(), n * width * sizeof(float));
    backend_->linear(*stream_, *projection.value(), b.x, n, Activation::kNone, rows + first * width);
    (void)backend_->synchronize(*stream_);  // the host's rows are written again
  }
  layer->chunk_positions = backend_->make_position_table(*stream_, layer->causal.shape, rows, count, table);
  layer->causal.chunk_positions = &layer->chunk_positions;
  Status status = backend_->synchronize(*stream_);
  backend_->release(memory);
  return status;
}

void CausalNetwork::reset() {
  Carver carver(scratch_);
  Buffers b(shape_, layers_, *model_, &carver);
  const size_t width = shape_.width();
  for (const Layer& layer : layers_) {
    backend_->copy_to_device(*stream_, b.x, zero_row_.data(), width * sizeof(float));
    const bool norm_first = layer.block->residual != Residual::kPostNorm;
    if (norm_first) backend_->add_norm(*stream_, layer.block->norm1, width, nullptr, 1, b.x, b.x);
    backend_->linear(*stream_, *layer.qkv, b.x, 1, Activation::kNone, b.qkv);
    backend_->causal_reset(*stream_, layer.causal, b.qkv);
  }
}

void CausalNetwork::run_layer(const Layer& layer, uint64_t position, size_t rows, Buffers* b) {
  const size_t width = shape_.width();
  const Block& block = *layer.block;
  Backend& device = *backend_;
  Stream& stream = *stream_;
  const bool norm_last = block.residual == Residual::kPostNorm;

  // input: of the mixer, later of the feed-forward. base: the row that their outputs are added to.
  float* input = norm_last ? b->x : b->normed;
  float* base = block.residual == Residual::kPreNorm ? b->x : input;

  if (!norm_last) device.add_norm(stream, block.norm1, width, nullptr, rows, b->x, input);
  device.linear(stream, *layer.qkv, input, rows, Activation::kNone, b->qkv);
  const CausalStep step{position, rows, input, b->qkv};
  device.causal_append(stream, layer.causal, step, b->compressed);
  const size_t summaries = step.chunks_completed(layer.causal.shape.chunk) * layer.causal.shape.rank;
  if (summaries) {
    device.linear(stream, *layer.qkv, b->compressed, summaries, Activation::kNone, b->compressed_qkv);
    device.causal_remember(stream, layer.causal, step, b->compressed_qkv);
  }
  device.causal_attend(stream, layer.causal, step, b->attention);
  device.linear(stream, *layer.out, b->attention, rows, Activation::kNone, b->mixed);

  device.add_norm(stream, norm_last ? block.norm1 : block.norm2, width, b->mixed, rows, base, input);
  device.linear(stream, *layer.fc1, input, rows, block.feed_forward.activation, b->hidden);
  device.linear(stream, *layer.fc2, b->hidden, rows, Activation::kNone, b->mixed);
  if (norm_last) {
    device.add_norm(stream, block.norm2, width, b->mixed, rows, base, b->x);
  } else {
    device.add(stream, b->mixed, rows * width, base);
    if (base != b->x) std::swap(b->x, b->normed);
  }
}

Status CausalNetwork::step(uint64_t position, const int32_t* tokens, size_t rows, size_t scored,
                           float* logits) {
  Carver carver(scratch_);
  Buffers b(shape_, layers_, *model_, &carver);
  const size_t width = shape_.width();
  backend_->copy_to_device(*stream_, b.tokens, tokens, rows * sizeof(int32_t));
  backend_->embed(*stream_, stem_of(*model_), width, b.tokens, rows, nullptr, b.x);
  for (const Layer& layer : layers_) run_layer(layer, position, rows, &b);
  if (scored) {
    float* last = b.x + (rows - scored) * width;
    const NormView& norm = head_of(*model_).norm;
    if (norm) backend_->add_norm(*stream_, norm, width, nullptr, scored, last, last);
    backend_->linear(*stream_, *head_, last, scored, Activation::kNone, b.logits);
    backend_->copy_to_host(*stream_, logits, b.logits, scored * vocabulary_ * sizeof(float));
  }
  return backend_->synchronize(*stream_);
}

Status CausalNetwork::save(void* host) {
  backend_->copy_to_host(*stream_, host, state_, memory_.state_bytes);
  return backend_->synchronize(*stream_);
}

Status CausalNetwork::load(const void* host) {
  backend_->copy_to_device(*stream_, state_, host, memory_.state_bytes);
  return backend_->synchronize(*stream_);
}

}  // namespace lsrt
