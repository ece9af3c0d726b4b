#include "runtime/backends/cpu.h"

#include <algorithm>
#include <cstdlib>
#include <cstring>

namespace lsrt {

CpuStream::~CpuStream() {
  if (xnnpack_pool_) pthreadpool_destroy(xnnpack_pool_);
  std::free(workspace_);
}

Result<std::unique_ptr<Backend>> Backend::create(const std::string& name, const std::string& isa) {
  if (name != "cpu") {
    return fail(Error::kUnsupported, "backend '%s' is not in this build (it has: cpu)", name.c_str());
  }
  const char* forced = isa.empty() ? std::getenv("LSRT_ISA") : isa.c_str();
  KernelChoice choice;
  const Kernels* kernels = find_kernels(forced, &choice);
  if (kernels) return std::unique_ptr<Backend>(new CpuBackend(*kernels));
  const char* why = choice == KernelChoice::kUnknown    ? "is not a kernel set"
                    : choice == KernelChoice::kNotBuilt ? "is not in this build"
                                                        : "needs instructions that this CPU lacks";
  return fail(choice == KernelChoice::kUnknown ? Error::kArgument : Error::kUnsupported,
              "isa '%s' %s; available here: %s", forced, why, available_kernel_names());
}

Result<void*> CpuBackend::allocate(size_t bytes) {
  Pages pages(bytes);
  void* memory = pages.data();
  if (!memory) return fail(Error::kMemory, "cannot allocate %zu bytes", bytes);
  std::lock_guard<std::mutex> lock(mutex_);
  allocated_[memory] = std::move(pages);
  return memory;
}

void CpuBackend::release(void* memory) {
  std::lock_guard<std::mutex> lock(mutex_);
  allocated_.erase(memory);
}

Result<std::unique_ptr<Stream>> CpuBackend::create_stream(size_t threads, size_t workspace) {
  if (threads < 1 || threads > 1024)
    return fail(Error::kArgument, "threads is %zu, must be 1 to 1024", threads);
  void* memory = nullptr;
  if (posix_memalign(&memory, kWeightAlignment, std::max<size_t>(workspace, 1)) != 0) {
    return fail(Error::kMemory, "cannot allocate %zu bytes of workspace", workspace);
  }
  std::lock_guard<std::mutex> lock(mutex_);
  pthreadpool_t xnnpack_pool = threads > 1 && uses_xnnpack_ ? pthreadpool_create(threads) : nullptr;
  return std::unique_ptr<Stream>(new CpuStream(threads, xnnpack_pool, static_cast<uint8_t*>(memory)));
}

void CpuBackend::copy_to_device(Stream&, void* device, const void* host, size_t bytes) {
  std::memcpy(device, host, bytes);
}

void CpuBackend::copy_to_host(Stream&, void* host, const void* device, size_t bytes) {
  std::memcpy(host, device, bytes);
}

Status CpuBackend::synchronize(Stream&) { return Status(); }

void CpuBackend::add_norm(Stream& stream, const NormView& norm, size_t width, const float* residual,
                          size_t rows, float* x, float* y) {
  static_cast<CpuStream&>(stream).parallel_rows(rows, [&](size_t i, size_t) {
    if (residual) kernels_.rows.add(residual + i * width, width, x + i * width);
    kernels_.rows.layer_norm(x + i * width, norm.gamma, norm.beta, norm.eps, width, y + i * width);
  });
}

void CpuBackend::add(Stream&, const float* x, size_t n, float* y) { kernels_.rows.add(x, n, y); }

void CpuBackend::embed(Stream& stream, const TokenStem& stem, size_t width, const int32_t* tokens,
                       size_t rows, const float* positions, float* y) {
  static_cast<CpuStream&>(stream).parallel_rows(rows, [&](size_t i, size_t) {
    size_t token = tokens[i];
    float* row = y + i * width;
    if (stem.embedding.type == DataType::kInt8) {
      PanelWeights table = stem.embedding.panels();
      const int8_t* panel =
          table.data + token / kPanelOutputs * panel_bytes(width) + token % kPanelOutputs * kPanelDepth;
      float scale = table.scale[token] * stem.scale;
      for (size_t k = 0; k < width; ++k) {
        row[k] = scale * panel[k / kPanelDepth * (kPanelOutputs * kPanelDepth) + k % kPanelDepth];
      }
    } else {
      const float* source = stem.embedding.floats() + token * width;
      for (size_t k = 0; k < width; ++k) row[k] = source[k] * stem.scale;
    }
    if (positions) kernels_.rows.add(positions + i * width, width, row);
  });
}

}  // namespace lsrt
