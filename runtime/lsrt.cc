#include "runtime/lsrt.h"

#include <cstdio>
#include <cstring>

#include "runtime/arrays.h"
#include "runtime/lsrt_handles.h"
#include "runtime/sampler.h"
#include "runtime/session.h"
#include "runtime/version.h"

using namespace lsrt;

struct lsrt_session {
  std::shared_ptr<const LoadedModel> loaded;
  std::unique_ptr<Session> session;
};

struct lsrt_sampler {
  Sampler sampler;
};

namespace lsrt {
namespace {

// Fixed size: reporting that memory is short must not need any.
thread_local char last_error[1024] = "";

Status make_model(std::shared_ptr<const Model> model, const lsrt_model_params& params, lsrt_model** out) {
  const std::string isa = params.isa ? params.isa : "";
  LSRT_ASSIGN(std::unique_ptr<Backend> backend,
              Backend::create(params.backend ? params.backend : "cpu", isa));
  *out = new lsrt_model{std::make_shared<const LoadedModel>(std::move(model), std::move(backend))};
  return Status();
}

Status causal_options(const lsrt_session_params* params, CausalOptions* options) {
  lsrt_session_params p;
  LSRT_TRY(read_params(params, lsrt_session_default_params(), &p));
  if (p.threads == 0) return fail(Error::kArgument, "threads is 0, must be at least 1");
  options->threads = p.threads;
  options->block = p.block;
  options->memory = p.memory;
  options->max_rows = p.max_batch;
  return Status();
}

}  // namespace

lsrt_status report(Error code, const char* message) {
  std::snprintf(last_error, sizeof last_error, "%s", message);
  return static_cast<lsrt_status>(code);
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

// ---- models
// -----------------------------------------------------------------------------------------------------------

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

const char* lsrt_model_family(const lsrt_model* model) { return model->loaded->model->family.c_str(); }

const char* lsrt_model_architecture(const lsrt_model* model) {
  return model->loaded->model->provenance.architecture.c_str();
}

const char* lsrt_model_isa(const lsrt_model* model) { return model->loaded->backend->isa(); }

size_t lsrt_model_bytes(const lsrt_model* model) { return model->loaded->model->file_bytes(); }

size_t lsrt_model_vocabulary(const lsrt_model* model) { return model->loaded->model->vocabulary.size(); }

size_t lsrt_model_classes(const lsrt_model* model) {
  const auto* head = std::get_if<ClassifierHead>(&model->loaded->model->head);
  return head && !head->layers.empty() ? head->layers.back().outputs : 0;
}

const char* lsrt_model_label(const lsrt_model* model, size_t index) {
  const std::vector<std::string>& labels = model->loaded->model->labels;
  return index < labels.size() ? labels[index].c_str() : "";
}

lsrt_status lsrt_model_verify(const lsrt_model* model, uint32_t threads, float* difference, float* expected) {
  return guarded([&]() -> Status {
    LSRT_TRY(require(model, "model"));
    LSRT_TRY(require(difference, "difference"));
    LSRT_TRY(require(expected, "expected"));
    ArrayOptions options;
    options.backend = model->loaded->backend->name();
    options.isa = model->loaded->backend->isa();
    options.threads = std::max(threads, 1u);
    LSRT_ASSIGN(*difference, golden_difference(model->loaded->model, options));
    *expected = model->loaded->model->golden.max_difference;
    return Status();
  });
}

// ---- text
// -------------------------------------------------------------------------------------------------------------

lsrt_status lsrt_tokenize(const lsrt_model* model, const char* text, size_t text_size, int32_t* tokens,
                          size_t capacity, size_t* count) {
  return guarded([&]() -> Status {
    LSRT_TRY(require(model, "model"));
    LSRT_TRY(require(count, "count"));
    if (text_size) LSRT_TRY(require(text, "text"));
    if (capacity) LSRT_TRY(require(tokens, "tokens"));
    std::string_view left(text, text_size);
    size_t made = 0;
    while (!left.empty()) {
      const int32_t token = model->loaded->tokenizer.next(&left);
      if (token < 0) {
        *count = made;
        const auto byte = static_cast<unsigned char>(left.front());
        return fail(Error::kArgument, "byte 0x%02X%s at position %zu is not in the model's vocabulary", byte,
                    byte > 0x20 && byte < 0x7F ? (std::string(" ('") + left.front() + "')").c_str() : "",
                    text_size - left.size());
      }
      if (made < capacity) tokens[made] = token;
      ++made;
    }
    *count = made;
    if (made > capacity)
      return fail(Error::kMemory, "the text has %zu tokens, the buffer room for %zu", made, capacity);
    return Status();
  });
}

const char* lsrt_token_text(const lsrt_model* model, int32_t token, size_t* size) {
  const std::vector<std::string>& vocabulary = model->loaded->model->vocabulary;
  const bool known = token >= 0 && static_cast<size_t>(token) < vocabulary.size();
  if (size) *size = known ? vocabulary[token].size() : 0;
  return known ? vocabulary[token].c_str() : "";
}

// ---- sessions
// ---------------------------------------------------------------------------------------------------------

lsrt_session_params lsrt_session_default_params(void) { return {sizeof(lsrt_session_params), 1, 0, 0, 0}; }

lsrt_status lsrt_session_plan(const lsrt_model* model, const lsrt_session_params* params,
                              lsrt_session_memory* memory) {
  return guarded([&]() -> Status {
    LSRT_TRY(require(model, "model"));
    LSRT_TRY(require(memory, "memory"));
    CausalOptions options;
    LSRT_TRY(causal_options(params, &options));
    const LoadedModel& loaded = *model->loaded;
    LSRT_ASSIGN(CausalMemory plan, CausalNetwork::plan(*loaded.model, *loaded.backend, options));
    return write_struct({0, plan.state_bytes, plan.positions_bytes, plan.scratch_bytes}, memory);
  });
}

lsrt_status lsrt_session_create(const lsrt_model* model, const lsrt_session_params* params,
                                lsrt_session** session) {
  return guarded([&]() -> Status {
    LSRT_TRY(require(model, "model"));
    LSRT_TRY(require(session, "session"));
    CausalOptions options;
    LSRT_TRY(causal_options(params, &options));
    const auto& loaded = model->loaded;
    LSRT_ASSIGN(std::unique_ptr<Session> made, Session::create(loaded->model, loaded->backend, options));
    *session = new lsrt_session{loaded, std::move(made)};
    return Status();
  });
}

void lsrt_session_free(lsrt_session* session) { delete session; }

lsrt_status lsrt_session_feed(lsrt_session* session, const int32_t* tokens, size_t count, lsrt_output output,
                              float* logprobs, lsrt_progress progress, void* user) {
  return guarded([&]() -> Status {
    LSRT_TRY(require(session, "session"));
    if (count) LSRT_TRY(require(tokens, "tokens"));
    if (output != LSRT_OUTPUT_NONE && output != LSRT_OUTPUT_LAST && output != LSRT_OUTPUT_ALL) {
      return fail(Error::kArgument, "output is %d, must be one of lsrt_output", static_cast<int>(output));
    }
    if (output != LSRT_OUTPUT_NONE) LSRT_TRY(require(logprobs, "logprobs"));
    if (output == LSRT_OUTPUT_LAST && count == 0) {
      return fail(Error::kArgument, "no tokens, so there is no last one to predict from");
    }
    Session::Progress ask;
    if (progress) ask = [&](size_t done) { return progress(done, count, user); };
    return session->session->feed(tokens, count, static_cast<Session::Output>(output), logprobs, ask);
  });
}

uint64_t lsrt_session_position(const lsrt_session* session) { return session->session->position(); }

lsrt_status lsrt_session_reset(lsrt_session* session) {
  return guarded([&]() -> Status {
    LSRT_TRY(require(session, "session"));
    session->session->reset();
    return Status();
  });
}

lsrt_status lsrt_session_save(lsrt_session* session, const lsrt_sampler* sampler, const char* path) {
  return guarded([&]() -> Status {
    LSRT_TRY(require(session, "session"));
    LSRT_TRY(require(path, "path"));
    return session->session->save(path, sampler ? &sampler->sampler.state() : nullptr);
  });
}

lsrt_status lsrt_session_load(lsrt_session* session, lsrt_sampler* sampler, const char* path) {
  return guarded([&]() -> Status {
    LSRT_TRY(require(session, "session"));
    LSRT_TRY(require(path, "path"));
    SamplerState state;
    LSRT_TRY(session->session->load(path, sampler ? &state : nullptr));
    if (sampler) sampler->sampler.restore(state);
    return Status();
  });
}

// ---- sampling
// ---------------------------------------------------------------------------------------------------------

lsrt_sampler_params lsrt_sampler_default_params(void) {
  const SamplerParams d;
  return {sizeof(lsrt_sampler_params),
          d.temperature,
          d.top_k,
          d.top_p,
          d.min_p,
          d.repeat_penalty,
          d.repeat_window,
          d.seed};
}

lsrt_status lsrt_sampler_create(const lsrt_model* model, const lsrt_sampler_params* params,
                                lsrt_sampler** sampler) {
  return guarded([&]() -> Status {
    LSRT_TRY(require(model, "model"));
    LSRT_TRY(require(sampler, "sampler"));
    lsrt_sampler_params p;
    LSRT_TRY(read_params(params, lsrt_sampler_default_params(), &p));
    const SamplerParams own{p.temperature,    p.top_k,         p.top_p, p.min_p,
                            p.repeat_penalty, p.repeat_window, p.seed};
    LSRT_ASSIGN(Sampler made, Sampler::create(model->loaded->model->vocabulary, own));
    *sampler = new lsrt_sampler{std::move(made)};
    return Status();
  });
}

void lsrt_sampler_free(lsrt_sampler* sampler) { delete sampler; }

void lsrt_sampler_accept(lsrt_sampler* sampler, int32_t token) { sampler->sampler.accept(token); }

int32_t lsrt_sampler_last(const lsrt_sampler* sampler) { return sampler->sampler.last(); }

lsrt_status lsrt_sampler_sample(lsrt_sampler* sampler, const float* logprobs, int32_t* token) {
  return guarded([&]() -> Status {
    LSRT_TRY(require(sampler, "sampler"));
    LSRT_TRY(require(logprobs, "logprobs"));
    LSRT_TRY(require(token, "token"));
    LSRT_ASSIGN(*token, sampler->sampler.sample(logprobs));
    return Status();
  });
}
