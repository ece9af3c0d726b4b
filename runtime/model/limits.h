// What a model file may ask for at most, each number beside the buffer or the arithmetic that it protects.
//
// The loader (reader*.cc) holds every file to all of them, once; code that runs a model relies on them and
// checks nothing again. The converter refuses the same numbers earlier, under the names that a checkpoint
// gives them. An array whose extent is one of these limits names it in its declaration.
#pragma once

#include <cstddef>
#include <cstdint>

#include "kernels/scan/scan.h"

namespace lsrt {

// ---- the file: what the loader itself allocates or walks

inline constexpr size_t kMaxHeaderBytes = 64 << 20;  // the FlatBuffer, read and verified before anything else
inline constexpr uint32_t kMaxStages = 16;
inline constexpr uint32_t kMaxBlocks = 4096;         // of all stages together
inline constexpr uint32_t kMaxHeadLayers = 8;        // linear layers of a classifier
inline constexpr uint32_t kMaxVocabulary = 1 << 20;  // tokens; also bounds a FlatBuffer's tables
inline constexpr uint32_t kMaxTokenBytes = 1024;
inline constexpr uint32_t kMaxAddedTokens = 1 << 16;  // that are cut out of a text
inline constexpr uint32_t kMaxTextBytes = 1024;       // a label, a tensor's name, a line of provenance
inline constexpr uint32_t kMaxGoldenArrays = 16;
inline constexpr uint64_t kMaxGoldenElements = 1
                                               << 24;  // of all inputs or of all outputs: verify copies them

// ---- rows and heads

// Rows, hidden rows, heads * rank. The int8 products are exact: 255 * 127 * 65536 < 2^31 (kMaxGemmDepth).
inline constexpr uint32_t kMaxWidth = 65536;
inline constexpr uint32_t kMaxClasses = kMaxWidth;
inline constexpr uint32_t kMaxHeadDim = 512;  // buffers for one head's row on the stack: attention, caches

// ---- text

inline constexpr uint32_t kMaxChunk = 1024;            // tokens of one summary: rows gathered on the stack
inline constexpr uint32_t kMaxWindow = 1 << 16;        // tokens; the width of a row of scores
inline constexpr uint32_t kMaxStreamTokens = 1 << 24;  // memory, block, longest sequence; indices are int32

inline constexpr uint32_t kMaxStates = kMaxScanStates;  // of a channel of a selective scan
inline constexpr uint32_t kMaxTaps = kMaxScanTaps;      // of its convolution

// ---- images

inline constexpr uint32_t kMaxPatch = 256;             // pixels on a side of a patch
inline constexpr uint32_t kMaxImageSize = 1 << 14;     // pixels on a side, so patches, too: rows are int32
inline constexpr uint32_t kMaxVisionWindow = 1 << 13;  // patches on a side of a group: a head's table of
                                                       // (4 window)^2 biases is indexed by int32
inline constexpr uint32_t kMaxClsRows = 256;           // of a stage, with their biases in that table
inline constexpr uint32_t kMaxFilterGrid = 256;        // patches on a side of a grid that is filtered as a
                                                       // whole: a channel takes its cube in steps

// ---- slides

inline constexpr uint32_t kMaxDilations = 8;  // pairs of a segment and a ratio: a row's are bits of a byte
inline constexpr uint32_t kMaxTilePixels = 1 << 24;  // on a side of a cell: whole numbers of float32
inline constexpr uint32_t kMaxCells = 1 << 20;       // on a side of a slide

}  // namespace lsrt
