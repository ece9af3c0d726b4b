#include "runtime/api/verify.h"

#include <algorithm>
#include <cmath>
#include <vector>

#include "base/compare.h"
#include "base/digest.h"

namespace lsrt {
namespace {

constexpr float kSameDifference = 1e-6f;  // printed and read back, nothing else differs
constexpr float kFloatTolerance = 2e-4f;  // of outputs: sums in another order

// log sum_i exp(x_i)
double log_sum_exp(const float* x, size_t n) {
  const auto largest = static_cast<double>(*std::max_element(x, x + n));
  double sum = 0;
  for (size_t i = 0; i < n; ++i) sum += std::exp(static_cast<double>(x[i]) - largest);
  return largest + std::log(sum);
}

// KL(p || q) of the distributions with these logits or log-probabilities.
double divergence(const float* p, const float* q, size_t n) {
  const double log_p = log_sum_exp(p, n), log_q = log_sum_exp(q, n);
  double sum = 0;
  for (size_t i = 0; i < n; ++i) {
    const double log_p_i = static_cast<double>(p[i]) - log_p, log_q_i = static_cast<double>(q[i]) - log_q;
    sum += std::exp(log_p_i) * (log_p_i - log_q_i);
  }
  return sum;
}

GoldenCheck compare(const float* found, const float* expected, size_t count, size_t width) {
  GoldenCheck check;
  Digest digest;
  digest.update(found, count * sizeof(float));
  check.digest = digest.value();
  check.rows = count / width;
  check.max_difference = largest_difference(found, expected, count);
  double largest = 0, kl = 0;
  size_t same_top = 0;
  for (size_t i = 0; i < count; ++i) largest = std::max(largest, std::fabs(double{expected[i]}));
  for (size_t row = 0; row < count; row += width) {
    const float *p = expected + row, *q = found + row;
    kl += divergence(p, q, width);
    same_top += std::max_element(p, p + width) - p == std::max_element(q, q + width) - q ? 1 : 0;
  }
  check.relative_difference = double{check.max_difference} / std::max(largest, 1e-30);
  const auto rows = static_cast<double>(check.rows);
  const double mean_kl = kl / rows;
  check.mean_kl = mean_kl < 0 ? 0 : mean_kl;  // rounding may leave a little less than none; NaN stays
  check.same_top = static_cast<double>(same_top) / rows;
  return check;
}

}  // namespace

Result<GoldenCheck> check_golden(const std::shared_ptr<Backend>& backend, const ArrayOptions& options) {
  const Golden& golden = backend->model().golden;
  if (golden.outputs.empty()) return fail(Error::kModel, "the model stores no golden to compare with");
  std::vector<Array> inputs;
  for (const TensorView& view : golden.inputs) inputs.push_back(to_array(view));
  const TensorView& expected = golden.outputs[0];  // the loader knows its name and shape
  ArrayOptions run = options;
  if (expected.rank == 3) run.positions = expected.shape[1];
  LSRT_ASSIGN(const std::vector<Array> outputs, run_arrays(backend, inputs, run));
  return compare(outputs[0].floats(), expected.floats(), expected.elements(),
                 expected.shape[expected.rank - 1]);
}

Status agrees(const Model& model, const GoldenCheck& check) {
  const Golden& golden = model.golden;
  if (!model.is_int8()) {
    if (check.max_difference <= kFloatTolerance) return Status();
    return fail(Error::kModel, "outputs differ by %g from those stored at conversion, expected at most %g",
                double{check.max_difference}, double{kFloatTolerance});
  }
  if (golden.digest != 0) {
    if (check.digest == golden.digest) return Status();
    return fail(Error::kModel, "outputs have the digest %016llx, expected %016llx as at conversion",
                static_cast<unsigned long long>(check.digest),
                static_cast<unsigned long long>(golden.digest));
  }
  if (std::fabs(check.max_difference - golden.max_difference) <= kSameDifference) return Status();
  return fail(Error::kModel, "outputs differ by %g from the float model's, expected %g as at conversion",
              double{check.max_difference}, double{golden.max_difference});
}

}  // namespace lsrt
