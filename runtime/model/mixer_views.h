// What a block may hold to mix its rows: hyper-parameters, and where the weights lie. One struct for each
// line of mixers.inc; the schema tells what each computes.
//
//   fits(family)        whether models of this family can hold it
//   for_each_array(f)   f(what it is for, its data) for all arrays but norms and the biases of linear layers;
//                       the data is null where the model has none
//   for_each_linear(f)  f(layer) for the linear layers that every row passes
#pragma once

#include <algorithm>

#include "runtime/model/family.h"
#include "runtime/model/limits.h"
#include "runtime/model/views.h"

namespace lsrt {

struct CausalLongShort {
  uint32_t heads = 0, head_dim = 0, window = 0, chunk = 0, rank = 0;
  int32_t position_clamp = -1, chunk_position_clamp = -1;
  LinearView qkv, out;
  const float* content_bias = nullptr;   // [heads, head_dim]
  const float* position_bias = nullptr;  // [heads, head_dim]
  NormView norm_window, norm_summary;
  TensorView window_positions;           // [heads, window, head_dim], none if window is 0
  TensorView chunk_positions;            // [heads, n, head_dim], none if rank is 0
  LinearView chunk_position_projection;  // empty if rank is 0

  static constexpr bool fits(Family family) { return family == Family::kLm; }
  template <typename F>
  void for_each_array(const F& f) const {
    f("attention", qkv.weight.data);
    f("attention", out.weight.data);
    f("positions", window_positions.data);
    f("positions", chunk_positions.data);
    f("positions", chunk_position_projection.weight.data);
    f("positions", content_bias);
    f("positions", position_bias);
  }
  template <typename F>
  void for_each_linear(const F& f) const {
    f(qkv), f(out);
  }
};

struct EncoderLongShort {
  uint32_t heads = 0, head_dim = 0, window = 0, rank = 0, kernel = 0;
  LinearView qkv, out;
  NormView norm_window, norm_summary;
  const float* convolution = nullptr;  // [heads, kernel] or null

  static constexpr bool fits(Family family) { return family == Family::kEncoder; }
  template <typename F>
  void for_each_array(const F& f) const {
    f("attention", qkv.weight.data);
    f("attention", out.weight.data);
    f("attention", convolution);
  }
  template <typename F>
  void for_each_linear(const F& f) const {
    f(qkv), f(out);
  }
};

struct VisionLongShort {
  uint32_t heads = 0, head_dim = 0, window = 0, rank = 0;
  LinearView qkv, out;
  NormView norm_window, norm_summary;
  const float* relative_bias = nullptr;  // [(2 reach + 1)^2, heads] or null

  uint32_t margin() const { return std::max(window / 2, 1u); }  // patches around a group that it sees

  static constexpr bool fits(Family family) { return family == Family::kVil; }
  template <typename F>
  void for_each_array(const F& f) const {
    f("attention", qkv.weight.data);
    f("attention", out.weight.data);
    f("positions", relative_bias);
  }
  template <typename F>
  void for_each_linear(const F& f) const {
    f(qkv), f(out);
  }
};

struct FullAttention {
  uint32_t heads = 0, head_dim = 0;
  LinearView qkv, out;
  NormView norm_keys;
  const float* relative_bias = nullptr;  // [(2 grid - 1)^2, heads] or null
  const float* cls_bias = nullptr;       // [3, heads] or null

  static constexpr bool fits(Family family) { return family == Family::kEncoder || family == Family::kVil; }
  template <typename F>
  void for_each_array(const F& f) const {
    f("attention", qkv.weight.data);
    f("attention", out.weight.data);
    f("positions", relative_bias);
    f("positions", cls_bias);
  }
  template <typename F>
  void for_each_linear(const F& f) const {
    f(qkv), f(out);
  }
};

struct SelectiveScan {
  uint32_t inner = 0, states = 0, taps = 0, rank = 0;  // di, N, K, R
  LinearView in, parameters, step, out;
  const float* convolution = nullptr;       // [taps, inner]
  const float* convolution_bias = nullptr;  // [inner] or null
  const float* a = nullptr;                 // [states, inner]
  const float* d = nullptr;                 // [inner]
  float parameter_eps = 0;                  // 0: no norms

