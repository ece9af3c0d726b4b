// Random weights in the layout of the model file, made fast and the same on every machine.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "converter/writer/model_writer.h"

namespace lsrt {

// Uniform values of variance 1 / columns, so that a linear layer keeps the size of its input. The name is the
// seed.
TensorBytes random_floats(const std::string& name, const std::vector<uint32_t>& shape);

// The same as int8 panels, straight away: [rows, columns] or [groups, rows, columns].
TensorBytes random_int8(const std::string& name, const std::vector<uint32_t>& shape);

}  // namespace lsrt
