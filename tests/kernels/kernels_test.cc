// Every kernel set that this machine can run returns the bits of the scalar set.
#include <float.h>
#include <math.h>
#include <string.h>

#include <memory>
#include <random>
#include <string>
#include <vector>

#include <doctest/doctest.h>

#include "kernels/dispatch.h"

namespace {

using lsrt::Kernels;

constexpr unsigned kSeed = 20210705;

// A buffer whose surroundings must stay as they are. Aligned to 64 bytes plus `offset` elements.
template <typename T>
class Guarded {
 public:
  explicit Guarded(size_t n, size_t offset = 0)
      : bytes_(kGuard + 64 + (offset + n) * sizeof(T) + kGuard, kFill), n_(n) {
    const size_t start = lsrt::round_up((uintptr_t)bytes_.data() + kGuard, 64) - (uintptr_t)bytes_.data();
    data_ = (T*)(bytes_.data() + start) + offset;
    memset((void*)data_, 0, n * sizeof(T));
  }
  T* data() { return data_; }
  T& operator[](size_t i) { return data_[i]; }
  size_t size() const { return n_; }
  bool intact() const {
    const uint8_t* begin = (const uint8_t*)data_;
    for (const uint8_t& b : bytes_) {
      if ((&b < begin || &b >= begin + n_ * sizeof(T)) && b != kFill) return false;
    }
    return true;
  }

 private:
  static constexpr size_t kGuard = 128;
  static constexpr uint8_t kFill = 0xa5;
  std::vector<uint8_t> bytes_;
  size_t n_;
  T* data_;
};

// Equal bits; a NaN equals any NaN, as its sign and payload depend on the CPU.
bool same(const float* a, const float* b, size_t n) {
  for (size_t i = 0; i < n; ++i) {
    if (memcmp(a + i, b + i, sizeof *a) != 0 && !(isnan(a[i]) && isnan(b[i]))) {
      MESSAGE("element ", i, ": ", a[i], " and ", b[i]);
      return false;
    }
  }
  return true;
}

const char* const kFills[] = {"normal", "zero", "constant", "outlier", "huge", "denormal", "positive", "nan"};

void fill(const std::string& kind, float* x, size_t n, std::mt19937& random) {
  std::normal_distribution<float> normal;
  for (size_t i = 0; i < n; ++i) {
    const float v = normal(random);
    x[i] = kind == "zero"       ? 0.0f
           : kind == "constant" ? 0.7f
           : kind == "huge"     ? copysignf(1e30f, v)
           : kind == "denormal" ? v * 1e-40f
           : kind == "positive" ? fabsf(v) + 0.1f
                                : v;
  }
  if (kind == "outlier") x[random() % n] = 1e4f;
  if (kind == "nan") x[random() % n] = NAN;
  if (kind == "nan") x[random() % n] = INFINITY;
}

const Kernels& scalar() {
  lsrt::KernelChoice choice;
  return *lsrt::find_kernels("scalar", &choice);
}

std::vector<const Kernels*> sets_to_test() {
  const Kernels* const* sets;
  const size_t count = lsrt::available_kernels(&sets);
  std::vector<const Kernels*> result;
  for (size_t i = 0; i + 1 < count; ++i) result.push_back(sets[i]);
  return result;
}

// Random weights in panels, padded with zeros.
struct Weights {
  Guarded<int8_t> data;
  std::vector<float> scale, bias;
  std::vector<int32_t> sum;
  size_t outputs, depth;

