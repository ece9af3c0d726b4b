// JPEG files, and the fitting of whatever they show.
#include "fuzz/picture.h"

int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  lsrt_fuzz::fit_picture(lsrt::decode_jpeg(data, size, "fuzz"));
  return 0;
}
