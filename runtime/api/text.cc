// The C API of language models: tokens, sessions, samplers.
#include "base/text.h"

#include <algorithm>
#include <cstring>

#include "runtime/api/handles.h"
#include "runtime/device/threads.h"
#include "runtime/text/sampler.h"
#include "runtime/text/session.h"
#include "runtime/text/snapshot.h"

using namespace lsrt;

struct lsrt_session {
  std::shared_ptr<const LoadedModel> loaded;
  std::unique_ptr<Session> session;
};

struct lsrt_sampler {
  std::shared_ptr<const LoadedModel> loaded;
  Sampler sampler;
};

namespace {

Status causal_options(const Model& model, const lsrt_session_params* params, CausalOptions* options) {
  lsrt_session_params p;
  LSRT_TRY(read_params(params, lsrt_session_default_params(), &p));
  options->threads = choose_threads(model, p.threads);
  options->block = p.block;
  options->memory = p.memory;
  options->max_rows = p.max_batch;
  options->max_bytes = p.max_bytes;
  return Status();
}

// A sampler, unless null, goes with sessions of its own model.
Status same_model(const lsrt_session& session, const lsrt_sampler* sampler) {
  if (!sampler || sampler->loaded == session.loaded ||
      sampler->loaded->model->fingerprint() == session.loaded->model->fingerprint()) {
    return {};
  }
  return fail(Error::kArgument, "the sampler was made for another model than the session's");
}

}  // namespace

lsrt_status lsrt_tokenize(const lsrt_model* model, const char* text, size_t text_size, int32_t* tokens,
                          size_t capacity, size_t* count) {
  return guarded([&]() -> Status {
    LSRT_TRY(require(model, "model"));
    LSRT_TRY(require(count, "count"));
    if (text_size) LSRT_TRY(require(text, "text"));
    if (capacity) LSRT_TRY(require(tokens, "tokens"));
    size_t made = 0;
    const auto add = [&](int32_t token) {
      if (made < capacity) tokens[made] = token;
      ++made;
    };
    const size_t taken = model->loaded->encode({text, text_size}, add);
    *count = made;
    if (taken < text_size) return LoadedModel::unknown_byte({text, text_size}, taken);
    if (made > capacity)
      return fail(Error::kMemory, "the text has %zu tokens, the buffer room for %zu", made, capacity);
    return Status();
  });
}

const char* lsrt_token_text(const lsrt_model* model, int32_t token, size_t* size) {
  if (size) *size = 0;
  if (!model) return "";
  const std::vector<std::string>& vocabulary = model->loaded->model->vocabulary;
  const bool known = token >= 0 && static_cast<size_t>(token) < vocabulary.size();
  if (size) *size = known ? vocabulary[token].size() : 0;
  return known ? vocabulary[token].c_str() : "";
}

lsrt_status lsrt_detokenize(const lsrt_model* model, const int32_t* tokens, size_t count, char* text,
                            size_t capacity, size_t* text_size) {
  return guarded([&]() -> Status {
    LSRT_TRY(require(model, "model"));
    LSRT_TRY(require(text_size, "text_size"));
    if (count) LSRT_TRY(require(tokens, "tokens"));
    if (capacity) LSRT_TRY(require(text, "text"));
    *text_size = 0;
    for (size_t i = 0; i < count; ++i) {
      size_t size = 0;
      const char* bytes = lsrt_token_text(model, tokens[i], &size);
      if (size && size <= capacity - std::min(*text_size, capacity)) {
        std::memcpy(text + *text_size, bytes, size);
      }
      *text_size += size;
    }
    if (*text_size <= capacity) return Status();
    return fail(Error::kMemory, "the text has %zu bytes, the buffer room for %zu", *text_size, capacity);
  });
}

bool lsrt_token_special(const lsrt_model* model, int32_t token) {
  if (!model || !model->loaded->model->byte_pairs) return false;
  const std::vector<BytePairs::Added>& added = model->loaded->model->byte_pairs->added;
  return std::any_of(added.begin(), added.end(), [&](const BytePairs::Added& a) {
    return a.special && static_cast<int64_t>(a.id) == token;
  });
}

size_t lsrt_whole_text(const char* text, size_t text_size) {
  if (!text) return 0;
  // A character has at most four bytes, so the beginning of one at most three.
  for (size_t n = std::min<size_t>(text_size, 3); n > 0; --n) {
    if (utf8_begins({text + text_size - n, n})) return text_size - n;
  }
  return text_size;
}

// ---- sessions

lsrt_session_params lsrt_session_default_params(void) { return {sizeof(lsrt_session_params), 0, 0, 0, 0, 0}; }

