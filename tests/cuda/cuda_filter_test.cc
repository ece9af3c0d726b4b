// CUDA kernels of filters of a grid return the bits of the CPU's launch.
#include <memory>

#include "tests/cuda/emulated.h"
#include "tests/support/backends.h"

namespace {

using namespace lsrt_test;
using lsrt::Dev;
namespace cuda = lsrt::cuda;

TEST_CASE("filters") {
  Random random(1);
  const std::shared_ptr<lsrt::Backend> backend = cpu(nullptr, "scalar");
  for (const auto& [grid, width] : {std::pair<uint32_t, uint32_t>{1, 1}, {2, 40}, {5, 3}, {8, 19}}) {
    const size_t frequencies = grid / 2 + 1, spectrum_floats = grid * frequencies * 2 * width;
    // Any tables: what they mean is not the kernels' matter.
    const DeviceArray<float> x(floats(random, grid * grid * width)), kernel(floats(random, spectrum_floats)),
        cosines(floats(random, frequencies * grid)), sines(floats(random, frequencies * grid));
    const DeviceArray<float> y(x.size()), y2(x.size()), spectrum(spectrum_floats), product(spectrum_floats);
    const auto at = [](const DeviceArray<float>& a) { return Dev<const float>(a.data()); };
    const lsrt::GlobalFilterRows filter{
        grid, width, at(x), at(cosines), at(sines), at(kernel), Dev<float>(y.data())};
    lsrt::StreamPlan plan;
    backend->ops().filter->plan(filter, &plan);
    backend->ops().filter->global_filter(*take(backend->create_stream(plan)), filter);
    for (const uint32_t most_blocks : {1u, UINT32_MAX}) {
      const auto run = [&](const auto& params) { REQUIRE(launch_error(params, most_blocks) == ""); };
      run(cuda::FilterForwardParams{x.data(), cosines.data(), sines.data(), spectrum.data(), grid, width});
      run(cuda::FilterColumnsParams{spectrum.data(), kernel.data(), product.data(), grid, width});
      run(cuda::FilterBackParams{product.data(), cosines.data(), sines.data(), y2.data(), grid, width});
      REQUIRE(same_floats(y.data(), y2.data(), y.size()));
    }
  }
}

}  // namespace
