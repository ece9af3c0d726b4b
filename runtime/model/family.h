// The families of models: what comes in and what goes out.
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>

namespace lsrt {

enum class Family : uint8_t {
  kLm,       // a stream of tokens; log-probabilities of the next one
  kEncoder,  // whole sequences of tokens, or pairs of them; logits of classes
  kVil,      // images; logits of classes
  kSlide,    // the tiles of a slide with their places; an embedding
};

inline constexpr Family kFamilies[] = {Family::kLm, Family::kEncoder, Family::kVil, Family::kSlide};

// The name in model files, messages and the C API.
constexpr const char* family_name(Family family) {
  switch (family) {
    case Family::kLm:
      return "lm";
    case Family::kEncoder:
      return "encoder";
    case Family::kVil:
      return "vil";
    case Family::kSlide:
      break;
  }
  return "slide";
}

// Nothing: no family is called so.
inline std::optional<Family> family_called(std::string_view name) {
  for (Family family : kFamilies) {
    if (name == family_name(family)) return family;
  }
  return {};
}

}  // namespace lsrt
