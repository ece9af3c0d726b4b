// Constants of scan/scalar.cc, for every kernel set. Constants only: arrays here have internal linkage.
#pragma once

namespace lsrt {

// log(1 + e) / e, 0 <= e <= 1. Minimax in relative error; with rounding below 1.8e-7.
constexpr int kLog1pDegree = 8;
constexpr float kLog1p[kLog1pDegree + 1] = {0x1.fffffep-1f,  -0x1.fffeacp-2f, 0x1.553004p-2f,
                                            -0x1.fcc8c6p-3f, 0x1.874a80p-3f,  -0x1.17d2c0p-3f,
                                            0x1.4069d6p-4f,  -0x1.e369e4p-6f, 0x1.56edfep-8f};

}  // namespace lsrt
