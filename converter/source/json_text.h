// JSON of files that may be hostile: headers of checkpoints, configurations.
#pragma once

#include <cstddef>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>

namespace lsrt {

struct JsonLimits {
  int depth = 0;      // objects and arrays inside each other: walking and copying a tree recurses
  size_t values = 0;  // with names and containers: a tree takes many times the memory of its text
};

// The tree of the text. A problem is set instead where the text is no JSON, goes beyond the limits, or has
// one name twice in an object, of which two readers could pick different ones.
nlohmann::json parse_json(std::string_view text, const JsonLimits& limits, std::string* problem);

}  // namespace lsrt
