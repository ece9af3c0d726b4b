// Memory that AddressSanitizer is told not to let anyone touch; without it these do nothing.
#pragma once

#include <cstddef>

#if defined(__SANITIZE_ADDRESS__)
#define LSRT_ASAN 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define LSRT_ASAN 1
#endif
#endif

#ifdef LSRT_ASAN
#include <sanitizer/asan_interface.h>
#endif

namespace lsrt {

#ifdef LSRT_ASAN
inline constexpr size_t kRedzone = 64;  // bytes between pieces of one block
inline void close_memory(const void* memory, size_t bytes) { __asan_poison_memory_region(memory, bytes); }
inline void open_memory(const void* memory, size_t bytes) { __asan_unpoison_memory_region(memory, bytes); }
#else
inline constexpr size_t kRedzone = 0;
inline void close_memory(const void*, size_t) {}
inline void open_memory(const void*, size_t) {}
#endif

}  // namespace lsrt
