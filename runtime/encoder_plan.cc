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
    runner_.reserve(*backend_, layer.prepared, lead_ + max_length(), options.threads);
    workspace_bytes_ = std::max(workspace_bytes_, layer_workspace_bytes(layer, options.threads));
  }
  workspace_bytes_ = std::max(workspace_bytes_, runner_.workspace_bytes());
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
  layer.cls = cls;
  layer.mixer = std::get_if<EncoderLongShort>(&block.mixer);
  if (layer.mixer) {
    LSRT_ASSIGN(layer.prepared, PreparedBlock::prepare(*backend_, block, *layer.mixer));
    layer.prepared.rank = layer.mixer->rank;
    const SequenceGroups groups(*layer.mixer);
    auto same = [&](const Grouping& g) { return g.groups.same_cut(groups); };
    layer.grouping = std::find_if(groupings_.begin(), groupings_.end(), same) - groupings_.begin();
    if (layer.grouping == groupings_.size()) groupings_.push_back({groups, nullptr, nullptr});
  } else {
    LSRT_ASSIGN(layer.prepared,
                PreparedBlock::prepare(*backend_, block, std::get<FullAttention>(block.mixer)));
  }
  layers_.push_back(layer);
  return Status();
}

size_t EncoderNetwork::layer_workspace_bytes(const Layer& layer, size_t threads) const {
  GroupedAttention attention = attention_extents(layer);
  size_t bytes = backend_->grouped_attention_workspace_bytes(attention, threads);
  attention.groups = 1;  // documents of one group are attended to in another way
  bytes = std::max(bytes, backend_->grouped_attention_workspace_bytes(attention, threads));
  if (layer.cls)
    bytes = std::max(bytes, backend_->cls_attention_workspace_bytes(cls_extents(layer), threads));
  return bytes;
}

// Places tables that are built on the host, and their twins and all activations on the device.
void EncoderNetwork::place(Carver* host, Carver* device) {
  const size_t length = max_length(), rows = lead_ + length;
  size_t qkv_width = 0, globals = 0, store_bytes = 0;
  bool convolution = false;
  for (const Layer& layer : layers_) {
    qkv_width = std::max(qkv_width, layer.prepared.qkv->outputs);
    globals = std::max(globals, 1 + layer.prepared.rank);
    store_bytes = std::max(store_bytes, backend_->key_value_bytes(store_of(layer)));
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
  b_.head = device->take<float>(head_->scratch_floats(1));
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
