// What the C API's files share: the model behind its handle, and the way errors and parameters cross the
// boundary.
#pragma once

#include <algorithm>
#include <cstring>
#include <memory>
#include <new>
#include <string>

#include "runtime/backend.h"
#include "runtime/lsrt.h"
#include "runtime/model.h"
#include "runtime/tokenizer.h"

namespace lsrt {

// What all handles made from a model share and keep alive.
struct LoadedModel {
  LoadedModel(std::shared_ptr<const Model> m, std::shared_ptr<Backend> b)
      : model(std::move(m)), backend(std::move(b)), tokenizer(model->vocabulary) {}

  std::shared_ptr<const Model> model;
  std::shared_ptr<Backend> backend;  // after the model, which must outlive it
  Tokenizer tokenizer;
};

// Keeps the text for lsrt_last_error() unless the status is ok.
lsrt_status report(Error code, const char* message);

// Runs f() -> Status; nothing is thrown past it.
template <typename F>
lsrt_status guarded(const F& f) {
  try {
    const Status status = f();
    return status.ok() ? LSRT_OK : report(status.code(), status.message().c_str());
  } catch (const std::bad_alloc&) {
    return report(Error::kMemory, "out of memory");
  } catch (const std::exception& e) {
    return report(Error::kUnsupported, e.what());
  }
}

// Parameters as this version knows them: a caller built with an older header has a shorter struct, the rest
// are defaults.
template <typename T>
Status read_params(const T* params, T defaults, T* out) {
  *out = defaults;
  if (!params) return Status();
  if (params->struct_size < sizeof params->struct_size || params->struct_size > sizeof(T)) {
    return fail(Error::kArgument,
                "struct_size of the parameters is %zu, must be %zu: start from the default parameters",
                params->struct_size, sizeof(T));
  }
  std::memcpy(static_cast<void*>(out), params, params->struct_size);
  return Status();
}

// The same in the other direction: fills as much as the caller's struct has.
template <typename T>
Status write_struct(const T& value, T* out) {
  if (out->struct_size < sizeof out->struct_size || out->struct_size > sizeof(T)) {
    return fail(Error::kArgument, "struct_size is %zu, must be set to %zu", out->struct_size, sizeof(T));
  }
  const size_t size = out->struct_size;
  std::memcpy(static_cast<void*>(out), &value, size);
  out->struct_size = size;
  return Status();
}

inline Status require(const void* pointer, const char* name) {
  return pointer ? Status() : fail(Error::kArgument, "%s is NULL", name);
}

}  // namespace lsrt

struct lsrt_model {
  std::shared_ptr<const lsrt::LoadedModel> loaded;
};
