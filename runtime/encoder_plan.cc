// What an encoder needs before it runs: layers, extents of the largest document, memory.
#include <algorithm>
#include <new>
#include <numeric>

#include "runtime/encoder_network.h"

namespace lsrt {
EncoderNetwork::~EncoderNetwork() { backend_->release(device_); }

// Fills everything that needs no memory: layers, groupings, sizes.
Status EncoderNetwork::prepare(const ClassifierOptions& options) {
  const Model& model = *model_;
  if (model.family != "encoder") {
    return fail(Error::kArgument, "a model of family '%s' does not classify sequences", model.family.c_str());
  }
  const SequenceInput& sequence = model.sequence;
  lead_ = sequence.cls_token ? 1 : 0;
  LSRT_ASSIGN(head_, HeadRunner::create(head(), *backend_));
  for (const Block& block : model.stages[0].blocks) {
    LSRT_TRY(add_layer(block, lead_ && layers_.size() >= sequence.cls_from_block));
  }
  // The largest document.
  document_.positions = document_.rows = max_length();
  for (Grouping& grouping : groupings_) grouping.groups.count = grouping.groups.most(max_length());
  workspace_bytes_ = head_->workspace_bytes(1, options.threads);
  for (const Layer& layer : layers_) {
    workspace_bytes_ = std::max(workspace_bytes_, layer_workspace_bytes(layer, options.threads));
  }
  Carver host(nullptr), device(nullptr);
  place(&host, &device);
  host_bytes_ = host.used();
  device_bytes_ = device.used();
  return Status();
}

Status EncoderNetwork::add_layer(const Block& block, bool cls) {
  if (block.residual != Residual::kPreNorm) {
    return fail(Error::kUnsupported, "block %zu has residual kind %u, encoders have pre_norm only",
                layers_.size(), static_cast<unsigned>(block.residual));
  }
  Layer layer{};
  layer.block = &block;
  layer.cls = cls;
  layer.mixer = std::get_if<EncoderLongShort>(&block.mixer);
  const LinearView *qkv, *out;
  if (layer.mixer) {
    const EncoderLongShort& mixer = *layer.mixer;
    layer.heads = mixer.heads, layer.head_dim = mixer.head_dim, layer.rank = mixer.rank;
    qkv = &mixer.qkv, out = &mixer.out;
    const SequenceGroups groups(mixer);
    auto same = [&](const Grouping& g) { return g.groups.same_cut(groups); };
    layer.grouping = std::find_if(groupings_.begin(), groupings_.end(), same) - groupings_.begin();
    if (layer.grouping == groupings_.size()) groupings_.push_back({groups, nullptr, nullptr});
  } else {
    const FullAttention& mixer = std::get<FullAttention>(block.mixer);
    layer.heads = mixer.heads, layer.head_dim = mixer.head_dim;
    qkv = &mixer.qkv, out = &mixer.out;
  }
  layer.int8 = qkv->weight.type == DataType::kInt8;
  LSRT_ASSIGN(layer.qkv, backend_->prepare(*qkv));
  LSRT_ASSIGN(layer.out, backend_->prepare(*out));
  LSRT_ASSIGN(layer.fc1, backend_->prepare(block.feed_forward.fc1));
  LSRT_ASSIGN(layer.fc2, backend_->prepare(block.feed_forward.fc2));
  layers_.push_back(layer);
  return Status();
}

size_t EncoderNetwork::layer_workspace_bytes(const Layer& layer, size_t threads) const {
  GroupedAttention attention = attention_extents(layer);
  size_t bytes = backend_->grouped_attention_workspace_bytes(attention, threads);
  attention.groups = 1;  // documents of one group are attended to in another way
  bytes = std::max(bytes, backend_->grouped_attention_workspace_bytes(attention, threads));
  for (const Linear* linear : {layer.qkv, layer.out, layer.fc1, layer.fc2}) {
    bytes = std::max(bytes, backend_->linear_workspace_bytes(*linear, kTileRows, threads));
  }
  if (layer.rank)
    bytes = std::max(bytes, backend_->landmarks_workspace_bytes(landmark_extents(layer, kTileRows), threads));
  if (layer.cls)
    bytes = std::max(bytes, backend_->cls_attention_workspace_bytes(cls_extents(layer), threads));
  return bytes;
}

// Places tables that are built on the host, and their twins and all activations on the device.
void EncoderNetwork::place(Carver* host, Carver* device) {
  const size_t length = max_length(), rows = lead_ + length;
  size_t qkv_width = 0, hidden_width = 0, globals = 0, store_bytes = 0, landmark_floats = 0;
  bool convolution = false;
  for (const Layer& layer : layers_) {
    qkv_width = std::max(qkv_width, layer.qkv->outputs);
    hidden_width = std::max(hidden_width, layer.fc1->outputs);
    globals = std::max(globals, 1 + layer.rank);
    store_bytes = std::max(store_bytes, backend_->key_value_bytes(store_of(layer)));
    landmark_floats = std::max(landmark_floats, landmark_extents(layer, 0).running_floats());
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
  const size_t tile = std::min(kTileRows, rows);
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
  b_.landmark_state = device->take<float>(landmark_floats);
  b_.cls_qkv = device->take<float>(qkv_width);
  b_.normed = device->take<float>(tile * width());
  b_.qkv = device->take<float>(tile * qkv_width);
  b_.mixed = device->take<float>(tile * width());
  b_.hidden = device->take<float>(tile * hidden_width);
  b_.features = device->take<float>(documents() * width());
  b_.pair = device->take<float>(4 * width());
  b_.head = device->take<float>(head_->scratch_floats(1));
  b_.logits = device->take<float>(classes());
}

// The document's rows (where the cls row is one of them, it is the first), then, from lead_ + max_length()
// on, the global rows.
KeyValueStore EncoderNetwork::store_of(const Layer& layer) const {
  return {layer.heads, layer.head_dim, lead_ + max_length() + 1 + layer.rank, layer.int8, b_.store};
}

GroupedAttention EncoderNetwork::attention_extents(const Layer& layer) const {
  GroupedAttention a{};
  a.store = store_of(layer);
  a.query_stride = a.out_stride = width();
  if (layer.mixer) {
    const SequenceGroups& groups = groupings_[layer.grouping].groups;
    a.global_first = lead_ + max_length();
    a.globals = layer.rank + (layer.cls ? 1 : 0);
    a.groups = groups.count, a.group_queries = groups.queries, a.group_keys = groups.group_keys();
  } else {
    a.groups = 1, a.group_queries = a.group_keys = document_.rows + (layer.cls ? 1 : 0);
  }
  return a;
}

Landmarks EncoderNetwork::landmark_extents(const Layer& layer, size_t rows) const {
  Landmarks l{};
  l.heads = layer.heads, l.head_dim = layer.head_dim;
  l.rank = layer.rank, l.rows = rows, l.stride = layer.qkv->outputs;
  return l;
}

ClsAttention EncoderNetwork::cls_extents(const Layer& layer) const {
  ClsAttention a{};
  a.heads = layer.heads, a.head_dim = layer.head_dim;
  a.rows = document_.rows, a.stride = width();
  return a;
}

Result<size_t> EncoderNetwork::plan(const Model& model, Backend& backend, const ClassifierOptions& options) {
  // The plan lives no longer than these references.
  EncoderNetwork network(std::shared_ptr<const Model>(std::shared_ptr<void>(), &model),
                         std::shared_ptr<Backend>(std::shared_ptr<void>(), &backend));
  LSRT_TRY(network.prepare(options));
  return network.host_bytes_ + network.device_bytes_ + network.workspace_bytes_;
}

Result<std::unique_ptr<EncoderNetwork>> EncoderNetwork::create(std::shared_ptr<const Model> model,
                                                               std::shared_ptr<Backend> backend,
                                                               const ClassifierOptions& options) {
  std::unique_ptr<EncoderNetwork> network(new EncoderNetwork(std::move(model), std::move(backend)));
  LSRT_TRY(network->prepare(options));
  LSRT_TRY(network->allocate(options.threads));
  return network;
}

Status EncoderNetwork::allocate(size_t threads) {
  host_.reset(new (std::nothrow) uint8_t[host_bytes_]);
  if (!host_) return fail(Error::kMemory, "cannot allocate %zu bytes", host_bytes_);
  LSRT_ASSIGN(device_, backend_->allocate(device_bytes_));
  LSRT_ASSIGN(stream_, backend_->create_stream(threads, workspace_bytes_));
  Carver host(host_.get()), device(device_);
  place(&host, &device);
  const size_t rows = lead_ + max_length();
  std::iota(document_.row_at, document_.row_at + rows, 0);  // any table on the host will do
  backend_->copy_to_device(*stream_, b_.all_rows, document_.row_at, rows * sizeof(int32_t));
  return backend_->synchronize(*stream_);
}

}  // namespace lsrt
