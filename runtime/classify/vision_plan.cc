// What a vision network needs, and its creation.
#include <algorithm>

#include "runtime/classify/vision_network.h"

namespace lsrt {
VisionNetwork::~VisionNetwork() {
  backend_.release(tables_);
  backend_.release(scratch_);
}

size_t VisionNetwork::find_layout(const PatchStem& stem, size_t window) {
  for (size_t i = 0; i < layouts_.size(); ++i) {
    if (layouts_[i].is(stem.grid, stem.cls_count, window)) return i;
  }
  layouts_.emplace_back(stem.grid, stem.cls_count, window);
  return layouts_.size() - 1;
}

Status VisionNetwork::count(const ClassifierOptions& options) {
  if (model().family != Family::kVil) {
    return fail(Error::kArgument, "a model of family '%s' does not classify images",
                family_name(model().family));
  }
  if (options.max_batch < 1 || options.max_batch > 4096) {
    return fail(Error::kArgument, "max_batch is %zu, must be 1 to 4096", options.max_batch);
  }
  if (!backend_.ops().grouped || !backend_.ops().image) {
    return fail(Error::kUnsupported, "backend '%s' has no attention in groups or no images",
                backend_.info().name);
  }
  options_ = options;
  stream_plan_.threads = options.threads;
  head_ = std::make_unique<HeadRunner>(std::get<ClassifierHead>(model().head), backend_);
  head_->plan(options.max_batch, &stream_plan_);
  for (const Stage& stage : model().stages) count_stage(stage);
  DeviceCarver tables, scratch;
  place_tables(&tables);
  place_buffers(&scratch);
  table_bytes_ = tables.used();
  scratch_bytes_ = scratch.used();
  return {};
}

void VisionNetwork::count_stage(const Stage& stage) {
  StagePlan plan{};
  plan.stem = &std::get<PatchStem>(stage.stem);
  plan.width = stage.width;
  plan.rows = plan.stem->cls_count + size_t{plan.stem->grid} * plan.stem->grid;
  backend_.ops().linear->plan(plan.stem->projection, plan.rows, &stream_plan_);
  for (const Block& block : stage.blocks) {
    Layer layer{};
    layer.mixer = &block.mixer;
    auto common = [&](const auto& mixer, size_t window) {
      layer.prepared = PreparedBlock::of(block, mixer);
      layer.layout = find_layout(*plan.stem, window);
      layer.bias_count = bias_count(mixer, layouts_[layer.layout]);
    };
    if (const auto* mixer = std::get_if<VisionLongShort>(&block.mixer)) {
      common(*mixer, mixer->window);
      layer.prepared.rank = mixer->rank;
      layer.prepared.norm_keys_view = &mixer->norm_window;
      layer.prepared.norm_summary_view = &mixer->norm_summary;
    } else {
      const auto& full = std::get<FullAttention>(block.mixer);
      common(full, 0);
      layer.prepared.norm_keys_view = &full.norm_keys;
    }
    runner_.plan(layer.prepared, plan.rows, &stream_plan_);
    backend_.ops().grouped->plan(attention_shape(plan, layer), &stream_plan_);
    backend_.ops().grouped->plan(cls_shape(plan, layer), &stream_plan_);
    plan.layers.push_back(std::move(layer));
  }
  stages_.push_back(std::move(plan));
}

// An image's rows, then its landmarks.
KeyValueStore VisionNetwork::store_of(const StagePlan& stage, const Layer& layer) const {
  return layer.prepared.store(stage.rows + layer.prepared.rank);
}

GroupedAttention VisionNetwork::attention_shape(const StagePlan& stage, const Layer& layer) const {
  const VisionLayout& layout = layouts_[layer.layout];
  GroupedAttention a{};
  a.store = store_of(stage, layer);
  a.query_stride = a.out_stride = stage.width;
  a.global_first = stage.rows, a.globals = layer.prepared.rank;
  a.groups = layout.groups, a.group_queries = layout.group_queries, a.group_keys = layout.group_keys;
  a.bias_stride = layout.bias_floats(), a.bias_run = layout.span;
  return a;
}

ClsAttention VisionNetwork::cls_shape(const StagePlan& stage, const Layer& layer) const {
  ClsAttention a{};
  a.heads = layer.prepared.heads, a.head_dim = layer.prepared.head_dim;
  a.rows = stage.rows - stage.stem->cls_count, a.stride = stage.width;
  return a;
}

// Index lists of all layouts and biases of all layers, one after another.
void VisionNetwork::place_tables(DeviceCarver* carver) {
  layout_tables_.clear();
  for (const VisionLayout& layout : layouts_) {
    Tables& tables = layout_tables_.emplace_back();
    tables.query_rows = carver->take<int32_t>(layout.query_row_count());
    tables.key_rows = carver->take<int32_t>(layout.key_row_count());
    tables.bias_offsets = carver->take<int32_t>(layout.bias_offset_count());
  }
  for (StagePlan& stage : stages_) {
    for (Layer& layer : stage.layers) {
      if (layer.bias_count) layer.bias = carver->take<float>(layer.bias_count);
    }
  }
}

// All activations, one after another.
void VisionNetwork::place_buffers(DeviceCarver* carver) {
  const size_t batch = options_.max_batch, size = image_size();
  size_t image_floats = 0, widest = 0, landmark_floats = 0, patch_floats = 0, store_bytes = 0;
  for (const StagePlan& stage : stages_) {
    const size_t patches = size_t{stage.stem->grid} * stage.stem->grid;
    widest = std::max(widest, stage.width);
    image_floats = std::max(image_floats, stage.rows * stage.width);
    patch_floats = std::max(patch_floats, patches * stage.patch_floats());
    for (const Layer& layer : stage.layers) {
      landmark_floats = std::max(landmark_floats, layer.prepared.rank * stage.width);
      store_bytes = std::max(store_bytes, backend_.ops().grouped->key_value_bytes(store_of(stage, layer)));
    }
  }
  b_.image_floats = image_floats;
  b_.images = carver->take<float>(batch * 3 * size * size);
  b_.x = carver->take<float>(batch * image_floats);
  b_.attention = carver->take<float>(image_floats);
  b_.patches = carver->take<float>(patch_floats);
  b_.store = carver->take<uint8_t>(store_bytes);
  b_.cls_key_value = carver->take<float>(2 * widest);
  b_.landmark_key = carver->take<float>(landmark_floats);
  b_.landmark_value = carver->take<float>(landmark_floats);
  b_.features = carver->take<float>(batch * stages_.back().width);
  b_.head_scratch = carver->take<float>(head_->scratch_floats(batch));
  b_.logits = carver->take<float>(batch * classes());
  runner_.place(carver);
}

// Builds the tables of one layout or layer at a time.
Status VisionNetwork::upload() {
  const auto copy = [&](Dev<void> device, const auto& host) {
    backend_.copy_in(*stream_, device, host.data(), host.size() * sizeof(host[0]));
  };
  for (size_t i = 0; i < layouts_.size(); ++i) {
    const LayoutTables tables = layouts_[i].tables();
    copy(layout_tables_[i].query_rows, tables.query_rows);
    copy(layout_tables_[i].key_rows, tables.key_rows);
    copy(layout_tables_[i].bias_offsets, tables.bias_offsets);
  }
  for (const StagePlan& stage : stages_) {
    for (const Layer& layer : stage.layers) {
      if (!layer.bias) continue;
      const VisionLayout& layout = layouts_[layer.layout];
      const auto* window = std::get_if<VisionLongShort>(layer.mixer);
      copy(layer.bias, window ? relative_biases(*window, layout)
                              : relative_biases(std::get<FullAttention>(*layer.mixer), layout));
    }
  }
  return backend_.synchronize(*stream_);
}

Result<size_t> VisionNetwork::plan(Backend& backend, const ClassifierOptions& options) {
  VisionNetwork network(backend);
  LSRT_TRY(network.count(options));
  return network.bytes();
}

Result<std::unique_ptr<VisionNetwork>> VisionNetwork::create(std::shared_ptr<Backend> backend,
                                                             const ClassifierOptions& options) {
  std::unique_ptr<VisionNetwork> network(new VisionNetwork(*backend));
  network->owned_ = std::move(backend);
  LSRT_TRY(network->count(options));
  LSRT_TRY(within_budget(network->bytes(), options.max_bytes));
  LSRT_TRY(network->prepare());
  return network;
}

Status VisionNetwork::prepare() {
  LSRT_TRY(head_->prepare());
  for (StagePlan& stage : stages_) {
    LSRT_ASSIGN(stage.projection, backend_.prepare(stage.stem->projection));
    stage.norm = backend_.norm(stage.stem->norm);
    stage.cls_tokens = backend_.weights_of(stage.stem->cls_tokens);
    stage.positions = backend_.weights_of(stage.stem->positions);
    for (Layer& layer : stage.layers) LSRT_TRY(layer.prepared.prepare(backend_));
  }
  LSRT_ASSIGN(tables_, backend_.allocate(table_bytes_));
  LSRT_ASSIGN(scratch_, backend_.allocate(scratch_bytes_));
  LSRT_ASSIGN(stream_, backend_.create_stream(stream_plan_));
  DeviceCarver tables(backend_, tables_), scratch(backend_, scratch_);
  place_tables(&tables);
  place_buffers(&scratch);
  return upload();
}

}  // namespace lsrt
