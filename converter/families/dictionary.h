// fairseq's dict.txt: "symbol count" a line, token ids in order from 4. Ids 0 .. 3 are <s>, <pad>, </s>,
// <unk>.
#pragma once

#include <string>
#include <vector>

#include "base/bytes.h"
#include "base/status.h"

namespace lsrt {

// The text of each token id; empty: the id has none and is never sampled.
//   all symbols are numbers 0 .. 255 (enwik8 style): the number is a byte; newline is </s>
//   else (text8 style): the symbol is its own text, "_" is a space
// Lines "madeupword0000 0" are padding and have no text.
Result<std::vector<std::string>> read_dictionary(const Bytes& file);

}  // namespace lsrt
