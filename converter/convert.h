// A checkpoint to a model file. Checkpoints are mapped and the output is written tensor by tensor; the
// end-to-end check, which runs the model in float32 and as written, has the weights of one layer in memory at
// a time. So it takes the memory of a few copies of the largest tensor, that of an int8 model of up to 1 GiB,
// and disk space beside the output for the float32 model while it runs.
#pragma once

#include <functional>
#include <string>

#include "base/status.h"
#include "converter/report.h"
#include "converter/writer/quantize.h"

namespace lsrt {

struct ConvertOptions {
  std::string family;          // "lm", "encoder", "vil"; empty: recognised by tensor names
  std::string dict_path;       // lm; empty: dict.txt beside the checkpoint
  std::string tokenizer_path;  // mamba; empty: tokenizer.json beside the checkpoint, if there is one
  std::string config_path;     // hyper-parameters that the checkpoint lacks
  std::string labels_path;     // class names, one a line; empty: the checkpoint's or the configuration's
  Precision precision = Precision::kInt8;
  uint32_t block = 0;    // lm, tokens; 0: 256
  uint32_t memory = 0;   // lm, tokens; 0: the checkpoint's mem_len
  uint32_t threads = 0;  // of rounding and the end-to-end check; 0: as many as pay
  bool golden = true;    // store inputs and the float model's outputs, and compare with them
  // Called before each step: how many of how many are done, and what comes. False ends with
  // Error::kCancelled.
  std::function<bool(size_t done, size_t total, const std::string& what)> progress;
};

// Writes `output` whole or not at all; what was written has been loaded and run before it appears. The same
// input gives the same bytes.
Result<ConvertReport> convert(const std::string& source, const std::string& output,
                              const ConvertOptions& options);

}  // namespace lsrt
