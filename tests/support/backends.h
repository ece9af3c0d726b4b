// Backends for tests.
#pragma once

#include <memory>
#include <string>

#include "runtime/device/backend.h"
#include "tests/support/take.h"

namespace lsrt_test {

// The CPU backend of a model. isa: "" for the best kernel set.
inline std::shared_ptr<lsrt::Backend> cpu(std::shared_ptr<const lsrt::Model> model,
                                          const std::string& isa = "") {
  return take(lsrt::Backend::create({"cpu", isa}, std::move(model)));
}

}  // namespace lsrt_test
