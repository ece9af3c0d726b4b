// What a vision network needs, and its creation.
#include <algorithm>

#include "runtime/classify/vision_network.h"

namespace lsrt {
VisionNetwork::~VisionNetwork() {
  backend_.release(tables_);
  backend_.release(scratch_);
}

Status VisionNetwork::count(const ClassifierOptions& options) {
  if (model().family != Family::kVil) {
    return fail(Error::kArgument, "a model of family '%s' does not classify images",
                family_name(model().family));
  }
  if (options.max_batch < 1 || options.max_batch > 4096) {
    return fail(Error::kArgument, "max_batch is %zu, must be 1 to 4096", options.max_batch);
  }
  if (!backend_.ops().image) {
    return fail(Error::kUnsupported, "backend '%s' has no images", backend_.info().name);
  }
  options_ = options;
  LSRT_TRY(stream_plan_.use_threads(options.threads));
  head_ = std::make_unique<HeadRunner>(std::get<ClassifierHead>(model().head), backend_);
  head_->plan(options.max_batch, &stream_plan_);
  for (const Stage& stage : model().stages) LSRT_TRY(count_stage(stage));
  DeviceCarver tables, scratch;
  place_tables(&tables);
  place_buffers(&scratch);
  table_bytes_ = tables.used();
  scratch_bytes_ = scratch.used();
  return {};
}

Status VisionNetwork::count_stage(const Stage& stage) {
  StagePlan plan{};
  plan.stem = &std::get<PatchStem>(stage.stem);
  plan.extents = {stage.width, plan.stem->grid, plan.stem->cls_count};
  backend_.ops().linear->plan(plan.stem->projection, plan.extents.rows(), &stream_plan_);
  for (const Block& block : stage.blocks) {
    LSRT_ASSIGN(auto layer, ImageLayer::create(block, plan.extents, backend_, layouts_));
    layer->plan(&stream_plan_);
    plan.layers.push_back(std::move(layer));
  }
  stages_.push_back(std::move(plan));
  return {};
}

void VisionNetwork::place_tables(DeviceCarver* carver) {
  layouts_.place(carver);
  for (StagePlan& stage : stages_) {
    for (auto& layer : stage.layers) layer->place_tables(carver);
  }
}

// All activations, one after another; then the scratch of stems and layers, each at the same place.
void VisionNetwork::place_buffers(DeviceCarver* carver) {
  const size_t batch = options_.max_batch, size = image_size();
  b_.image_floats = 0;
  for (const StagePlan& stage : stages_) b_.image_floats = std::max(b_.image_floats, stage.floats());
  b_.images = carver->take<float>(batch * 3 * size * size);
  b_.x = carver->take<float>(batch * b_.image_floats);
  b_.features = carver->take<float>(batch * stages_.back().extents.width);
  b_.head_scratch = carver->take<float>(head_->scratch_floats(batch));
  b_.logits = carver->take<float>(batch * classes());
  DeviceCarver largest = *carver;
  const auto share = [&](const auto& place) {
    DeviceCarver own = carver->shared();
    place(&own);
    if (own.used() > largest.used()) largest = own;
  };
  for (StagePlan& stage : stages_) {
    const size_t patches = size_t{stage.stem->grid} * stage.stem->grid;
    share([&](DeviceCarver* own) {
      stage.patches = own->take<float>(patches * stage.patch_floats());
      stage.embedded = own->take<float>(patches * stage.extents.width);
    });
    for (auto& layer : stage.layers) share([&](DeviceCarver* own) { layer->place_scratch(own); });
  }
  *carver = largest;
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
    for (auto& layer : stage.layers) LSRT_TRY(layer->prepare());
  }
  LSRT_ASSIGN(tables_, backend_.allocate(table_bytes_));
  LSRT_ASSIGN(scratch_, backend_.allocate(scratch_bytes_));
  LSRT_ASSIGN(stream_, backend_.create_stream(stream_plan_));
  DeviceCarver tables(backend_, tables_), scratch(backend_, scratch_);
  place_tables(&tables);
  place_buffers(&scratch);
  layouts_.make_tables(backend_, *stream_);
  for (StagePlan& stage : stages_) {
    for (auto& layer : stage.layers) layer->make_tables(*stream_);
  }
  return backend_.synchronize(*stream_);
}

}  // namespace lsrt
