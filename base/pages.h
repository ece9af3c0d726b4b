// Memory straight from the system: zeroed, costs nothing until it is touched, on huge pages where the system
// has them. Decoding sweeps over all weights and the whole state for every token, and on small pages waits
// for address translation: a fifth of its time, measured.
#pragma once

#include <cstddef>
#include <cstdint>
#include <utility>

namespace lsrt {

// At least `bytes` bytes, aligned to a page; null: there is no memory.
void* map_pages(size_t bytes);
void unmap_pages(void* memory, size_t bytes);  // the same number; memory may be null

// Owns such memory.
class Pages {
 public:
  Pages() = default;
  explicit Pages(size_t bytes) : data_(static_cast<uint8_t*>(map_pages(bytes))), size_(bytes) {}
  Pages(Pages&& other) noexcept
      : data_(std::exchange(other.data_, nullptr)), size_(std::exchange(other.size_, 0)) {}
  Pages& operator=(Pages&& other) noexcept {
    std::swap(data_, other.data_);
    std::swap(size_, other.size_);
    return *this;
  }
  ~Pages() { unmap_pages(data_, size_); }

  uint8_t* data() const { return data_; }  // null: there was no memory
  size_t size() const { return size_; }

 private:
  uint8_t* data_ = nullptr;
  size_t size_ = 0;
};

}  // namespace lsrt
