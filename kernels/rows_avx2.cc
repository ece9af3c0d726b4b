// Row operations for AVX2: lanes 0 .. 7 and 8 .. 15 of rows.h are two registers. The order of operations is
// that of rows_scalar.cc, so the results are the same bits. A row's last elements are loaded with zeros
// behind them, which leaves sums as they are.
#include <immintrin.h>
#include <string.h>

#include "kernels/columns.h"
#include "kernels/isa_sets.h"
#include "kernels/rows_math.h"
#include "kernels/vec_avx2.h"

namespace lsrt {
namespace avx2 {
namespace {

// Calls step(i, j, at) for the elements i .. i + 7 of a row, j = 0 for lanes 0 .. 7, 1 for lanes 8 .. 15.
template <typename Step>
inline __attribute__((always_inline)) void for_each8(size_t n, Step step) {
  size_t i = 0;
  for (; i + 16 <= n; i += 16) {
    step(i, 0, Whole());
    step(i + 8, 1, Whole());
  }
  if (i < n) step(i, 0, Part(n - i));
  if (i + 8 < n) step(i + 8, 1, Part(n - i - 8));
}

inline __m256 exp_negative(__m256 x) {
  const __m256 in_range = _mm256_cmp_ps(x, _mm256_set1_ps(kExpMin), _CMP_GE_OQ);
  const __m256 shifted = _mm256_fmadd_ps(x, _mm256_set1_ps(kLog2E), _mm256_set1_ps(kRoundMagic));
  const __m256 n = _mm256_sub_ps(shifted, _mm256_set1_ps(kRoundMagic));
  __m256 r = _mm256_fmadd_ps(n, _mm256_set1_ps(-kLn2High), x);
  r = _mm256_fmadd_ps(n, _mm256_set1_ps(-kLn2Low), r);
  const __m256 r2 = _mm256_mul_ps(r, r);
  const __m256 low = _mm256_fmadd_ps(_mm256_set1_ps(kExp2), r, _mm256_set1_ps(kExp1));
  __m256 high = _mm256_fmadd_ps(_mm256_set1_ps(kExp4), r, _mm256_set1_ps(kExp3));
  high = _mm256_fmadd_ps(_mm256_set1_ps(kExp5), r2, high);
  const __m256 p = _mm256_fmadd_ps(_mm256_fmadd_ps(high, r2, low), r, _mm256_set1_ps(1.0f));
  const __m256i bits = _mm256_add_epi32(_mm256_castps_si256(shifted), _mm256_set1_epi32(127));
  const __m256 power = _mm256_castsi256_ps(_mm256_slli_epi32(bits, 23));
  return _mm256_and_ps(_mm256_mul_ps(p, power), in_range);
}

void layer_norm(const float* x, const float* gamma, const float* beta, float eps, size_t d, float* out) {
  __m256 sum[2] = {_mm256_setzero_ps(), _mm256_setzero_ps()};
  for_each8(d, [&](size_t i, size_t j, auto at) { sum[j] = _mm256_add_ps(sum[j], at.load(x + i)); });
  const __m256 mean = _mm256_set1_ps(fold_sum(sum[0], sum[1]) / (float)d);
  __m256 square[2] = {_mm256_setzero_ps(), _mm256_setzero_ps()};
  for_each8(d, [&](size_t i, size_t j, auto at) {
    const __m256 diff = at.keep(_mm256_sub_ps(at.load(x + i), mean));
    square[j] = _mm256_fmadd_ps(diff, diff, square[j]);
  });
  const float variance = fold_sum(square[0], square[1]) / (float)d;
  const __m256 rstd = _mm256_set1_ps(1.0f / __builtin_sqrtf(variance + eps));
  for_each8(d, [&](size_t i, size_t, auto at) {
    const __m256 v = _mm256_mul_ps(_mm256_sub_ps(at.load(x + i), mean), rstd);
    at.store(out + i, _mm256_fmadd_ps(v, at.load(gamma + i), at.load(beta + i)));
  });
}

void add(const float* x, size_t n, float* y) {
  for_each8(
      n, [&](size_t i, size_t, auto at) { at.store(y + i, _mm256_add_ps(at.load(y + i), at.load(x + i))); });
}

// A run's last eight sums are taken before the others are stored and stored after them, where they overlap:
// masked stores are slow.
void add_runs(const float* x, const int32_t* offset, const AddRun* runs, size_t n, float* y) {
  for (const AddRun* run = runs; run < runs + n; ++run) {
    const float* from = x + offset[run->index] + run->from;
    float* to = y + run->to;
    const size_t count = run->count;
    if (count < 8) {
      for (size_t i = 0; i < count; ++i) to[i] += from[i];
      continue;
    }
    const size_t rest = count - 8;
    const __m256 last = _mm256_add_ps(_mm256_loadu_ps(to + rest), _mm256_loadu_ps(from + rest));
    for (size_t i = 0; i < rest; i += 8) {
      _mm256_storeu_ps(to + i, _mm256_add_ps(_mm256_loadu_ps(to + i), _mm256_loadu_ps(from + i)));
    }
    _mm256_storeu_ps(to + rest, last);
  }
}

inline __m256 gelu8(__m256 x) {
  __m256 u = _mm256_fmadd_ps(_mm256_mul_ps(x, x), _mm256_set1_ps(kErfSquare), _mm256_set1_ps(-1.0f));
  u = _mm256_min_ps(u, _mm256_set1_ps(1.0f));
  const __m256 u2 = _mm256_mul_ps(u, u);
  __m256 even = _mm256_set1_ps(kErf[kErfDegree - 1]), odd = _mm256_set1_ps(kErf[kErfDegree]);
#pragma GCC unroll 8
  for (int k = kErfDegree - 3; k >= 0; k -= 2) {
    even = _mm256_fmadd_ps(even, u2, _mm256_set1_ps(kErf[k]));
    odd = _mm256_fmadd_ps(odd, u2, _mm256_set1_ps(kErf[k + 1]));
  }
  const __m256 p = _mm256_fmadd_ps(odd, u, even);
  const __m256 erf =
      _mm256_min_ps(_mm256_max_ps(_mm256_mul_ps(x, p), _mm256_set1_ps(-1.0f)), _mm256_set1_ps(1.0f));
  const __m256 half = _mm256_mul_ps(_mm256_set1_ps(0.5f), x);
  return _mm256_fmadd_ps(half, erf, half);
}

void gelu(float* x, size_t n) {
  for_each8(n, [&](size_t i, size_t, auto at) { at.store(x + i, gelu8(at.load(x + i))); });
}

void relu(float* x, size_t n) {
  for_each8(n, [&](size_t i, size_t, auto at) {
    at.store(x + i, _mm256_max_ps(at.load(x + i), _mm256_setzero_ps()));
  });
}

float max_of(const float* x, size_t n) {
  __m256 m[2] = {_mm256_set1_ps(kMaskedScore), _mm256_set1_ps(kMaskedScore)};
  size_t i = 0;
  for (; i + 16 <= n; i += 16) {
    m[0] = _mm256_max_ps(_mm256_loadu_ps(x + i), m[0]);
    m[1] = _mm256_max_ps(_mm256_loadu_ps(x + i + 8), m[1]);
  }
  float best = fold_max(_mm256_max_ps(m[0], m[1]));
  for (; i < n; ++i) best = x[i] > best ? x[i] : best;
  return best;
}

inline __m256i to_weights(__m256 g, __m256 f) {
  const __m256 v = _mm256_max_ps(_mm256_mul_ps(g, f), _mm256_setzero_ps());
  return _mm256_cvtps_epi32(_mm256_min_ps(v, _mm256_set1_ps(kSoftmaxWeightMax)));
}

float softmax_weights(float* s, const float* value_scale, size_t n, uint16_t* weight) {
  const __m256 m = _mm256_set1_ps(max_of(s, n));
  __m256 e_sum[2] = {_mm256_setzero_ps(), _mm256_setzero_ps()};
  __m256 g_sum[2] = {_mm256_setzero_ps(), _mm256_setzero_ps()};
  __m256 g_max[2] = {_mm256_setzero_ps(), _mm256_setzero_ps()};
  for_each8(n, [&](size_t i, size_t j, auto at) {
    const __m256 e = exp_negative(_mm256_sub_ps(at.load(s + i), m));
    const __m256 g = _mm256_mul_ps(e, at.load(value_scale + i));
    e_sum[j] = _mm256_add_ps(e_sum[j], e);
    g_sum[j] = _mm256_add_ps(g_sum[j], g);
    g_max[j] = _mm256_max_ps(g, g_max[j]);
    at.store(s + i, g);
  });
  const float total = fold_sum(e_sum[0], e_sum[1]);
  const float peak = fold_max(_mm256_max_ps(g_max[0], g_max[1]));
  const float by_sum = kSoftmaxSumMax / fold_sum(g_sum[0], g_sum[1]);
  const float by_peak = (float)kSoftmaxWeightMax / peak;
  const float f = !(peak > 0) ? 0.0f : by_sum < by_peak ? by_sum : by_peak;
  for (size_t i = 0; i < n; i += 16) {
    const __m256i low = to_weights(_mm256_loadu_ps(s + i), _mm256_set1_ps(f));
    const __m256i high = to_weights(_mm256_loadu_ps(s + i + 8), _mm256_set1_ps(f));
    _mm256_storeu_si256((__m256i*)(weight + i),
                        _mm256_permute4x64_epi64(_mm256_packus_epi32(low, high), 0xd8));
  }
  return f > 0 ? 1.0f / (f * total) : 0.0f;
}

float quantize_symmetric(const float* x, size_t n, int8_t* q) {
  const __m256 magnitude = _mm256_castsi256_ps(_mm256_set1_epi32(0x7fffffff));
  __m256 m[2] = {_mm256_setzero_ps(), _mm256_setzero_ps()};
  for_each8(n, [&](size_t i, size_t j, auto at) {
    m[j] = _mm256_max_ps(_mm256_and_ps(at.load(x + i), magnitude), m[j]);
  });
  const float peak = fold_max(_mm256_max_ps(m[0], m[1])), scale = peak / 127.0f;
  if (!is_normal(scale)) {
    memset(q, 0, n);
    return 0.0f;
  }
  const __m256 inverse = _mm256_set1_ps(127.0f / peak);
  const auto round8 = [&](__m256 v) {
    v = _mm256_max_ps(_mm256_mul_ps(v, inverse), _mm256_set1_ps(-127.0f));
    return _mm256_cvtps_epi32(_mm256_min_ps(v, _mm256_set1_ps(127.0f)));
  };
  size_t i = 0;
  for (; i + 32 <= n; i += 32) {
    const __m256i a = _mm256_packs_epi32(round8(_mm256_loadu_ps(x + i)), round8(_mm256_loadu_ps(x + i + 8)));
    const __m256i b =
        _mm256_packs_epi32(round8(_mm256_loadu_ps(x + i + 16)), round8(_mm256_loadu_ps(x + i + 24)));
    const __m256i order = _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7);
    _mm256_storeu_si256((__m256i*)(q + i), _mm256_permutevar8x32_epi32(_mm256_packs_epi16(a, b), order));
  }
  for (; i < n; i += 8) {
    const size_t left = n - i < 8 ? n - i : 8;
    const __m256i rounded = round8(_mm256_maskload_ps(x + i, tail_mask(left)));
    const __m128i words =
        _mm_packs_epi32(_mm256_castsi256_si128(rounded), _mm256_extracti128_si256(rounded, 1));
    const __m128i bytes = _mm_packs_epi16(words, words);
    memcpy(q + i, &bytes, left);
  }
  return scale;
}

void softmax(float* x, size_t n) {
  const __m256 m = _mm256_set1_ps(max_of(x, n));
  __m256 sum[2] = {_mm256_setzero_ps(), _mm256_setzero_ps()};
  for_each8(n, [&](size_t i, size_t j, auto at) {
    const __m256 e = at.keep(exp_negative(_mm256_sub_ps(at.load(x + i), m)));
    sum[j] = _mm256_add_ps(sum[j], e);
    at.store(x + i, e);
  });
  const __m256 inverse = _mm256_set1_ps(1.0f / fold_sum(sum[0], sum[1]));
  for_each8(n, [&](size_t i, size_t, auto at) { at.store(x + i, _mm256_mul_ps(at.load(x + i), inverse)); });
}

void exp_columns(const float* s, size_t ld_s, size_t rows, size_t n, float* e, size_t ld_e, float* largest,
                 float* total) {
  const auto exp = [](__m256 x) { return exp_negative(x); };
  exp_each<Vector>(exp, s, ld_s, rows, n, e, ld_e, largest, total);
}

}  // namespace

const RowKernels row_kernels = {layer_norm,         add,     add_runs,   gelu, relu, softmax_weights,
                                quantize_symmetric, softmax, exp_columns};

}  // namespace avx2
}  // namespace lsrt
