#include "converter/families/mixture.h"

#include <algorithm>

namespace lsrt {

Result<std::vector<bool>> full_layers(const Config& config, uint32_t layers) {
  std::vector<bool> full(layers);
  if (!config.has("mixer")) return full;
  LSRT_ASSIGN(const std::vector<std::string> names, config.texts("mixer"));
  if (names.size() != layers) {
    return fail(Error::kCheckpoint, "hyper-parameter mixer names %zu layers, but there are %u", names.size(),
                layers);
  }
  for (uint32_t i = 0; i < layers; i++) {
    full[i] = names[i] == "full";
    if (!full[i] && names[i] != "long-short") {
      return fail(Error::kCheckpoint,
                  "hyper-parameter mixer[%u] is \"%s\", expected \"long-short\" or \"full\"", i,
                  names[i].c_str());
    }
  }
  return full;
}

std::string mixture_text(const std::vector<bool>& full) {
  const auto count = std::count(full.begin(), full.end(), true);
  return count == 0 ? "" : ", " + std::to_string(count) + " layers of full attention";
}

}  // namespace lsrt
