// Checkpoints of torch.save: the zip container and the legacy one, with the pickles in them.
#include "fuzz/checkpoint.h"

int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  lsrt_fuzz::read_checkpoint(data, size);
  return 0;
}
