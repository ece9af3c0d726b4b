// The kernels of this build: LSRT_CUDA_IMAGE says that nvcc made some (CMakeLists.txt).
namespace lsrt {

extern const void* const kCudaImage;
extern const char* const kCudaArchitectures;

#ifdef LSRT_CUDA_ARCHITECTURES
extern "C" const unsigned char lsrt_cuda_image[];
const void* const kCudaImage = lsrt_cuda_image;
const char* const kCudaArchitectures = LSRT_CUDA_ARCHITECTURES;
#else
const void* const kCudaImage = "";
const char* const kCudaArchitectures = "no CUDA kernels, as nvcc was not there when it was built";
#endif

}  // namespace lsrt
