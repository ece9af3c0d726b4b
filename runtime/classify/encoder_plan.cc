// What an encoder needs before it runs: layers, extents of the largest document, memory.
#include <algorithm>
#include <new>
#include <numeric>

#include "runtime/classify/encoder_network.h"

namespace lsrt {

EncoderNetwork::~EncoderNetwork() { backend_.release(device_); }

Status EncoderNetwork::count(const ClassifierOptions& options) {
  if (model().family != Family::kEncoder) {
    return fail(Error::kArgument, "a model of family '%s' does not classify sequences",
                family_name(model().family));
  }
  if (!backend_.ops().grouped) {
    return fail(Error::kUnsupported, "backend '%s' has no attention in groups", backend_.info().name);
  }
  LSRT_TRY(stream_plan_.use_threads(options.threads));
  const SequenceInput& sequence = model().sequence;
  lead_ = sequence.cls_token ? 1 : 0;
  head_runner_ = std::make_unique<HeadRunner>(head(), backend_);
  head_runner_->plan(1, &stream_plan_);
  for (const Block& block : model().stages[0].blocks) {
    add_layer(block, lead_ && layers_.size() >= sequence.cls_from_block);
  }
  // The largest document.
  document_.positions = document_.rows = max_length();
  for (Grouping& grouping : groupings_) grouping.groups.count = grouping.groups.most(max_length());
  for (const Layer& layer : layers_) plan_layer(layer);
  Carver host(nullptr);
  DeviceCarver device;
  place(&host, &device);
  host_bytes_ = host.used();
  device_bytes_ = device.used();
  return {};
}

void EncoderNetwork::add_layer(const Block& block, bool cls) {
  Layer layer{};
  layer.cls = cls;
  layer.mixer = std::get_if<EncoderLongShort>(&block.mixer);
  if (layer.mixer) {
    layer.prepared = PreparedBlock::of(block, *layer.mixer);
    layer.prepared.rank = layer.mixer->rank;
    layer.prepared.norm_keys_view = &layer.mixer->norm_window;
    layer.prepared.norm_summary_view = &layer.mixer->norm_summary;
    const SequenceGroups groups(*layer.mixer);
    auto same = [&](const Grouping& g) { return g.groups.same_cut(groups); };
    layer.grouping = std::find_if(groupings_.begin(), groupings_.end(), same) - groupings_.begin();
    if (layer.grouping == groupings_.size()) groupings_.push_back({groups, nullptr, nullptr});
  } else {
    const auto& full = std::get<FullAttention>(block.mixer);
    layer.prepared = PreparedBlock::of(block, full);
    layer.prepared.norm_keys_view = &full.norm_keys;
  }
  layers_.push_back(layer);
}

void EncoderNetwork::plan_layer(const Layer& layer) {
  runner_.plan(layer.prepared, lead_ + max_length(), &stream_plan_);
  const GroupedOps& grouped = *backend_.ops().grouped;
  GroupedAttention attention = attention_extents(layer);
  grouped.plan(attention, &stream_plan_);
  attention.groups = 1;  // documents of one group are attended to in another way
  grouped.plan(attention, &stream_plan_);
  if (layer.cls) grouped.plan(cls_extents(layer), &stream_plan_);
}

// Places tables that are built on the host, and their twins and all activations on the device.
void EncoderNetwork::place(Carver* host, DeviceCarver* device) {
  const size_t length = max_length(), rows = lead_ + length;
  size_t qkv_width = 0, globals = 0, store_bytes = 0;
  bool convolution = false;
  for (const Layer& layer : layers_) {
    qkv_width = std::max(qkv_width, layer.prepared.qkv_width());
    globals = std::max(globals, 1 + layer.prepared.rank);
    store_bytes = std::max(store_bytes, backend_.ops().grouped->key_value_bytes(store_of(layer)));
    convolution = convolution || (layer.mixer && layer.mixer->kernel);
  }
  document_.row_at = host->take<int32_t>(rows);
  document_.position_of = host->take<int32_t>(length);
  for (Grouping& grouping : groupings_) {
    SequenceGroups& groups = grouping.groups;
    const size_t queries = groups.most(length) * groups.queries,
                 keys = groups.most(length) * groups.group_keys();
    groups.query_rows = host->take<int32_t>(queries);
    groups.key_rows = host->take<int32_t>(keys);
    grouping.query_rows = device->take<int32_t>(queries);
    grouping.key_rows = device->take<int32_t>(keys);
  }
  b_.tokens = device->take<int32_t>(length);
  b_.row_at = device->take<int32_t>(length);
  b_.position_of = device->take<int32_t>(length);
  b_.all_rows = device->take<int32_t>(rows);
  b_.x = device->take<float>(rows * width());
  b_.attention = device->take<float>(rows * width());
  b_.value = device->take<float>(convolution ? length * width() : 0);
  b_.store = device->take<uint8_t>(store_bytes);
  b_.global_key = device->take<float>(globals * width());
  b_.global_value = device->take<float>(globals * width());
  b_.cls_qkv = device->take<float>(qkv_width);
  runner_.place(device);
  b_.features = device->take<float>(documents() * width());
  b_.pair = device->take<float>(4 * width());
  b_.head = device->take<float>(head_runner_->scratch_floats(1));
  b_.logits = device->take<float>(classes());
}

// The document's rows (where the cls row is one of them, it is the first), then, from lead_ + max_length()
// on, the global rows.
KeyValueStore EncoderNetwork::store_of(const Layer& layer) const {
  KeyValueStore store = layer.prepared.store(lead_ + max_length() + 1 + layer.prepared.rank);
  store.memory = b_.store;
  return store;
}

GroupedAttention EncoderNetwork::attention_extents(const Layer& layer) const {
  GroupedAttention a{};
  a.store = store_of(layer);
  a.query_stride = a.out_stride = width();
  if (layer.mixer) {
    const SequenceGroups& groups = groupings_[layer.grouping].groups;
    a.global_first = lead_ + max_length();
    a.globals = layer.prepared.rank + (layer.cls ? 1 : 0);
    a.groups = groups.count, a.group_queries = groups.queries, a.group_keys = groups.group_keys();
  } else {
    a.groups = 1, a.group_queries = a.group_keys = document_.rows + (layer.cls ? 1 : 0);
  }
  return a;
}

ClsAttention EncoderNetwork::cls_extents(const Layer& layer) const {
  ClsAttention a{};
  a.heads = layer.prepared.heads, a.head_dim = layer.prepared.head_dim;
  a.rows = document_.rows, a.stride = width();
  return a;
}

Result<size_t> EncoderNetwork::plan(Backend& backend, const ClassifierOptions& options) {
  EncoderNetwork network(backend);
  LSRT_TRY(network.count(options));
  return network.bytes();
}

Result<std::unique_ptr<EncoderNetwork>> EncoderNetwork::create(std::shared_ptr<Backend> backend,
                                                               const ClassifierOptions& options) {
  std::unique_ptr<EncoderNetwork> network(new EncoderNetwork(*backend));
  network->owned_ = std::move(backend);
  LSRT_TRY(network->count(options));
  LSRT_TRY(within_budget(network->bytes(), options.max_bytes));
  LSRT_TRY(network->prepare());
  return network;
}

Status EncoderNetwork::prepare() {
  LSRT_TRY(head_runner_->prepare());
  embedding_ = backend_.tensor(stem().embedding);
  positions_ = backend_.weights_of(stem().positions.floats());
  cls_token_ = backend_.weights_of(model().sequence.cls_token);
  for (Layer& layer : layers_) {
    LSRT_TRY(layer.prepared.prepare(backend_));
    if (layer.mixer) layer.convolution = backend_.weights_of(layer.mixer->convolution);
  }
  host_.reset(new (std::nothrow) uint8_t[host_bytes_]);
  if (!host_) return fail(Error::kMemory, "cannot allocate %zu bytes", host_bytes_);
  LSRT_ASSIGN(device_, backend_.allocate(device_bytes_));
  LSRT_ASSIGN(stream_, backend_.create_stream(stream_plan_));
  Carver host(host_.get());
  DeviceCarver device(backend_, device_);
  place(&host, &device);
  const size_t rows = lead_ + max_length();
  std::iota(document_.row_at, document_.row_at + rows, 0);  // any table on the host will do
  backend_.copy_in(*stream_, b_.all_rows, document_.row_at, rows * sizeof(int32_t));
  return backend_.synchronize(*stream_);
}

}  // namespace lsrt
