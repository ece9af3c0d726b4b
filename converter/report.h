// What a conversion did and how exact the result is; `lsrt convert --report` writes it as JSON.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "converter/quantize.h"
#include "runtime/model.h"
#include "runtime/status.h"

namespace lsrt {

struct TensorReport {
  std::string name;
  DataType type = DataType::kFloat32;
  std::vector<uint32_t> shape;
  uint64_t bytes = 0;       // in the model file, with scales and sums
  QuantizationError error;  // all zero for float32
};

// How far the outputs of a model lie from those of the float32 one, on the golden inputs.
struct OutputDifference {
  uint64_t rows = 0;    // how many distributions were compared
  float max = 0;        // of any log-probability or logit
  double mean_kl = 0;   // Kullback-Leibler divergence of the distributions, nats
  double same_top = 1;  // fraction of the distributions that have the same most probable element
};

struct ConvertReport {
  std::string source, output;  // paths
  std::string family, architecture;
  Precision precision = Precision::kInt8;
  uint64_t source_bytes = 0, output_bytes = 0;
  uint64_t parameters = 0;      // elements of all tensors
  OutputDifference difference;  // of the written model; none without a golden
  std::vector<TensorReport> tensors;

  std::string json() const;
};

// Writes report.json() whole or not at all.
Status write_report(const ConvertReport& report, const std::string& path);

}  // namespace lsrt