  Weights(size_t outputs, size_t depth, std::mt19937& random)
      : data(lsrt::panel_count(outputs) * lsrt::panel_bytes(depth)),
        scale(lsrt::round_up(outputs, 16)),
        bias(outputs),
        sum(lsrt::round_up(outputs, 16)),
        outputs(outputs),
        depth(depth) {
    for (size_t n = 0; n < outputs; ++n) {
      scale[n] = 0.001f + 0.0001f * (float)(random() % 100);
      bias[n] = (float)(random() % 1000) * 0.01f - 5.0f;
      for (size_t k = 0; k < depth; ++k) {
        const int extreme = (int)(random() % 8);
        const int8_t w = (int8_t)(extreme == 0 ? -128 : extreme == 1 ? 127 : (int)(random() % 256) - 128);
        data[lsrt::panel_offset(n, k, depth)] = w;
        sum[n] += w;
      }
    }
  }
  lsrt::PanelWeights view(bool with_bias) {
    return {data.data(), scale.data(), sum.data(), with_bias ? bias.data() : nullptr, outputs, depth};
  }
};

std::vector<float> run_gemm(const lsrt::GemmKernels& gemm, const std::vector<float>& x, size_t ld,
                            size_t rows, const lsrt::PanelWeights& w, size_t panel_begin, size_t panel_end) {
  Guarded<uint8_t> packed(rows * gemm.packed_row_bytes(w.depth));
  std::vector<lsrt::RowScale> row_scale(rows);
  gemm.pack_rows(x.data(), ld, rows, w.depth, packed.data(), row_scale.data());
  CHECK(packed.intact());
  const size_t last = panel_end * 16 < w.outputs ? panel_end * 16 : w.outputs;
  const size_t width = last - panel_begin * 16, ld_out = width + 3;
  Guarded<float> out(rows * ld_out - 3, 1);
  for (size_t i = 0; i < out.size(); ++i) out[i] = -77.0f;
  gemm.gemm(packed.data(), row_scale.data(), rows, w, panel_begin, panel_end, out.data(), ld_out);
  CHECK(out.intact());
  for (size_t i = 0; i + 1 < rows; ++i) {
    for (size_t n = width; n < ld_out; ++n) CHECK(out[i * ld_out + n] == -77.0f);
  }
  std::vector<float> result(out.data(), out.data() + out.size());
  for (const lsrt::RowScale& s : row_scale) result.insert(result.end(), {s.scale, (float)s.zero_point});
  return result;
}

}  // namespace

