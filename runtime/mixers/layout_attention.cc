#include "runtime/mixers/layout_attention.h"

#include <algorithm>

namespace lsrt {
namespace {

template <typename T>
void copy(Backend& backend, Stream& stream, Dev<T> device, const std::vector<T>& host) {
  backend.copy_in(stream, device, host.data(), host.size() * sizeof(T));
}

}  // namespace

const VisionLayouts::Placed& VisionLayouts::share(const VisionLayout& layout) {
  const auto same = [&](const Placed& placed) { return placed.layout == layout; };
  const auto found = std::find_if(layouts_.begin(), layouts_.end(), same);
  if (found != layouts_.end()) return *found;
  return layouts_.emplace_back(Placed{layout, nullptr, nullptr, nullptr});
}

void VisionLayouts::place(DeviceCarver* carver) {
  for (Placed& placed : layouts_) {
    placed.query_rows = carver->take<int32_t>(placed.layout.query_row_count());
    placed.key_rows = carver->take<int32_t>(placed.layout.key_row_count());
    placed.bias_offsets = carver->take<int32_t>(placed.layout.bias_offset_count());
  }
}

void VisionLayouts::make_tables(Backend& backend, Stream& stream) {
  for (const Placed& placed : layouts_) {
    const LayoutTables tables = placed.layout.tables();
    copy(backend, stream, placed.query_rows, tables.query_rows);
    copy(backend, stream, placed.key_rows, tables.key_rows);
    copy(backend, stream, placed.bias_offsets, tables.bias_offsets);
  }
}

GroupedAttention LayoutAttention::shape(const KeyValueStore& store, size_t globals) const {
  const VisionLayout& l = layout();
  GroupedAttention a{};
  a.store = store;
  a.query_stride = a.out_stride = store.width();
  a.global_first = l.rows(), a.globals = globals;
  a.groups = l.groups, a.group_queries = l.group_queries, a.group_keys = l.group_keys;
  a.bias_stride = l.bias_floats(), a.bias_run = l.span;
  return a;
}

void LayoutAttention::plan(const KeyValueStore& store, size_t globals, StreamPlan* plan) const {
  backend_.ops().grouped->plan(shape(store, globals), plan);
}

void LayoutAttention::place_tables(const KeyValueStore& store, DeviceCarver* carver) {
  if (biased_) bias_ = carver->take<float>(store.heads * layout().bias_floats());
}

void LayoutAttention::make_tables(Stream& stream, const std::vector<float>& biases) const {
  if (biased_) copy(backend_, stream, bias_, biases);
}

void LayoutAttention::attend(Stream& stream, const KeyValueStore& store, size_t globals,
                             Dev<float> rows) const {
  GroupedAttention a = shape(store, globals);
  a.query = a.out = rows;
  a.query_rows = placed_.query_rows;
  a.key_rows = placed_.key_rows;
  a.bias = bias_;
  a.bias_offsets = placed_.bias_offsets;
  backend_.ops().grouped->attend(stream, a);
}

}  // namespace lsrt
