// What a vision network needs, and its creation.
#include <algorithm>

#include "runtime/vision_network.h"

namespace lsrt {
namespace {

// Beyond this, an index list is the work of a broken model.
constexpr double kMostTableElements = 1 << 30;

}  // namespace

VisionNetwork::Buffers::Buffers(const VisionNetwork& network, Carver* carver) {
  const size_t batch = network.options_.max_batch, size = network.image_size();
  size_t narrow_floats = 0, wide_floats = 0, landmark_floats = 0, state_floats = 0, store_bytes = 0;
  for (const StagePlan& stage : network.stages_) {
    size_t widest = stage.patch_floats();
    for (const Layer& layer : stage.layers) {
      widest = std::max({widest, layer.qkv->outputs, layer.fc1->outputs});
      landmark_floats = std::max(landmark_floats, layer.mixing.rank * stage.width);
      state_floats = std::max(state_floats, network.landmark_shape(stage, layer).running_floats());
      store_bytes = std::max(store_bytes, network.backend_->key_value_bytes(network.store_of(stage, layer)));
    }
    narrow_floats = std::max(narrow_floats, stage.rows * stage.width);
    wide_floats = std::max(wide_floats, stage.rows * widest);
  }
  images = carver->take<float>(batch * 3 * size * size);
  x = carver->take<float>(batch * narrow_floats);
  normed = carver->take<float>(batch * narrow_floats);
  attention = carver->take<float>(batch * narrow_floats);
  mixed = carver->take<float>(batch * narrow_floats);
  wide = carver->take<float>(batch * wide_floats);
  store = carver->take<uint8_t>(store_bytes);
  landmark_state = carver->take<float>(state_floats);
  landmark_key = carver->take<float>(landmark_floats);
  landmark_value = carver->take<float>(landmark_floats);
  features = carver->take<float>(batch * network.stages_.back().width);
  head_scratch = carver->take<float>(network.head_->scratch_floats(batch));
  logits = carver->take<float>(batch * network.classes());
}

VisionNetwork::VisionNetwork(std::shared_ptr<const Model> model, std::shared_ptr<Backend> backend)
    : model_(std::move(model)), backend_(std::move(backend)) {}

VisionNetwork::~VisionNetwork() {
  backend_->release(tables_);
  backend_->release(scratch_);
}

Result<size_t> VisionNetwork::find_layout(const PatchStem& stem, size_t window, size_t stage) {
  for (size_t i = 0; i < layouts_.size(); ++i) {
    if (layouts_[i].is(stem.grid, stem.cls_count, window)) return i;
  }
  // A patch is looked at by the queries of at most 3 x 3 groups; each query has a bias for each row of keys.
  const double grid = stem.grid, side = window == 0 ? grid : std::min<double>(window, grid);
  if (std::max(9 * grid * grid, 3 * side * side * side) > kMostTableElements) {
    return fail(Error::kUnsupported, "stage %zu: %u x %u patches are too many", stage, stem.grid, stem.grid);
  }
  layouts_.emplace_back(stem.grid, stem.cls_count, window);
  return layouts_.size() - 1;
}

// Fills in everything that needs no memory of the backend.
Status VisionNetwork::prepare(const ClassifierOptions& options) {
  if (model_->family != "vil") {
    return fail(Error::kArgument, "a model of family '%s' does not classify images", model_->family.c_str());
  }
  if (options.max_batch < 1 || options.max_batch > 4096) {
    return fail(Error::kArgument, "max_batch is %zu, must be 1 to 4096", options.max_batch);
  }
  options_ = options;
  LSRT_ASSIGN(head_, HeadRunner::create(std::get<ClassifierHead>(model_->head), *backend_));
  workspace_bytes_ = head_->workspace_bytes(options.max_batch, options.threads);
  for (size_t i = 0; i < model_->stages.size(); ++i) LSRT_TRY(prepare_stage(model_->stages[i], i));
  return Status();
}

Status VisionNetwork::prepare_stage(const Stage& stage, size_t index) {
  StagePlan plan;
  plan.stem = &std::get<PatchStem>(stage.stem);
  plan.width = stage.width;
  plan.rows = plan.stem->cls_count + size_t{plan.stem->grid} * plan.stem->grid;
  LSRT_ASSIGN(plan.projection, backend_->prepare(plan.stem->projection));
  const size_t batch_rows = options_.max_batch * plan.rows;
  workspace_bytes_ = std::max(
      workspace_bytes_, backend_->linear_workspace_bytes(*plan.projection, batch_rows, options_.threads));
  for (size_t i = 0; i < stage.blocks.size(); ++i) {
    const Block& block = stage.blocks[i];
    if (block.residual != Residual::kPreNorm) {
      return fail(Error::kUnsupported, "stage %zu, block %zu: images need pre_norm residuals", index, i);
    }
    Layer layer{};
    layer.block = &block;
    Mixing& mixing = layer.mixing;
    auto common = [&](const auto& mixer, size_t window) -> Status {
      mixing.heads = mixer.heads, mixing.head_dim = mixer.head_dim;
      mixing.int8 = mixer.qkv.weight.type == DataType::kInt8;
      LSRT_ASSIGN(layer.qkv, backend_->prepare(mixer.qkv));
      LSRT_ASSIGN(layer.out, backend_->prepare(mixer.out));
      LSRT_ASSIGN(mixing.layout, find_layout(*plan.stem, window, index));
      mixing.biases = relative_biases(mixer, layouts_[mixing.layout]);
      return Status();
    };
    if (const auto* mixer = std::get_if<VisionLongShort>(&block.mixer)) {
      LSRT_TRY(common(*mixer, mixer->window));
      mixing.rank = mixer->rank;
      mixing.norm_keys = &mixer->norm_window;
      mixing.norm_summary = &mixer->norm_summary;
    } else {
      const auto& full = std::get<FullAttention>(block.mixer);
      LSRT_TRY(common(full, 0));
      mixing.norm_keys = &full.norm_keys;
    }
    LSRT_ASSIGN(layer.fc1, backend_->prepare(block.feed_forward.fc1));
    LSRT_ASSIGN(layer.fc2, backend_->prepare(block.feed_forward.fc2));
    workspace_bytes_ = std::max(workspace_bytes_, workspace_bytes(plan, layer));
    plan.layers.push_back(std::move(layer));
  }
  stages_.push_back(std::move(plan));
  return Status();
}

// An image's rows, then its landmarks.
KeyValueStore VisionNetwork::store_of(const StagePlan& stage, const Layer& layer) const {
  const Mixing& m = layer.mixing;
  return {m.heads, m.head_dim, stage.rows + m.rank, m.int8, nullptr};
}

Landmarks VisionNetwork::landmark_shape(const StagePlan& stage, const Layer& layer) const {
  Landmarks l{};
  l.heads = layer.mixing.heads, l.head_dim = layer.mixing.head_dim, l.rank = layer.mixing.rank;
  l.rows = stage.rows - stage.stem->cls_count;
  l.stride = layer.qkv->outputs;
  return l;
}

GroupedAttention VisionNetwork::attention_shape(const StagePlan& stage, const Layer& layer) const {
  const VisionLayout& layout = layouts_[layer.mixing.layout];
  GroupedAttention a{};
  a.store = store_of(stage, layer);
  a.query_stride = layer.qkv->outputs;
  a.global_first = stage.rows, a.globals = layer.mixing.rank;
  a.groups = layout.groups, a.group_queries = layout.group_queries, a.group_keys = layout.group_keys;
  a.bias_stride = layout.bias_floats(), a.bias_run = layout.span;
  a.out_stride = stage.width;
  return a;
}

size_t VisionNetwork::workspace_bytes(const StagePlan& stage, const Layer& layer) const {
  const size_t threads = options_.threads, rows = options_.max_batch * stage.rows;
  const Mixing& m = layer.mixing;
  size_t bytes = backend_->grouped_attention_workspace_bytes(attention_shape(stage, layer), threads);
  for (const Linear* linear : {layer.qkv, layer.out, layer.fc1, layer.fc2}) {
    bytes = std::max(bytes, backend_->linear_workspace_bytes(*linear, rows, threads));
  }
  if (m.rank) {
    bytes = std::max(bytes, backend_->landmarks_workspace_bytes(landmark_shape(stage, layer), threads));
  }
  ClsAttention cls{};
  cls.heads = m.heads, cls.head_dim = m.head_dim, cls.rows = stage.rows;
  return std::max(bytes, backend_->cls_attention_workspace_bytes(cls, threads));
}

// Index lists of all layouts and biases of all layers, one after another.
void VisionNetwork::place_tables(Carver* carver) {
  layout_tables_.clear();
  for (const VisionLayout& layout : layouts_) {
    Tables& tables = layout_tables_.emplace_back();
    tables.query_rows = carver->take<int32_t>(layout.query_rows.size());
    tables.key_rows = carver->take<int32_t>(layout.key_rows.size());
    tables.bias_offsets = carver->take<int32_t>(layout.bias_offsets.size());
  }
  for (StagePlan& stage : stages_) {
    for (Layer& layer : stage.layers) {
      const size_t count = layer.mixing.biases.size();
      layer.mixing.bias = count ? carver->take<float>(count) : nullptr;
    }
  }
}

Status VisionNetwork::upload() {
  auto copy = [&](const void* device, const auto& host) {
    backend_->copy_to_device(*stream_, const_cast<void*>(device), host.data(), host.size() * sizeof(host[0]));
  };
  for (size_t i = 0; i < layouts_.size(); ++i) {
    copy(layout_tables_[i].query_rows, layouts_[i].query_rows);
    copy(layout_tables_[i].key_rows, layouts_[i].key_rows);
    copy(layout_tables_[i].bias_offsets, layouts_[i].bias_offsets);
  }
  for (StagePlan& stage : stages_) {
    for (Layer& layer : stage.layers) {
      if (layer.mixing.bias) copy(layer.mixing.bias, layer.mixing.biases);
    }
  }
  LSRT_TRY(backend_->synchronize(*stream_));
  for (StagePlan& stage : stages_) {
    for (Layer& layer : stage.layers) std::vector<float>().swap(layer.mixing.biases);
  }
  return Status();
}

Result<size_t> VisionNetwork::plan(const Model& model, Backend& backend, const ClassifierOptions& options) {
  // The plan lives no longer than these references.
  VisionNetwork network(std::shared_ptr<const Model>(std::shared_ptr<void>(), &model),
                        std::shared_ptr<Backend>(std::shared_ptr<void>(), &backend));
  LSRT_TRY(network.prepare(options));
  Carver carver(nullptr);
  network.place_tables(&carver);
  Buffers buffers(network, &carver);
  return carver.used() + network.workspace_bytes_;
}

Result<std::unique_ptr<VisionNetwork>> VisionNetwork::create(std::shared_ptr<const Model> model,
                                                             std::shared_ptr<Backend> backend,
                                                             const ClassifierOptions& options) {
  std::unique_ptr<VisionNetwork> network(new VisionNetwork(std::move(model), std::move(backend)));
  LSRT_TRY(network->prepare(options));
  Backend& device = *network->backend_;
  Carver table_sizes(nullptr), scratch_sizes(nullptr);
  network->place_tables(&table_sizes);
  Buffers measured(*network, &scratch_sizes);
  LSRT_ASSIGN(network->tables_, device.allocate(table_sizes.used()));
  LSRT_ASSIGN(network->scratch_, device.allocate(scratch_sizes.used()));
  LSRT_ASSIGN(network->stream_, device.create_stream(options.threads, network->workspace_bytes_));
  Carver tables(network->tables_);
  network->place_tables(&tables);
  LSRT_TRY(network->upload());
  return network;
}

}  // namespace lsrt
