// Whether a model computes here what it computed where it was converted: the golden that conversion stored,
// run again.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>

#include "base/status.h"
#include "runtime/api/arrays.h"
#include "runtime/device/backend.h"
#include "runtime/model/model.h"

namespace lsrt {

// The outputs of this device beside those of the float model. A row is one distribution: a position of a
// text, an image, a document.
struct GoldenCheck {
  size_t rows = 0;
  uint64_t digest = 0;             // of the outputs' bits
  float max_difference = 0;        // of any log-probability or logit; NaN if one is
  double relative_difference = 0;  // max_difference / the float model's largest absolute output
  double mean_kl = 0;              // Kullback-Leibler divergence from the float model's distribution, nats
  double same_top = 1;             // fraction of the rows with the same most probable element
};

// Runs the golden of the backend's model. Errors: kModel where it stores none, kCancelled.
Result<GoldenCheck> check_golden(const std::shared_ptr<Backend>& backend, const ArrayOptions& options);

// int8: the very bits that conversion stored (models without a digest: the same largest difference to 1e-6).
// float32, whose sums may come in another order: outputs within 2e-4 of the stored ones. Errors: kModel.
Status agrees(const Model& model, const GoldenCheck& check);

}  // namespace lsrt
