#include "runtime/device/backend.h"

#include <algorithm>

namespace lsrt {

const char* Backend::names() {
#ifdef LSRT_CUDA
  return "cpu, cuda";
#else
  return "cpu";
#endif
}

Result<std::unique_ptr<Backend>> Backend::create(const BackendOptions& options,
                                                 std::shared_ptr<const Model> model) {
  if (options.name == "cpu") return create_cpu_backend(options, std::move(model));
#ifdef LSRT_CUDA
  if (options.name == "cuda") return create_cuda_backend(std::move(model));
#endif
  return fail(Error::kUnsupported, "backend '%s' is not in this build (it has: %s)", options.name.c_str(),
              names());
}

DeviceTensor Backend::tensor(const TensorView& view) const {
  DeviceTensor tensor;
  tensor.data = weights(view.data);
  tensor.scales = weights_of(view.scales);
  tensor.sums = weights_of(view.sums);
  tensor.type = view.type;
  tensor.rank = view.rank;
  std::copy_n(view.shape, 4, tensor.shape);
  return tensor;
}

}  // namespace lsrt
