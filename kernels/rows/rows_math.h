// Constants of the approximations that scalar.cc defines, for every kernel set. Constants only: arrays
// here have internal linkage.
#pragma once

namespace lsrt {

// exp(x), -87 <= x <= 0. Polynomial: minimax for (exp(r) - 1) / r in relative error of exp, |r| <= ln(2) / 2.
constexpr float kExpMin = -87.0f;  // exp(kExpMin) is still a normal number
constexpr float kLog2E = 0x1.715476p+0f;
constexpr float kRoundMagic = 0x1.8p+23f;   // added: the nearest integer is in the low bits of the mantissa
constexpr float kLn2High = 0x1.62e400p-1f;  // 15 significant bits: n * kLn2High is exact
constexpr float kLn2Low = 0x1.7f7d1cp-20f;
constexpr float kExp1 = 0x1.fffff6p-1f;
constexpr float kExp2 = 0x1.fffdc4p-2f;
constexpr float kExp3 = 0x1.555a6ep-3f;
constexpr float kExp4 = 0x1.573ad0p-5f;
constexpr float kExp5 = 0x1.0fa7d8p-7f;

// erf(x / sqrt 2) = x * sum_i kErf[i] u^i, u = x^2 * kErfSquare - 1 in -1 .. 1, |x| <= kErfMax; beyond it is
// +-1. Minimax in absolute error of GELU; the last coefficient is raised so that the value at kErfMax
// reaches 1.
constexpr float kErfMax = 5.3f;
constexpr float kErfSquare = 0x1.23a250p-4f;  // 2 / kErfMax^2
constexpr int kErfDegree = 13;
constexpr float kErf[kErfDegree + 1] = {0x1.113020p-2f, -0x1.10756ep-3f, 0x1.939072p-4f, -0x1.44635ep-4f,
                                        0x1.06f658p-4f, -0x1.9d0950p-5f, 0x1.3383bep-5f, -0x1.bbc698p-6f,
                                        0x1.337a70p-6f, -0x1.5212d2p-7f, 0x1.19b466p-8f, -0x1.c53b80p-9f,
                                        0x1.9edaaap-9f, -0x1.1d2000p-10f};

}  // namespace lsrt
