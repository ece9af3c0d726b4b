// What tests ask of the driver that stands in for CUDA's, by dlsym.
#pragma once

extern "C" {
// Call number `after` (from 0) of this function fails; "": none does.
void fake_cuda_fail(const char* symbol, int after);
// Contexts, modules, streams, graphs and blocks of memory that have not been given back.
int fake_cuda_alive();
// Launches of kernels, and repetitions of recorded ones, since the last call.
int fake_cuda_launches();
int fake_cuda_repetitions();
}
