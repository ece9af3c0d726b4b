// A second device for tests: the CPU's launches on memory of their own. The weights are a copy of the model
// file at another address, and neither they nor buffers can be touched but by launches and copies; during a
// launch the model file itself cannot be. So whoever follows a device address on the host, or hands a launch
// a pointer into the model file, ends with SIGSEGV.
#pragma once

#include <sys/mman.h>

#include <cstring>
#include <map>
#include <string>
#include <vector>

#include "base/redzone.h"
#include "runtime/device/cpu/cpu.h"
#include "tests/support/take.h"

namespace lsrt_test {

using namespace lsrt;

class FencedBackend : public CpuBackend, private LaunchObserver {
 public:
  static std::shared_ptr<FencedBackend> create(std::shared_ptr<const Model> model) {
    KernelChoice choice;
    return std::make_shared<FencedBackend>(*find_kernels(nullptr, &choice), std::move(model));
  }

  FencedBackend(const Kernels& kernels, std::shared_ptr<const Model> model)
      : CpuBackend(kernels, std::move(model)) {
    weights_ = map(this->model().file_bytes());
    std::memcpy(weights_, this->model().bytes(), this->model().file_bytes());
    close();
    observe(this);
  }
  ~FencedBackend() override {
    for (auto& block : blocks_) munmap(block.first, block.second);
  }

  Dev<const void> weights(const void* in_file) const override {
    if (!in_file) return nullptr;
    const auto offset = static_cast<size_t>(static_cast<const uint8_t*>(in_file) - model().bytes());
    REQUIRE(offset < model().file_bytes());
    return Dev<const void>(static_cast<const uint8_t*>(weights_) + offset);
  }
  Result<const Linear*> prepare(const LinearView& view) override {
    open();
    auto linear = CpuBackend::prepare(view);
    close();
    return linear;
  }
  Result<Dev<void>> allocate(size_t bytes) override {
    void* memory = map(bytes);
    close();
    return Dev<void>(memory);
  }
  void release(Dev<void> memory) override {
    const auto found = blocks_.find(memory.address());
    if (found == blocks_.end()) return;
    open_memory(found->first, found->second);
    munmap(found->first, found->second);
    blocks_.erase(found);
  }

  // Every sequence of launches, by shape: one that would have been replayed wrongly is a difference.
  bool begin(Stream&, const LaunchShape& shape) override {
    recording_ = true;
    shape_.assign(shape.words, shape.words + shape.count);
    launches_.clear();
    return true;
  }
  void end(Stream&) override {
    recording_ = false;
    const auto before = recorded_.emplace(shape_, launches_).first;
    if (before->second != launches_) ++differences_;
    ++sequences_;
  }
  size_t sequences() const { return sequences_; }
  size_t shapes() const { return recorded_.size(); }
  size_t differences() const { return differences_; }

 private:
  static constexpr size_t kPage = 4096;

  void before(const Launch& launch) override {
    if (recording_) launches_ += std::string(launch.name) + " " + std::to_string(launch.rows) + "\n";
    open();
    protect_model(PROT_NONE);
  }
  void after(const Launch&) override {
    protect_model(PROT_READ | PROT_WRITE);
    close();
  }

  void* map(size_t bytes) {
    const size_t size = (bytes + kPage) / kPage * kPage;
    void* memory = mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    REQUIRE(memory != MAP_FAILED);
    blocks_[memory] = size;
    return memory;
  }
  void open() { protect(PROT_READ | PROT_WRITE); }
  void close() { protect(PROT_NONE); }
  void protect(int how) {
    for (auto& block : blocks_) mprotect(block.first, block.second, how);
  }
  // Under AddressSanitizer the file's bytes share their last page with others.
  void protect_model(int how) {
#ifndef LSRT_ASAN
    const size_t size = (model().file_bytes() + kPage - 1) / kPage * kPage;
    REQUIRE(mprotect(const_cast<uint8_t*>(model().bytes()), size, how) == 0);
#else
    (void)how;
#endif
  }

  std::map<void*, size_t> blocks_;
  void* weights_ = nullptr;
  bool recording_ = false;
  std::vector<uint32_t> shape_;
  std::string launches_;
  std::map<std::vector<uint32_t>, std::string> recorded_;
  size_t sequences_ = 0, differences_ = 0;
};

}  // namespace lsrt_test
