// A folder that is one checkpoint, as Hugging Face and the authors of Mamba publish them: config.json, and
// the weights in model.safetensors, in the shards that model.safetensors.index.json names, or in
// pytorch_model.bin. The first of these that is there is taken.
#pragma once

#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "base/status.h"

namespace lsrt {

struct CheckpointFolder {
  // An object. Numbers that JSON does not have (Infinity, NaN) are texts here.
  nlohmann::json config;
  std::vector<std::string> files;   // paths of the weights
  std::vector<std::string> listed;  // names of tensors that the files must hold: of an index
};

// Errors: kFile, kCheckpoint. An index names files of the folder only.
Result<CheckpointFolder> read_folder(const std::string& path);

}  // namespace lsrt
