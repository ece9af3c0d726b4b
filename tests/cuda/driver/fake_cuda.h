// What tests ask of the driver that stands in for CUDA's, by dlsym.
#pragma once

extern "C" {
// Call number `after` (from 0) of this function fails; of a kernel, "lsrt_...", when the stream is waited
// for. "": none does.
void fake_cuda_fail(const char* symbol, int after);
// What the device is from now on.
struct FakeDevice {
  int major, minor, version;  // compute capability, CUDA of the driver: 12060
  bool integrated;            // and reads registered memory of the host
};
void fake_cuda_device(const FakeDevice* device);
// Contexts, modules, streams, graphs and blocks of memory that have not been given back.
int fake_cuda_alive();
// Launches of kernels, and repetitions of recorded ones, since the last call.
int fake_cuda_launches();
int fake_cuda_repetitions();
// Bytes of the device's memory in use.
unsigned long long fake_cuda_bytes();
}
