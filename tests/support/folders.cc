// Here alone, so that no other object of a test depends on where the project lies.
#include "tests/support/files.h"

namespace lsrt_test {

const char* const kDataFolder = LSRT_TEST_DATA;
const char* const kSharedFolder = LSRT_SHARED_DIR;

}  // namespace lsrt_test
