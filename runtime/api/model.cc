// The C API of models: loading, facts, verification; and the status that all of the API returns.
#include <cstdio>
#include <cstring>

#include "runtime/api/handles.h"
#include "runtime/api/verify.h"
#include "runtime/device/threads.h"
#include "runtime/version.h"

using namespace lsrt;

namespace lsrt {
namespace {

// Fixed size: reporting that memory is short must not need any.
thread_local char last_error[1024] = "";

Status make_model(std::shared_ptr<const Model> model, const lsrt_model_params& params, lsrt_model** out) {
  BackendOptions options;
  if (params.backend) options.name = params.backend;
  if (params.isa) options.isa = params.isa;
  LSRT_ASSIGN(std::unique_ptr<Backend> backend, Backend::create(options, model));
  *out = new lsrt_model{std::make_shared<const LoadedModel>(std::move(model), std::move(backend))};
  return Status();
}

}  // namespace

lsrt_status report(Error code, const char* message) {
  std::snprintf(last_error, sizeof last_error, "%s", message);
  return static_cast<lsrt_status>(code);
}

Status require_family(const lsrt_model* model, Family family) {
  LSRT_TRY(require(model, "model"));
  const Family own = model->loaded->model->family;
  if (own == family) return {};
  return fail(Error::kArgument, "the model is of family '%s', not '%s'", family_name(own),
              family_name(family));
}

}  // namespace lsrt

const char* lsrt_version(void) { return LSRT_VERSION; }

const char* lsrt_status_string(lsrt_status status) {
  switch (status) {
    case LSRT_OK:
      return "success";
    case LSRT_ERROR_ARGUMENT:
      return "wrong argument";
    case LSRT_ERROR_UNSUPPORTED:
      return "not supported by this build or machine";
    case LSRT_ERROR_FILE:
      return "file cannot be opened, read or written";
    case LSRT_ERROR_MODEL:
      return "damaged model or state file";
    case LSRT_ERROR_VERSION:
      return "file needs another version of this library";
    case LSRT_ERROR_MEMORY:
      return "out of memory";
    case LSRT_ERROR_DEVICE:
      return "device failed";
    case LSRT_ERROR_CHECKPOINT:
      return "damaged or unknown checkpoint";
    case LSRT_ERROR_CANCELLED:
      return "cancelled";
    case LSRT_STATUS_MAX:
      break;
  }
  return "unknown status";
}

const char* lsrt_last_error(void) { return last_error; }

lsrt_model_params lsrt_model_default_params(void) {
  return {sizeof(lsrt_model_params), "cpu", nullptr, false};
}

lsrt_status lsrt_model_load(const char* path, const lsrt_model_params* params, lsrt_model** model) {
  return guarded([&]() -> Status {
    LSRT_TRY(require(path, "path"));
    LSRT_TRY(require(model, "model"));
    lsrt_model_params p;
    LSRT_TRY(read_params(params, lsrt_model_default_params(), &p));
    LSRT_ASSIGN(std::shared_ptr<const Model> m,
                Model::load(path, p.map ? Placement::kMapped : Placement::kMemory));
    return make_model(std::move(m), p, model);
  });
}

lsrt_status lsrt_model_load_buffer(const void* data, size_t size, const lsrt_model_params* params,
                                   lsrt_model** model) {
  return guarded([&]() -> Status {
    LSRT_TRY(require(data, "data"));
    LSRT_TRY(require(model, "model"));
    lsrt_model_params p;
    LSRT_TRY(read_params(params, lsrt_model_default_params(), &p));
    Pages bytes(size);
    if (!bytes.data()) return fail(Error::kMemory, "cannot allocate %zu bytes for the model", size);
    std::memcpy(bytes.data(), data, size);
    LSRT_ASSIGN(std::shared_ptr<const Model> m, Model::load_bytes(std::move(bytes), "buffer"));
    return make_model(std::move(m), p, model);
  });
}

void lsrt_model_free(lsrt_model* model) { delete model; }

const char* lsrt_model_family(const lsrt_model* model) {
  return model ? family_name(model->loaded->model->family) : "";
}

const char* lsrt_model_architecture(const lsrt_model* model) {
  return model ? model->loaded->model->provenance.architecture.c_str() : "";
}

const char* lsrt_model_isa(const lsrt_model* model) {
  return model ? model->loaded->backend->info().isa : "";
}

uint32_t lsrt_model_threads(const lsrt_model* model) {
  return model ? choose_threads(*model->loaded->model, 0) : 0;
}

size_t lsrt_model_bytes(const lsrt_model* model) { return model ? model->loaded->model->file_bytes() : 0; }

size_t lsrt_model_vocabulary(const lsrt_model* model) {
  return model ? model->loaded->model->vocabulary.size() : 0;
}

size_t lsrt_model_classes(const lsrt_model* model) {
  const auto* head = model ? std::get_if<ClassifierHead>(&model->loaded->model->head) : nullptr;
  return head && !head->layers.empty() ? head->layers.back().outputs : 0;
}

const char* lsrt_model_label(const lsrt_model* model, size_t index) {
  if (!model) return "";
  const std::vector<std::string>& labels = model->loaded->model->labels;
  return index < labels.size() ? labels[index].c_str() : "";
}

lsrt_status lsrt_model_verify(const lsrt_model* model, uint32_t threads, float* difference, float* expected) {
  return guarded([&]() -> Status {
    LSRT_TRY(require(model, "model"));
    LSRT_TRY(require(difference, "difference"));
    LSRT_TRY(require(expected, "expected"));
    ArrayOptions options;
    options.threads = threads;
    LSRT_ASSIGN(const GoldenCheck check, check_golden(model->loaded->backend, options));
    *difference = check.max_difference;
    *expected = model->loaded->model->golden.max_difference;
    return agrees(*model->loaded->model, check);
  });
}