TEST_CASE("sets are named, complete and end with scalar") {
  const Kernels* const* sets;
  const size_t count = lsrt::available_kernels(&sets);
  REQUIRE(count >= 1);
  CHECK(std::string(sets[count - 1]->isa) == "scalar");
  MESSAGE("available: ", std::string(lsrt::available_kernel_names()));
  for (size_t i = 0; i < count; ++i) {
#define LSRT_KERNEL(family, entry) \
  CHECK_MESSAGE((sets[i]->family.entry != nullptr), std::string(sets[i]->isa), " lacks " #family "." #entry);
#include "kernels/kernels.inc"
#undef LSRT_KERNEL
    lsrt::KernelChoice choice;
    CHECK(lsrt::find_kernels(sets[i]->isa, &choice) == sets[i]);
    CHECK(choice == lsrt::KernelChoice::kOk);
  }
  lsrt::KernelChoice choice;
  CHECK(lsrt::find_kernels("", &choice) == sets[0]);
  CHECK(lsrt::find_kernels(nullptr, &choice) == sets[0]);
  CHECK(lsrt::find_kernels("mmx", &choice) == nullptr);
  CHECK(choice == lsrt::KernelChoice::kUnknown);
  for (const char* isa : {
#define LSRT_ISA(name, ...) #name,
#include "kernels/isa.inc"
#undef LSRT_ISA
       }) {
    if (lsrt::find_kernels(isa, &choice)) continue;
    const bool built = choice != lsrt::KernelChoice::kNotBuilt;
    MESSAGE("skipped: ", std::string(isa), std::string(built ? " cannot run here" : " is not built"));
  }
}

TEST_CASE("gemm") {
  std::mt19937 random(kSeed);
  size_t turn = 0;
  for (size_t depth : {1, 3, 4, 5, 8, 16, 31, 64, 96, 100, 192, 257}) {
    for (size_t outputs : {1, 7, 8, 15, 16, 17, 33, 64}) {
      Weights weights(outputs, depth, random);
      for (size_t rows : {1, 2, 3, 4, 5, 6, 7, 8, 12, 13, 16, 32, 48, 49}) {
        const std::string kind = kFills[turn++ % (sizeof kFills / sizeof *kFills)];
        const size_t ld = depth + 5;
        std::vector<float> x(rows * ld);
        for (size_t i = 0; i < rows; ++i) fill(kind, &x[i * ld], depth, random);
        const lsrt::PanelWeights w = weights.view(turn % 3 != 0);
        const size_t panels = lsrt::panel_count(outputs), split = turn % (panels + 1);
        for (const Kernels* set : sets_to_test()) {
          INFO(std::string(set->isa), "/", rows, "x", outputs, "x", depth, " ", std::string(kind), ", seed ",
               kSeed);
          const size_t ranges[][2] = {{0, panels}, {0, split}, {split, panels}};
          for (const auto& range : ranges) {
            if (range[0] == range[1]) continue;
            const std::vector<float> expected = run_gemm(scalar().gemm, x, ld, rows, w, range[0], range[1]);
            const std::vector<float> actual = run_gemm(set->gemm, x, ld, rows, w, range[0], range[1]);
            REQUIRE(same(actual.data(), expected.data(), expected.size()));
          }
        }
      }
    }
  }
}

TEST_CASE("gemm of the greatest depth does not overflow") {
  const size_t depth = lsrt::kMaxGemmDepth;
  std::mt19937 random(kSeed);
  Weights weights(1, depth, random);
  weights.sum[0] = 0;
  for (size_t k = 0; k < depth; ++k) weights.data[lsrt::panel_offset(0, k, depth)] = -127;
  weights.sum[0] = -127 * (int32_t)depth;
  const lsrt::PanelWeights w = weights.view(false);
  for (size_t rows : {1, 6}) {
    const std::vector<float> x(rows * depth, 255.0f);
    const std::vector<float> expected = run_gemm(scalar().gemm, x, depth, rows, w, 0, 1);
    CHECK(expected[0] == (float)(-255 * 127 * 65536) * w.scale[0]);
    for (const Kernels* set : sets_to_test()) {
      INFO(std::string(set->isa), ", ", rows, " rows");
      const std::vector<float> actual = run_gemm(set->gemm, x, depth, rows, w, 0, 1);
      CHECK(same(actual.data(), expected.data(), expected.size()));
    }
  }
}

TEST_CASE("row operations") {
  std::mt19937 random(kSeed);
  for (size_t n : {1, 2, 7, 8, 9, 15, 16, 17, 23, 24, 25, 31, 32, 33, 48, 64, 100, 511, 512}) {
    for (const char* kind : kFills) {
      std::vector<float> x(n), gamma(n), beta(n);
      fill(kind, x.data(), n, random);
      fill("normal", gamma.data(), n, random);
      fill("normal", beta.data(), n, random);
      for (const Kernels* set : sets_to_test()) {
        INFO(std::string(set->isa), "/", n, " ", std::string(kind), ", seed ", kSeed);
        // Runs one operation of both sets on a copy of x.
        const auto compare = [&](const char* operation, auto&& run) {
          INFO(std::string(operation));
          Guarded<float> actual(n, 1), expected(n);
          memcpy(actual.data(), x.data(), n * sizeof(float));
          memcpy(expected.data(), x.data(), n * sizeof(float));
          run(set->rows, actual.data());
          run(scalar().rows, expected.data());
          CHECK(actual.intact());
          REQUIRE(same(actual.data(), expected.data(), n));
        };
        compare("add", [&](const lsrt::RowKernels& k, float* y) { k.add(gamma.data(), n, y); });
        compare("add_scaled",
                [&](const lsrt::RowKernels& k, float* y) { k.add_scaled(beta[0], gamma.data(), n, y); });
        compare("gelu", [&](const lsrt::RowKernels& k, float* y) { k.gelu(y, n); });
        compare("relu", [&](const lsrt::RowKernels& k, float* y) { k.relu(y, n); });
        compare("softmax", [&](const lsrt::RowKernels& k, float* y) { k.softmax(y, n); });

        const float dot = set->rows.dot(x.data(), gamma.data(), n);
        const float expected_dot = scalar().rows.dot(x.data(), gamma.data(), n);
        REQUIRE(same(&dot, &expected_dot, 1));
      }
    }
  }
}

TEST_CASE("layer_norm and quantize_symmetric of several rows") {
  std::mt19937 random(kSeed);
  for (size_t n : {1, 2, 7, 8, 9, 15, 16, 17, 23, 31, 32, 33, 48, 64, 100, 511, 512}) {
    for (size_t rows : {1, 2, 3, 4, 5, 8, 11}) {
      const size_t ld = n + 3, ld_out = n + 5;
      std::vector<float> x(rows * ld), dense(rows * n), gamma(n), beta(n);
      for (size_t r = 0; r < rows; ++r) {  // neighbours of all kinds
        fill(kFills[random() % 8], &x[r * ld], ld, random);
        memcpy(&dense[r * n], &x[r * ld], n * sizeof(float));
      }
      fill("normal", gamma.data(), n, random);
      fill("normal", beta.data(), n, random);
      for (const Kernels* set : sets_to_test()) {
        INFO(std::string(set->isa), "/", rows, "x", n, ", seed ", kSeed);
        Guarded<float> normed(rows * ld_out - 5, 1), expected_normed(rows * ld_out - 5);
        const auto check_norm = [&](const auto& norm) {
          norm(*set, normed.data());
          norm(scalar(), expected_normed.data());
          CHECK(normed.intact());
          REQUIRE(same(normed.data(), expected_normed.data(), normed.size()));
        };
        for (const float* factor : {(const float*)gamma.data(), (const float*)nullptr}) {
          check_norm([&](const Kernels& k, float* out) {
            k.rows.rms_norm(x.data(), ld, rows, factor, 1e-5f, n, out, ld_out);
          });
        }
        check_norm([&](const Kernels& k, float* out) {
          k.rows.layer_norm(x.data(), ld, rows, gamma.data(), beta.data(), 1e-5f, n, out, ld_out);
        });
        std::vector<float> in_place = x;
        set->rows.layer_norm(in_place.data(), ld, rows, gamma.data(), beta.data(), 1e-5f, n, in_place.data(),
                             ld);
        for (size_t r = 0; r < rows; ++r) REQUIRE(same(&in_place[r * ld], &normed[r * ld_out], n));

        Guarded<int8_t> actual(rows * ld_out - 5, 1), expected(rows * ld_out - 5);
        std::vector<float> scale(rows), expected_scale(rows);
        std::vector<int32_t> sum(rows), expected_sum(rows);
        set->rows.quantize_symmetric(dense.data(), rows, n, actual.data(), ld_out, scale.data(), sum.data());
        scalar().rows.quantize_symmetric(dense.data(), rows, n, expected.data(), ld_out,
                                         expected_scale.data(), expected_sum.data());
        CHECK(same(scale.data(), expected_scale.data(), rows));
        CHECK(sum == expected_sum);
        CHECK(actual.intact());
        REQUIRE(memcmp(actual.data(), expected.data(), actual.size()) == 0);
      }
    }
  }
}

TEST_CASE("softmax_weights") {
  std::mt19937 random(kSeed);
  for (size_t n : {16, 32, 48, 112, 1024}) {
    const size_t rows = 1 + n / 16 % 5;
    for (const char* kind : kFills) {
      for (const char* scale_kind : {"positive", "zero", "outlier", "denormal"}) {
        std::vector<float> s(rows * n), value_scale(n);
        for (size_t r = 0; r < rows; ++r) fill(kind, &s[r * n], n, random);
        fill(scale_kind, value_scale.data(), n, random);
        for (float& v : value_scale) v = fabsf(v);
        for (size_t i = 1; i < rows * n; i += 1 + random() % 5) {
          if (i % n > 0) s[i] = lsrt::kMaskedScore;
        }
        for (const Kernels* set : sets_to_test()) {
          INFO(std::string(set->isa), "/", rows, "x", n, " ", std::string(kind), " ", std::string(scale_kind),
               ", seed ", kSeed);
          std::vector<float> a = s, b = s, scale(rows), expected_scale(rows);
          Guarded<uint16_t> actual(rows * n, 1), expected(rows * n);
          set->rows.softmax_weights(a.data(), value_scale.data(), rows, n, actual.data(), scale.data());
          scalar().rows.softmax_weights(b.data(), value_scale.data(), rows, n, expected.data(),
                                        expected_scale.data());
          CHECK(same(scale.data(), expected_scale.data(), rows));
          CHECK(actual.intact());
          REQUIRE(memcmp(actual.data(), expected.data(), rows * n * sizeof(uint16_t)) == 0);
        }
      }
    }
  }
}

TEST_CASE("weighted_sum") {
  std::mt19937 random(kSeed);
  for (size_t d_head : {1, 8, 15, 16, 17, 24, 32, 40, 64, 96}) {
    for (size_t count : {0, 4, 8, 12, 64, 100, 260, 1028}) {
      const size_t panels = lsrt::panel_count(d_head);
      Guarded<int8_t> values(count / 4 * lsrt::value_group_bytes(d_head));
      for (size_t i = 0; i < values.size(); ++i) values[i] = (int8_t)(random() % 4 ? random() : 127);
      for (size_t rows : {1, 2, 3, 4, 5, 6, 7, 8, 11, 12, 13, 16, 35}) {
        const size_t ld_weight = count + 7, ld_acc = panels * 16 + 5;
        std::vector<uint16_t> weight(rows * ld_weight);
        for (uint16_t& w : weight) w = (uint16_t)(random() % 4 ? random() % 16384 : lsrt::kSoftmaxWeightMax);
        for (const Kernels* set : sets_to_test()) {
          INFO(std::string(set->isa), "/", rows, "x", d_head, "x", count, ", seed ", kSeed);
          Guarded<int32_t> actual(rows * ld_acc - 5, 1), expected(rows * ld_acc - 5);
          for (size_t i = 0; i < actual.size(); ++i) actual[i] = expected[i] = (int32_t)i - 50;
          set->attn.weighted_sum(weight.data(), ld_weight, rows, values.data(), count, d_head, actual.data(),
                                 ld_acc);
          scalar().attn.weighted_sum(weight.data(), ld_weight, rows, values.data(), count, d_head,
                                     expected.data(), ld_acc);
          CHECK(actual.intact());
          for (size_t i = 0; i < rows; ++i) {
            REQUIRE(memcmp(&actual[i * ld_acc], &expected[i * ld_acc], d_head * sizeof(int32_t)) == 0);
          }
        }
      }
    }
  }
}

TEST_CASE("add_runs") {
  std::mt19937 random(kSeed);
  for (size_t longest : {1, 3, 7, 8, 9, 16, 21, 40}) {
    std::vector<float> x(300), y(400);
    fill("normal", x.data(), x.size(), random);
    fill("normal", y.data(), y.size(), random);
    const std::vector<int32_t> offset = {200, 0, 77, 5};
    std::vector<lsrt::AddRun> runs;
    for (uint32_t to = random() % 5; to + longest <= y.size(); to += (uint32_t)(longest + random() % 4)) {
      runs.push_back(
          {(uint32_t)(random() % 4), (uint32_t)(random() % 50), to, (uint32_t)(1 + random() % longest)});
    }
    std::vector<double> sum(y.begin(), y.end());
    for (const lsrt::AddRun& run : runs) {
      for (uint32_t i = 0; i < run.count; ++i) sum[run.to + i] += x[(size_t)offset[run.index] + run.from + i];
    }
    const Kernels* const* sets;
    const size_t count = lsrt::available_kernels(&sets);
    for (size_t s = 0; s < count; ++s) {
      INFO(std::string(sets[s]->isa), ", runs of at most ", longest);
      Guarded<float> actual(y.size(), 1);
      memcpy(actual.data(), y.data(), y.size() * sizeof(float));
      sets[s]->rows.add_runs(x.data(), offset.data(), runs.data(), runs.size(), actual.data());
      CHECK(actual.intact());
      for (size_t i = 0; i < y.size(); ++i) REQUIRE(actual[i] == (float)sum[i]);
    }
  }
}

TEST_CASE("exp_columns and weighted_rows") {
  std::mt19937 random(kSeed);
  for (size_t n : {1, 3, 4, 5, 7, 8, 9, 16, 21, 32}) {
    for (size_t rows : {1, 2, 5, 64}) {
      for (const char* kind : kFills) {
        const size_t ld_s = n + 3, ld_e = n + 1;
        std::vector<float> s(rows * ld_s);
        fill(kind, s.data(), s.size(), random);
        const auto exponentials = [&](const Kernels& set) {
          Guarded<float> e(rows * ld_e - 1, 1), ends(2 * n);
          for (size_t i = 0; i < e.size(); ++i) e[i] = -7;
          set.rows.exp_columns(s.data(), ld_s, rows, n, e.data(), ld_e, ends.data(), ends.data() + n);
          CHECK((e.intact() && ends.intact()));
          std::vector<float> all(e.data(), e.data() + e.size());
          all.insert(all.end(), ends.data(), ends.data() + ends.size());
          return all;
        };
        const std::vector<float> e = exponentials(scalar());
        for (const Kernels* set : sets_to_test()) {
          INFO(std::string(set->isa), "/", rows, "x", n, " ", std::string(kind), ", seed ", kSeed);
          const std::vector<float> actual = exponentials(*set);
          REQUIRE(same(actual.data(), e.data(), e.size()));
          for (size_t d : {1, 7, 8, 17, 40}) {
            std::vector<float> x(rows * (d + 2));
            fill(kind, x.data(), x.size(), random);
            Guarded<float> sums(n * (d + 5) - 5, 1), expected(n * (d + 5) - 5);
            set->attn.weighted_rows(e.data(), ld_e, x.data(), d + 2, rows, n, d, sums.data(), d + 5);
            scalar().attn.weighted_rows(e.data(), ld_e, x.data(), d + 2, rows, n, d, expected.data(), d + 5);
            CHECK(sums.intact());
            REQUIRE(same(sums.data(), expected.data(), sums.size()));
          }
        }
      }
    }
  }
}
