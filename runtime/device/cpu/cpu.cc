#include "runtime/device/cpu/cpu.h"

#include <cstdlib>
#include <cstring>
#include <new>

#include "runtime/device/cpu/float_linear.h"

namespace lsrt {

Result<std::unique_ptr<Backend>> create_cpu_backend(const BackendOptions& options,
                                                    std::shared_ptr<const Model> model) {
  const std::string& isa = options.isa;
  const char* forced = isa.empty() ? std::getenv("LSRT_ISA") : isa.c_str();
  KernelChoice choice;
  const Kernels* kernels = find_kernels(forced, &choice);
  if (kernels) {
    return std::unique_ptr<Backend>(new CpuBackend(*kernels, std::move(model), options.keep_weights));
  }
  const char* why = choice == KernelChoice::kUnknown    ? "is not a kernel set"
                    : choice == KernelChoice::kNotBuilt ? "is not in this build"
                                                        : "needs instructions that this CPU lacks";
  return fail(choice == KernelChoice::kUnknown ? Error::kArgument : Error::kUnsupported,
              "isa '%s' %s; available here: %s", forced, why, available_kernel_names());
}

CpuBackend::CpuBackend(const Kernels& kernels, std::shared_ptr<const Model> model, bool keep_weights)
    : Backend(std::move(model)),
      kernels_(kernels),
      keep_weights_(keep_weights),
      linear_(kernels),
      rows_(kernels),
      causal_(kernels),
      grouped_(kernels),
      scan_(kernels),
      filter_(kernels),
      table_{&linear_, &rows_, &causal_, &grouped_, &image_, &scan_, &filter_, nullptr} {}

Result<Dev<void>> CpuBackend::allocate(size_t bytes) {
  Pages pages(bytes);
  void* memory = pages.data();
  if (!memory) return fail(Error::kMemory, "cannot allocate %zu bytes", bytes);
  std::lock_guard<std::mutex> lock(mutex_);
  allocated_[memory] = std::move(pages);
  return Dev<void>(memory);
}

// Launches are over when they return.
void CpuBackend::release(Dev<void> memory) {
  std::lock_guard<std::mutex> lock(mutex_);
  allocated_.erase(memory.address());
}

Result<std::unique_ptr<Stream>> CpuBackend::create_stream(const StreamPlan& plan) {
  void* memory = nullptr;
  if (posix_memalign(&memory, kWeightAlignment, std::max<size_t>(plan.workspace, 1)) != 0) {
    return fail(Error::kMemory, "cannot allocate %zu bytes of workspace", plan.workspace);
  }
  std::unique_ptr<uint8_t, FreeMemory> workspace(static_cast<uint8_t*>(memory));
  auto stream = std::make_unique<CpuStream>(observer(), plan.threads, std::move(workspace));
  std::lock_guard<std::mutex> lock(mutex_);
  // After our own threads, of which the system may have given fewer than were asked for: pthreadpool waits
  // for ever for a thread that could not be started.
  if (uses_floats_) stream->set_float_threads(make_float_threads(stream->threads()));
  return std::unique_ptr<Stream>(std::move(stream));
}

void CpuBackend::copy_in(Stream& stream, Dev<void> to, const void* host, size_t bytes) {
  const auto launched = stream.launched("copy_in", 1);
  if (bytes) std::memcpy(to.address(), host, bytes);
}

void CpuBackend::copy_out(Stream& stream, void* host, Dev<const void> from, size_t bytes) {
  const auto launched = stream.launched("copy_out", 1);
  if (bytes) std::memcpy(host, from.address(), bytes);
}

}  // namespace lsrt
