#include "runtime/device/cuda/image.h"

// LSRT_CUDA_ARCHITECTURES says that nvcc made kernels (CMakeLists.txt); tests run others.
#ifdef LSRT_CUDA_ARCHITECTURES
#include <lzma.h>

extern "C" const uint8_t lsrt_cuda_packed[];
extern "C" const unsigned long long lsrt_cuda_packed_bytes, lsrt_cuda_image_bytes;
#endif

namespace lsrt {
namespace cuda {

#ifdef LSRT_CUDA_ARCHITECTURES
const char* const kArchitectures = LSRT_CUDA_ARCHITECTURES;

Result<std::vector<uint8_t>> kernel_image() {
  std::vector<uint8_t> image(lsrt_cuda_image_bytes);
  uint64_t memory = UINT64_MAX;  // no limit: the image is ours
  size_t read = 0, written = 0;
  const lzma_ret result =
      lzma_stream_buffer_decode(&memory, 0, nullptr, lsrt_cuda_packed, &read, lsrt_cuda_packed_bytes,
                                image.data(), &written, image.size());
  if (result != LZMA_OK)
    return fail(Error::kMemory, "the CUDA kernels cannot be unpacked (liblzma's error %d)", result);
  return image;
}
#else
const char* const kArchitectures = "no CUDA kernels, as nvcc was not there when it was built";

Result<std::vector<uint8_t>> kernel_image() { return std::vector<uint8_t>(1); }
#endif

}  // namespace cuda
}  // namespace lsrt
