// What an encoder of slides needs before it runs: layers, memory.
#include <algorithm>
#include <new>

#include "runtime/classify/slide_network.h"

namespace lsrt {

SlideNetwork::~SlideNetwork() { backend_.release(device_); }

Status SlideNetwork::count(const SlideOptions& options) {
  if (model().family != Family::kSlide) {
    return fail(Error::kArgument, "a model of family '%s' does not embed slides",
                family_name(model().family));
  }
  if (options.max_tiles < 1 || options.max_tiles > kMaxStreamTokens) {
    return fail(Error::kArgument, "max_tiles is %zu, must be 1 to %u", options.max_tiles, kMaxStreamTokens);
  }
  if (!backend_.ops().grouped) {
    return fail(Error::kUnsupported, "backend '%s' has no attention in groups", backend_.info().name);
  }
  options_ = options;
  LSRT_TRY(stream_plan_.use_threads(options.threads));
  backend_.ops().linear->plan(stem().projection, stem_rows(), &stream_plan_);
  for (const Block& block : model().stages[0].blocks) {
    const auto& mixer = std::get<DilatedAttention>(block.mixer);
    layers_.push_back({PreparedBlock::of(block, mixer), DilatedGroups(mixer)});
    const Layer& layer = layers_.back();
    runner_.plan(layer.prepared, most_rows(), &stream_plan_);
    GroupedAttention attention = attention_of(layer);
    for (const size_t groups : {size_t{1}, layer.groups.most_groups()}) {  // computed in two ways
      attention.groups = groups;
      backend_.ops().grouped->plan(attention, &stream_plan_);
    }
  }
  Carver host(nullptr);
  DeviceCarver device;
  place(&host, &device);
  host_bytes_ = host.used();
  device_bytes_ = device.used();
  return {};
}

void SlideNetwork::place(Carver* host, DeviceCarver* device) {
  size_t store_bytes = 0, indices = 0;
  for (const Layer& layer : layers_) {
    store_bytes = std::max(store_bytes, backend_.ops().grouped->key_value_bytes(store_of(layer)));
    indices = std::max(indices, layer.groups.most_indices(most_rows()));
  }
  cells_ = host->take<int32_t>(2 * max_tiles());
  lists_.seen_by = host->take<uint8_t>(most_rows());
  lists_.indices = host->take<int32_t>(indices);
  b_.tiles = device->take<float>(stem_rows() * features());
  b_.embedded = device->take<float>(stem_rows() * width());
  b_.cells = device->take<int32_t>(2 * max_tiles());
  b_.x = device->take<float>(most_rows() * width());
  b_.attention = device->take<float>(most_rows() * width());
  b_.store = device->take<uint8_t>(store_bytes);
  b_.zeros = device->take<float>(width());
  b_.indices = device->take<int32_t>(indices);
  runner_.place(device);
  b_.embedding = device->take<float>(width());
}

KeyValueStore SlideNetwork::store_of(const Layer& layer) const {
  KeyValueStore store = layer.prepared.store(most_rows() + 1);
  store.memory = b_.store;
  return store;
}

// Extents of the largest launch, without rows.
GroupedAttention SlideNetwork::attention_of(const Layer& layer) const {
  GroupedAttention a{};
  a.store = store_of(layer);
  a.some_heads = layer.groups.most_heads();
  a.query_stride = a.out_stride = width();
  a.groups = 1;
  a.group_queries = layer.groups.most_queries(most_rows());
  a.group_keys = layer.groups.most_keys(most_rows());
  return a;
}

Result<size_t> SlideNetwork::plan(Backend& backend, const SlideOptions& options) {
  SlideNetwork network(backend);
  LSRT_TRY(network.count(options));
  return network.bytes();
}

Result<std::unique_ptr<SlideNetwork>> SlideNetwork::create(std::shared_ptr<Backend> backend,
                                                           const SlideOptions& options) {
  std::unique_ptr<SlideNetwork> network(new SlideNetwork(*backend));
  network->owned_ = std::move(backend);
  LSRT_TRY(network->count(options));
  LSRT_TRY(within_budget(network->bytes(), options.max_bytes));
  LSRT_TRY(network->prepare());
  return network;
}

Status SlideNetwork::prepare() {
  LSRT_ASSIGN(projection_, backend_.prepare(stem().projection));
  positions_ = backend_.tensor(stem().positions);
  cls_token_ = backend_.weights_of(stem().cls_token);
  norm_ = backend_.norm(head().norm);
  output_norm_ = backend_.norm(head().output_norm);
  for (Layer& layer : layers_) LSRT_TRY(layer.prepared.prepare(backend_));
  host_.reset(new (std::nothrow) uint8_t[host_bytes_]);
  if (!host_) return fail(Error::kMemory, "cannot allocate %zu bytes", host_bytes_);
  LSRT_ASSIGN(device_, backend_.allocate(device_bytes_));
  LSRT_ASSIGN(stream_, backend_.create_stream(stream_plan_));
  Carver host(host_.get());
  DeviceCarver device(backend_, device_);
  place(&host, &device);
  return backend_.synchronize(*stream_);
}

}  // namespace lsrt
