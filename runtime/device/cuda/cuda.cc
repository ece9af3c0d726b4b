#include "runtime/device/cuda/cuda.h"

#include <cstdio>
#include <cstdlib>

#include "runtime/device/cuda/image.h"

namespace lsrt {

Result<std::unique_ptr<Backend>> create_cuda_backend(std::shared_ptr<const Model> model) {
  LSRT_ASSIGN(const std::shared_ptr<CudaDevice> device, CudaDevice::open());
  auto backend = std::make_unique<CudaBackend>(device, std::move(model));
  LSRT_TRY(backend->upload());
  return std::unique_ptr<Backend>(std::move(backend));
}

Result<std::shared_ptr<CudaDevice>> CudaDevice::open() {
  constexpr int kIntegrated = 18, kMapsHost = 19, kMajor = 75, kMinor = 76, kRegistersHost = 99,
                kRegistersReadOnly = 113;
  auto device = std::make_shared<CudaDevice>();
  LSRT_ASSIGN(device->driver, cuda::Driver::load());
  const cuda::Driver& driver = *device->driver;
  char name[128] = "";
  int version = 0;
  LSRT_TRY(driver.check(driver.DeviceGet(&device->index, 0), "open device 0"));
  // An attribute that an old driver does not know is 0.
  const auto attribute = [&](int which) {
    int value = 0;
    return driver.DeviceGetAttribute(&value, which, device->index) ? 0 : value;
  };
  const int major = attribute(kMajor), minor = attribute(kMinor);
  LSRT_TRY(driver.check(driver.DeviceGetName(name, sizeof name, device->index), "name the device"));
  LSRT_TRY(driver.check(driver.DriverGetVersion(&version), "tell its version"));
  device->name = name;
  char isa[16];
  std::snprintf(isa, sizeof isa, "sm_%d%d", major, minor);
  device->isa = isa;
  device->reads_host = attribute(kIntegrated) && attribute(kMapsHost) && attribute(kRegistersHost);
  device->reads_read_only = attribute(kRegistersReadOnly);
  const char* wait = std::getenv("LSRT_CUDA_WAIT");
  device->waits = wait && *wait;
  LSRT_TRY(driver.check(driver.PrimaryCtxRetain(&device->context, device->index), "open a context"));
  LSRT_TRY(device->use());
  LSRT_ASSIGN(const std::vector<uint8_t> image, cuda::kernel_image());
  if (const int error = driver.ModuleLoadData(&device->module, image.data())) {
    device->module = nullptr;
    const Status status = driver.failure(error, "load the kernels");
    return fail(Error::kUnsupported,
                "%s; the device is %s (%s), the driver is of CUDA %d.%d; this build has %s",
                status.message().c_str(), name, isa, version / 1000, version % 1000 / 10, cuda::kArchitectures);
  }
  for (size_t i = 0; i < cuda::kKernels; ++i) {
    LSRT_TRY(
        driver.check(driver.ModuleGetFunction(&device->kernels[i], device->module, cuda::kKernelNames[i]),
                     cuda::kKernelNames[i]));
  }
  return device;
}

CudaDevice::~CudaDevice() {
  if (!context) return;
  driver->CtxSetCurrent(context);
  if (module) driver->ModuleUnload(module);
  driver->PrimaryCtxRelease(index);
}

CudaBackend::CudaBackend(std::shared_ptr<const CudaDevice> device, std::shared_ptr<const Model> model)
    : Backend(model),
      device_(std::move(device)),
      linear_(*this),
      causal_(*this),
      grouped_(*this),
      table_{&linear_, &rows_, &causal_, &grouped_, &image_, &scan_, &filter_, &choose_},
      has_model_(model != nullptr) {}

CudaBackend::~CudaBackend() {
  if (!in_place_) {
    release(weights_);
  } else if (device_->use().ok()) {
    device_->driver->MemHostUnregister(const_cast<uint8_t*>(model().bytes()));
  }
}

Status CudaBackend::upload() {
  constexpr unsigned kDeviceMap = 2, kReadOnly = 8;
  if (!has_model_) return {};
  if (device_->reads_host) {
    const cuda::Driver& driver = *device_->driver;
    auto* bytes = const_cast<uint8_t*>(model().bytes());  // which nobody writes
    const unsigned flags = kDeviceMap | (device_->reads_read_only ? kReadOnly : 0);
    LSRT_TRY(device_->use());
    if (driver.MemHostRegister(bytes, model().file_bytes(), flags) == 0) {
      cuda::DeviceAddress address = 0;
      if (driver.MemHostGetDevicePointer(&address, bytes, 0) == 0) {
        weights_ = Dev<void>(reinterpret_cast<void*>(static_cast<uintptr_t>(address)));
        in_place_ = true;
        return {};
      }
      driver.MemHostUnregister(bytes);
    }
    // Not memory of this kind, such as a mapped file: a copy.
  }
  LSRT_ASSIGN(weights_, allocate(model().file_bytes()));
  LSRT_ASSIGN(const std::unique_ptr<Stream> stream, create_stream(StreamPlan()));
  copy_in(*stream, weights_, model().bytes(), model().file_bytes());
  return synchronize(*stream);
}

Result<const Linear*> CudaBackend::prepare(const LinearView& view) {
  std::lock_guard<std::mutex> lock(mutex_);
  const TensorView& weight = view.weight;
  std::unique_ptr<Linear>& slot =
      prepared_[{weight.data, weight.scales, view.bias, view.outputs, view.inputs, weight.type}];
  if (slot) return static_cast<const Linear*>(slot.get());
  auto linear = std::make_unique<CudaLinear>();
  linear->outputs = view.outputs, linear->inputs = view.inputs;
  linear->weight = tensor(weight);
  linear->bias = weights_of(view.bias);
  slot = std::move(linear);
  return static_cast<const Linear*>(slot.get());
}

Dev<const void> CudaBackend::weights(const void* in_file) const {
  if (!in_file) return nullptr;
  const auto offset = static_cast<size_t>(static_cast<const uint8_t*>(in_file) - model().bytes());
  return weights_.as<const uint8_t>() + offset;
}

Result<Dev<void>> CudaBackend::allocate(size_t bytes) {
  cuda::DeviceAddress address = 0;
  const size_t size = std::max<size_t>(bytes, 1);
  LSRT_TRY(device_->use());
  if (const int error = device_->driver->MemAlloc(&address, size)) {
    return fail(Error::kMemory, "cannot allocate %zu bytes: %s", bytes,
                device_->driver->failure(error, "give them").message().c_str());
  }
  const Dev<void> memory(reinterpret_cast<void*>(static_cast<uintptr_t>(address)));
  int error = device_->driver->MemsetD8Async(address, 0, size, nullptr);
  if (!error) error = device_->driver->StreamSynchronize(nullptr);
  if (error) {
    release(memory);
    return device_->driver->failure(error, "clear memory");
  }
  return memory;
}

// cuMemFree waits for the device.
void CudaBackend::release(Dev<void> memory) {
  if (memory && device_->use().ok()) device_->driver->MemFree(device_address(memory));
}

Result<std::unique_ptr<Stream>> CudaBackend::create_stream(const StreamPlan& plan) {
  if (plan.threads < 1 || plan.threads > 1024) {
    return fail(Error::kArgument, "threads is %zu, must be 1 to 1024", plan.threads);
  }
  auto stream = std::make_unique<CudaStream>(observer(), device_);
  LSRT_TRY(stream->create(plan.workspace));
  return std::unique_ptr<Stream>(std::move(stream));
}

void CudaBackend::copy_in(Stream& stream, Dev<void> to, const void* host, size_t bytes) {
  const auto launched = stream.launched("copy_in", 1);
  cuda_stream(stream).copy_in(to, host, bytes);
}

void CudaBackend::copy_out(Stream& stream, void* host, Dev<const void> from, size_t bytes) {
  const auto launched = stream.launched("copy_out", 1);
  cuda_stream(stream).copy_out(host, from, bytes);
}

}  // namespace lsrt
