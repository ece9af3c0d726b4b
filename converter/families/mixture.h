// Which layers of a mixture have full attention instead of long-short attention.
#pragma once

#include <vector>

#include "converter/families/config.h"

namespace lsrt {

// The hyper-parameter "mixer", "long-short" or "full" for each layer; all false where it is absent.
Result<std::vector<bool>> full_layers(const Config& config, uint32_t layers);

// ", 2 layers of full attention"; empty where there are none.
std::string mixture_text(const std::vector<bool>& full);

}  // namespace lsrt