lsrt_status lsrt_session_plan(const lsrt_model* model, const lsrt_session_params* params,
                              lsrt_session_memory* memory) {
  return guarded([&]() -> Status {
    LSRT_TRY(require(model, "model"));
    LSRT_TRY(require(memory, "memory"));
    CausalOptions options;
    const LoadedModel& loaded = *model->loaded;
    LSRT_TRY(causal_options(*loaded.model, params, &options));
    LSRT_ASSIGN(CausalMemory plan, CausalNetwork::plan(*loaded.backend, options));
    return write_struct({0, plan.state_bytes, plan.positions_bytes, plan.scratch_bytes,
                         plan.exchange_bytes + snapshot_overhead(nullptr)},
                        memory);
  });
}

lsrt_status lsrt_session_create(const lsrt_model* model, const lsrt_session_params* params,
                                lsrt_session** session) {
  return guarded([&]() -> Status {
    LSRT_TRY(require(model, "model"));
    LSRT_TRY(require(session, "session"));
    CausalOptions options;
    const auto& loaded = model->loaded;
    LSRT_TRY(causal_options(*loaded->model, params, &options));
    LSRT_ASSIGN(std::unique_ptr<Session> made, Session::create(loaded->backend, options));
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
    const auto ask = [&](size_t done) { return progress(done, count, user); };
    return session->session->feed(tokens, count, static_cast<Session::Output>(output), logprobs,
                                  progress ? Session::Progress(ask) : Session::Progress());
  });
}

lsrt_status lsrt_session_next(lsrt_session* session, const int32_t* tokens, size_t count,
                              lsrt_sampler* sampler, lsrt_progress progress, void* user, int32_t* token) {
  return guarded([&]() -> Status {
    LSRT_TRY(require(session, "session"));
    LSRT_TRY(require(sampler, "sampler"));
    LSRT_TRY(require(token, "token"));
    if (count) LSRT_TRY(require(tokens, "tokens"));
    LSRT_TRY(same_model(*session, sampler));
    const auto ask = [&](size_t done) { return progress(done, count, user); };
    LSRT_ASSIGN(*token, session->session->next(tokens, count, &sampler->sampler,
                                               progress ? Session::Progress(ask) : Session::Progress()));
    return Status();
  });
}

uint64_t lsrt_session_position(const lsrt_session* session) {
  return session ? session->session->position() : 0;
}

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
    LSRT_TRY(same_model(*session, sampler));
    return session->session->save_file(path, sampler ? &sampler->sampler : nullptr);
  });
}

lsrt_status lsrt_session_load(lsrt_session* session, lsrt_sampler* sampler, const char* path) {
  return guarded([&]() -> Status {
    LSRT_TRY(require(session, "session"));
    LSRT_TRY(require(path, "path"));
    LSRT_TRY(same_model(*session, sampler));
    return session->session->load_file(path, sampler ? &sampler->sampler : nullptr);
  });
}

lsrt_status lsrt_session_save_buffer(lsrt_session* session, const lsrt_sampler* sampler, void* buffer,
                                     size_t capacity, size_t* size) {
  return guarded([&]() -> Status {
    LSRT_TRY(require(session, "session"));
    LSRT_TRY(require(size, "size"));
    LSRT_TRY(same_model(*session, sampler));
    const Sampler* own = sampler ? &sampler->sampler : nullptr;
    *size = session->session->snapshot_bytes(own);
    if (!buffer) return {};
    if (capacity < *size) {
      return fail(Error::kMemory, "the state takes %zu bytes, the buffer has %zu", *size, capacity);
    }
    return session->session->save(own, static_cast<uint8_t*>(buffer));
  });
}

lsrt_status lsrt_session_load_buffer(lsrt_session* session, lsrt_sampler* sampler, const void* data,
                                     size_t size) {
  return guarded([&]() -> Status {
    LSRT_TRY(require(session, "session"));
    LSRT_TRY(require(data, "data"));
    LSRT_TRY(same_model(*session, sampler));
    return session->session->load(static_cast<const uint8_t*>(data), size, "buffer",
                                  sampler ? &sampler->sampler : nullptr);
  });
}

// ---- sampling

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
    *sampler = new lsrt_sampler{model->loaded, std::move(made)};
    return Status();
  });
}

void lsrt_sampler_free(lsrt_sampler* sampler) { delete sampler; }

void lsrt_sampler_accept(lsrt_sampler* sampler, int32_t token) {
  if (sampler) sampler->sampler.accept(token);
}

int32_t lsrt_sampler_last(const lsrt_sampler* sampler) { return sampler ? sampler->sampler.last() : -1; }

lsrt_status lsrt_sampler_sample(lsrt_sampler* sampler, const float* logprobs, int32_t* token) {
  return guarded([&]() -> Status {
    LSRT_TRY(require(sampler, "sampler"));
    LSRT_TRY(require(logprobs, "logprobs"));
    LSRT_TRY(require(token, "token"));
    LSRT_ASSIGN(*token, sampler->sampler.sample(logprobs));
    return Status();
  });
}
