// The value of a result that must be there.
#pragma once

#include <doctest/doctest.h>

#include "base/status.h"

namespace lsrt_test {

template <typename T>
T take(lsrt::Result<T> result) {
  INFO(result.status().message());
  REQUIRE(result.ok());
  return result.take();
}

}  // namespace lsrt_test
