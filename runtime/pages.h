// Memory straight from the system: zeroed, costs nothing until it is touched, on huge pages where the system
// has them. Decoding sweeps over all weights and the whole state for every token, and on small pages waits
// for address translation: a fifth of its time, measured.
#pragma once

#include <cstddef>

namespace lsrt {

// At least `bytes` bytes, aligned to a page; null: there is no memory.
void* map_pages(size_t bytes);
void unmap_pages(void* memory, size_t bytes);  // the same number; memory may be null

}  // namespace lsrt
