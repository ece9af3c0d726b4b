// What a conversion did and how exact the result is; `lsrt convert --report` writes it as JSON.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "base/status.h"
#include "converter/writer/model_builder.h"
#include "runtime/api/verify.h"
#include "runtime/model/model.h"

namespace lsrt {

struct ConvertReport {
  std::string source, output;  // paths
  Family family = Family::kLm;
  std::string architecture;
  std::vector<std::string> remarks;  // what the model cannot do
  Precision precision = Precision::kInt8;
  uint64_t source_bytes = 0, output_bytes = 0;
  uint64_t parameters = 0;  // elements of all tensors
  GoldenCheck golden;       // of the written model; no rows without a golden
  std::vector<TensorReport> tensors;

  std::string json() const;
};

// Writes report.json() whole or not at all.
Status write_report(const ConvertReport& report, const std::string& path);

}  // namespace lsrt
