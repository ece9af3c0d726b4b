// Text taken from a checkpoint: it is hostile until checked.
#pragma once

#include <string>
#include <string_view>

namespace lsrt {

bool is_utf8(std::string_view text);

// For JSON: bytes that are not part of valid UTF-8 become '?'.
std::string to_utf8(std::string_view text);

// For messages: at most 80 characters, and none that a terminal would act on.
std::string printable(std::string_view text);

}  // namespace lsrt
