// What a stream needs before it runs: shapes, memory, linear layers.
#include <algorithm>

#include "runtime/text/causal_network.h"

namespace lsrt {
namespace {

// Rows of a step beyond which nothing gets faster.
constexpr size_t kUsefulRows = 256;
constexpr size_t kMostTokens = size_t{1} << 30;  // of block and memory

const TokenHead& head_of(const Model& model) { return std::get<TokenHead>(model.head); }

}  // namespace

Status CausalNetwork::count(const CausalOptions& options) {
  const Model& m = model();
  if (m.family != Family::kLm) {
    return fail(Error::kArgument, "a model of family '%s' is not a language model", family_name(m.family));
  }
  extents_.width = m.stages[0].width;
  extents_.block = options.block ? options.block : m.block;
  extents_.memory = options.memory ? options.memory : m.memory;
  extents_.max_rows = options.max_rows ? options.max_rows : kUsefulRows;
  if (m.block == 0) {  // no stream table: nothing is counted in blocks
    if (options.block || options.memory) {
      return fail(Error::kArgument,
                  "block and memory do not apply: no layer of this model has a window or summaries");
    }
  } else {
    if (extents_.block > kMostTokens) {
      return fail(Error::kArgument, "block is %zu tokens, must be 1 to %zu", extents_.block, kMostTokens);
    }
    if (extents_.memory == 0 || extents_.memory > kMostTokens) {
      return fail(Error::kArgument, "memory is %zu tokens, must be 1 to %zu", extents_.memory, kMostTokens);
    }
    extents_.max_rows = std::min(extents_.max_rows, extents_.block);
  }
  LSRT_TRY(stream_plan_.use_threads(options.threads));
  const LinearOps& linear = *backend_.ops().linear;
  linear.plan(head_of(m).projection, extents_.max_rows, &stream_plan_);
  for (const Block& block : m.stages[0].blocks) {
    Layer layer{};
    layer.block = &block;
    LSRT_ASSIGN(layer.mixer, StreamMixer::create(block.mixer, extents_, backend_));
    layer.mixer->plan(&stream_plan_);
    if (block.feed_forward) {
      linear.plan(block.feed_forward.fc1, extents_.max_rows, &stream_plan_);
      linear.plan(block.feed_forward.fc2, extents_.max_rows, &stream_plan_);
    }
    memory_.exchange_bytes += layer.mixer->most_exchange_bytes();
    layers_.push_back(std::move(layer));
  }
  DeviceCarver state, tables, scratch;
  place_state(&state);
  place_tables(&tables);
  place_scratch(&scratch);
  memory_.state_bytes = state.used();
  memory_.positions_bytes = tables.used();
  memory_.scratch_bytes = scratch.used() + stream_plan_.workspace;
  return {};
}

void CausalNetwork::place_state(DeviceCarver* carver) {
  for (Layer& layer : layers_) layer.mixer->place_state(carver);
}

void CausalNetwork::place_tables(DeviceCarver* carver) {
  for (Layer& layer : layers_) layer.mixer->place_tables(carver);
}

void CausalNetwork::place_scratch(DeviceCarver* carver) {
  const size_t rows = extents_.max_rows, width = extents_.width;
  size_t hidden = 0;
  for (const Layer& layer : layers_) hidden = std::max(hidden, layer.block->feed_forward.fc1.outputs);
  b_.numbers = carver->take<StepNumbers>(1);
  b_.tokens = carver->take<int32_t>(rows);
  b_.x = carver->take<float>(rows * width);
  b_.normed = carver->take<float>(rows * width);
  b_.mixed = carver->take<float>(rows * width);
  b_.hidden = carver->take<float>(rows * hidden);
  b_.logits = carver->take<float>(rows * vocabulary());
  if (chooses()) {
    b_.with_text = carver->take<uint8_t>(vocabulary());
    b_.penalized = carver->take<int32_t>(vocabulary());
    b_.choose_scratch = carver->take<uint64_t>(2 * vocabulary());
    b_.chosen = carver->take<int32_t>(1);
  }
  // One layer's scratch after another's, at the same place.
  DeviceCarver largest = *carver;
  for (Layer& layer : layers_) {
    DeviceCarver own = carver->shared();
    layer.mixer->place_scratch(&own);
    if (own.used() > largest.used()) largest = own;
  }
  *carver = largest;
}

Result<CausalMemory> CausalNetwork::plan(Backend& backend, const CausalOptions& options) {
  CausalNetwork network(backend);
  LSRT_TRY(network.count(options));
  return network.memory_;
}

Result<std::unique_ptr<CausalNetwork>> CausalNetwork::create(std::shared_ptr<Backend> backend,
                                                             const CausalOptions& options) {
  std::unique_ptr<CausalNetwork> network(new CausalNetwork(*backend));
  network->owned_ = std::move(backend);
  LSRT_TRY(network->count(options));
  LSRT_TRY(within_budget(network->memory_.sum(), options.max_bytes));
  LSRT_TRY(network->prepare());
  return network;
}

Status CausalNetwork::prepare() {
  const Model& m = model();
  LSRT_ASSIGN(head_, backend_.prepare(head_of(m).projection));
  head_norm_ = backend_.norm(head_of(m).norm);
  embedding_ = backend_.tensor(std::get<TokenStem>(m.stages[0].stem).embedding);
  for (Layer& layer : layers_) {
    layer.norm1 = backend_.norm(layer.block->norm1);
    if (const FeedForward& feed_forward = layer.block->feed_forward) {
      layer.norm2 = backend_.norm(layer.block->norm2);
      LSRT_ASSIGN(layer.fc1, backend_.prepare(feed_forward.fc1));
      LSRT_ASSIGN(layer.fc2, backend_.prepare(feed_forward.fc2));
    }
    LSRT_TRY(layer.mixer->prepare());
  }
  LSRT_ASSIGN(state_, backend_.allocate(memory_.state_bytes));
  LSRT_ASSIGN(tables_, backend_.allocate(memory_.positions_bytes));
  LSRT_ASSIGN(scratch_, backend_.allocate(memory_.scratch_bytes - stream_plan_.workspace));
  DeviceCarver state(backend_, state_), tables(backend_, tables_), scratch(backend_, scratch_);
  place_state(&state);
  place_tables(&tables);
  place_scratch(&scratch);
  zero_row_.resize(extents_.width);
  step_shape_.resize(2 + layers_.size());
  LSRT_ASSIGN(stream_, backend_.create_stream(stream_plan_));
  for (Layer& layer : layers_) LSRT_TRY(layer.mixer->make_tables(*stream_));
  if (chooses()) {
    std::vector<uint8_t> with_text;
    for (const std::string& text : m.vocabulary) with_text.push_back(!text.empty());
    backend_.copy_in(*stream_, b_.with_text, with_text.data(), with_text.size());
  }
  reset();
  return backend_.synchronize(*stream_);
}

}  // namespace lsrt