  static constexpr bool fits(Family family) { return family == Family::kLm; }
  template <typename F>
  void for_each_array(const F& f) const {
    for_each_linear([&](const LinearView& layer) { f("scan", layer.weight.data); });
    f("scan", convolution);
    f("scan", a);
  }
  template <typename F>
  void for_each_linear(const F& f) const {
    f(in), f(parameters), f(step), f(out);
  }
};

struct StateSpaceDual {
  uint32_t heads = 0, groups = 0, inner = 0, states = 0, taps = 0;  // h, g, di, N, K
  float step_min = 0, step_max = 0;
  bool d_per_channel = false;
  LinearView in, out;
  const float* convolution = nullptr;       // [taps, convolved()]
  const float* convolution_bias = nullptr;  // [convolved()] or null
  const float* step_bias = nullptr;         // [heads]
  const float* a = nullptr;                 // [heads]
  const float* d = nullptr;                 // [heads] or [inner]
  NormView norm;                            // [inner]

  size_t convolved() const { return inner + 2 * size_t{groups} * states; }  // channels: v, B, C

  static constexpr bool fits(Family family) { return family == Family::kLm; }
  template <typename F>
  void for_each_array(const F& f) const {
    for_each_linear([&](const LinearView& layer) { f("scan", layer.weight.data); });
    f("scan", convolution);
  }
  template <typename F>
  void for_each_linear(const F& f) const {
    f(in), f(out);
  }
};

enum class WindowEdge : uint8_t { kCut = 0, kExact = 1, kTorus = 2 };

struct VisionWindow {
  uint32_t heads = 0, head_dim = 0, window = 0, margin = 0;
  WindowEdge edge = WindowEdge::kCut;
  LinearView qkv, out;
  LinearView global_qkv, global_out;          // empty where global rows share those of patches
  const float* relative_bias = nullptr;       // [(2 reach + 1)^2, heads] or null
  const float* global_bias = nullptr;         // [2, heads, cls rows] or null
  const float* global_global_bias = nullptr;  // [heads, cls rows, cls rows], null if global_bias is

  static constexpr bool fits(Family family) { return family == Family::kVil; }
  template <typename F>
  void for_each_array(const F& f) const {
    for_each_linear([&](const LinearView& layer) { f("attention", layer.weight.data); });
    f("positions", relative_bias);
    f("positions", global_bias);
    f("positions", global_global_bias);
  }
  template <typename F>
  void for_each_linear(const F& f) const {
    f(qkv), f(out);
    if (global_qkv.weight) f(global_qkv), f(global_out);
  }
};

struct GlobalFilter {
  const float* kernel = nullptr;  // [width, grid, grid]

  static constexpr bool fits(Family family) { return family == Family::kVil; }
  template <typename F>
  void for_each_array(const F& f) const {
    f("filter", kernel);
  }
  template <typename F>
  void for_each_linear(const F&) const {}
};

struct DilatedAttention {
  struct Dilation {
    uint32_t segment, ratio;
  };
  uint32_t heads = 0, head_dim = 0, dilation_count = 0;
  Dilation dilations[kMaxDilations] = {};  // one of them has the ratio 1
  LinearView qkv, out;

  // The residue that a head looks at by one of them.
  size_t residue(size_t head, size_t dilation) const {
    const size_t ratio = dilations[dilation].ratio;
    return head / ((heads + ratio - 1) / ratio);
  }

  static constexpr bool fits(Family family) { return family == Family::kSlide; }
  template <typename F>
  void for_each_array(const F& f) const {
    f("attention", qkv.weight.data);
    f("attention", out.weight.data);
  }
  template <typename F>
  void for_each_linear(const F& f) const {
    f(qkv), f(out);
  }
};

}  // namespace lsrt
