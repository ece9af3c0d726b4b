// What a vision network needs, and its creation.
#include <algorithm>

#include "runtime/vision_network.h"

namespace lsrt {
namespace {

// Beyond this, an index list is the work of a broken model.
constexpr double kMostTableElements = 1 << 30;

}  // namespace

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
  workspace_bytes_ = std::max(
      workspace_bytes_, backend_->linear_workspace_bytes(*plan.projection, plan.rows, options_.threads));
  for (size_t i = 0; i < stage.blocks.size(); ++i) {
    const Block& block = stage.blocks[i];
    if (block.residual != Residual::kPreNorm) {
      return fail(Error::kUnsupported, "stage %zu, block %zu: images need pre_norm residuals", index, i);
    }
    Layer layer{};
    auto common = [&](const auto& mixer, size_t window) -> Status {
      LSRT_ASSIGN(layer.prepared, PreparedBlock::prepare(*backend_, block, mixer));
      LSRT_ASSIGN(layer.layout, find_layout(*plan.stem, window, index));
      layer.biases = relative_biases(mixer, layouts_[layer.layout]);
      return Status();
    };
    if (const auto* mixer = std::get_if<VisionLongShort>(&block.mixer)) {
      LSRT_TRY(common(*mixer, mixer->window));
      layer.prepared.rank = mixer->rank;
      layer.norm_keys = &mixer->norm_window;
      layer.norm_summary = &mixer->norm_summary;
    } else {
      const auto& full = std::get<FullAttention>(block.mixer);
      LSRT_TRY(common(full, 0));
      layer.norm_keys = &full.norm_keys;
    }
    runner_.reserve(*backend_, layer.prepared, plan.rows, options_.threads);
    workspace_bytes_ = std::max({workspace_bytes_, runner_.workspace_bytes(), workspace_bytes(plan, layer)});
    plan.layers.push_back(std::move(layer));
  }
  stages_.push_back(std::move(plan));
  return Status();
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

size_t VisionNetwork::workspace_bytes(const StagePlan& stage, const Layer& layer) const {
  const size_t threads = options_.threads;
  return std::max(backend_->grouped_attention_workspace_bytes(attention_shape(stage, layer), threads),
                  backend_->cls_attention_workspace_bytes(cls_shape(stage, layer), threads));
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
      const size_t count = layer.biases.size();
      layer.bias = count ? carver->take<float>(count) : nullptr;
    }
  }
}

// All activations, one after another.
void VisionNetwork::place_buffers(Carver* carver) {
  const size_t batch = options_.max_batch, size = image_size();
  size_t image_floats = 0, widest = 0, landmark_floats = 0, patch_floats = 0, store_bytes = 0;
  for (const StagePlan& stage : stages_) {
    const size_t patches = size_t{stage.stem->grid} * stage.stem->grid;
    widest = std::max(widest, stage.width);
    image_floats = std::max(image_floats, stage.rows * stage.width);
    patch_floats = std::max(patch_floats, patches * stage.patch_floats());
    for (const Layer& layer : stage.layers) {
      landmark_floats = std::max(landmark_floats, layer.prepared.rank * stage.width);
      store_bytes = std::max(store_bytes, backend_->key_value_bytes(store_of(stage, layer)));
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
      if (layer.bias) copy(layer.bias, layer.biases);
    }
  }
  LSRT_TRY(backend_->synchronize(*stream_));
  for (StagePlan& stage : stages_) {
    for (Layer& layer : stage.layers) std::vector<float>().swap(layer.biases);
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
  network.place_buffers(&carver);
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
  network->place_buffers(&scratch_sizes);
  LSRT_ASSIGN(network->tables_, device.allocate(table_sizes.used()));
  LSRT_ASSIGN(network->scratch_, device.allocate(scratch_sizes.used()));
  LSRT_ASSIGN(network->stream_, device.create_stream(options.threads, network->workspace_bytes_));
  Carver tables(network->tables_), scratch(network->scratch_);
  network->place_tables(&tables);
  network->place_buffers(&scratch);
  LSRT_TRY(network->upload());
  return network;
}

}  // namespace lsrt
