// What the C API's files share: the model behind its handle, and the way errors and parameters cross the
// boundary.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstring>
#include <iterator>
#include <memory>
#include <new>
#include <optional>
#include <string>

#include "runtime/device/backend.h"
#include "runtime/lsrt.h"
#include "runtime/model/model.h"
#include "runtime/text/bpe_tokenizer.h"
#include "runtime/text/tokenizer.h"

namespace lsrt {

// What all handles made from a model share and keep alive.
struct LoadedModel {
  LoadedModel(std::shared_ptr<const Model> m, std::shared_ptr<Backend> b)
      : model(std::move(m)), backend(std::move(b)), tokenizer(tokenizer_of(*model)) {
    if (model->byte_pairs) byte_pairs.emplace(model->vocabulary, *model->byte_pairs);
  }

  // Documents of encoders (whose length has a limit) are bytes, texts of language models have a vocabulary.
  static Tokenizer tokenizer_of(const Model& model) {
    return model.sequence.max_length != 0 ? Tokenizer::of_bytes(model.sequence.byte_offset)
                                          : Tokenizer(model.vocabulary);
  }

  // Gives the tokens of a text to `emit`, one by one. Bytes taken: all, or those before the first that no
  // token stands for.
  size_t encode(std::string_view text, FunctionRef<void(int32_t)> emit) const {
    if (byte_pairs) return byte_pairs->encode(text, emit);
    std::string_view left = text;
    while (!left.empty()) {
      const int32_t token = tokenizer.next(&left);
      if (token < 0) break;
      emit(token);
    }
    return text.size() - left.size();
  }

  // The error of encode() where it takes so many bytes.
  static Status unknown_byte(std::string_view text, size_t taken) {
    const auto byte = static_cast<unsigned char>(text[taken]);
    return fail(Error::kArgument, "byte 0x%02X%s at position %zu is not in the model's vocabulary", byte,
                byte > 0x20 && byte < 0x7F ? (std::string(" ('") + text[taken] + "')").c_str() : "", taken);
  }

  std::shared_ptr<const Model> model;
  std::shared_ptr<Backend> backend;  // after the model, which must outlive it
  Tokenizer tokenizer;
  std::optional<BytePairTokenizer> byte_pairs;  // takes the tokenizer's place
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

// Where the fields of a struct of lsrt.h end. A struct of an older header is a shorter one of the same
// fields, so its size is one of these, or with the padding behind its last field the whole; any other size is
// a mistake, and would copy a part of a field.
template <typename T>
struct FieldEnds;
#define LSRT_END(T, field) (offsetof(T, field) + sizeof(T::field))
#define LSRT_FIELD_ENDS(T, ...)                                                       \
  template <>                                                                         \
  struct FieldEnds<T> {                                                               \
    static constexpr size_t kEnds[] = {__VA_ARGS__};                                  \
    static_assert(sizeof(T) - kEnds[sizeof kEnds / sizeof kEnds[0] - 1] < alignof(T), \
                  "a field is not listed");                                           \
  }

template <typename T>
bool is_size_of(size_t size) {
  const auto& ends = FieldEnds<T>::kEnds;
  return size == sizeof(T) || std::find(std::begin(ends), std::end(ends), size) != std::end(ends);
}

// Parameters as this version knows them: a caller built with an older header has a shorter struct, the rest
// are defaults.
template <typename T>
Status read_params(const T* params, T defaults, T* out) {
  *out = defaults;
  if (!params) return {};
  if (!is_size_of<T>(params->struct_size)) {
    return fail(Error::kArgument,
                "struct_size of the parameters is %zu, must be %zu: start from the default parameters",
                params->struct_size, sizeof(T));
  }
  std::memcpy(static_cast<void*>(out), params, params->struct_size);
  return {};
}

// The same in the other direction: fills as much as the caller's struct has.
template <typename T>
Status write_struct(const T& value, T* out) {
  if (!is_size_of<T>(out->struct_size)) {
    return fail(Error::kArgument, "struct_size is %zu, must be set to %zu", out->struct_size, sizeof(T));
  }
  const size_t size = out->struct_size;
  std::memcpy(static_cast<void*>(out), &value, size);
  out->struct_size = size;
  return {};
}

inline Status require(const void* pointer, const char* name) {
  return pointer ? Status() : fail(Error::kArgument, "%s is NULL", name);
}

// kArgument, unless the model is one of this family.
Status require_family(const lsrt_model* model, Family family);

LSRT_FIELD_ENDS(lsrt_model_params, LSRT_END(lsrt_model_params, struct_size),
                LSRT_END(lsrt_model_params, backend), LSRT_END(lsrt_model_params, isa),
                LSRT_END(lsrt_model_params, map));
LSRT_FIELD_ENDS(lsrt_session_params, LSRT_END(lsrt_session_params, struct_size),
                LSRT_END(lsrt_session_params, threads), LSRT_END(lsrt_session_params, block),
                LSRT_END(lsrt_session_params, memory), LSRT_END(lsrt_session_params, max_batch),
                LSRT_END(lsrt_session_params, max_bytes));
LSRT_FIELD_ENDS(lsrt_session_memory, LSRT_END(lsrt_session_memory, struct_size),
                LSRT_END(lsrt_session_memory, state_bytes), LSRT_END(lsrt_session_memory, positions_bytes),
                LSRT_END(lsrt_session_memory, scratch_bytes), LSRT_END(lsrt_session_memory, snapshot_bytes));
LSRT_FIELD_ENDS(lsrt_sampler_params, LSRT_END(lsrt_sampler_params, struct_size),
                LSRT_END(lsrt_sampler_params, temperature), LSRT_END(lsrt_sampler_params, top_k),
                LSRT_END(lsrt_sampler_params, top_p), LSRT_END(lsrt_sampler_params, min_p),
                LSRT_END(lsrt_sampler_params, repeat_penalty), LSRT_END(lsrt_sampler_params, repeat_window),
                LSRT_END(lsrt_sampler_params, seed));
LSRT_FIELD_ENDS(lsrt_classifier_params, LSRT_END(lsrt_classifier_params, struct_size),
                LSRT_END(lsrt_classifier_params, threads), LSRT_END(lsrt_classifier_params, max_batch),
                LSRT_END(lsrt_classifier_params, max_bytes));
LSRT_FIELD_ENDS(lsrt_embedder_params, LSRT_END(lsrt_embedder_params, struct_size),
                LSRT_END(lsrt_embedder_params, threads), LSRT_END(lsrt_embedder_params, max_tiles),
                LSRT_END(lsrt_embedder_params, max_bytes));
LSRT_FIELD_ENDS(lsrt_slide_input, LSRT_END(lsrt_slide_input, struct_size),
                LSRT_END(lsrt_slide_input, features), LSRT_END(lsrt_slide_input, tile),
                LSRT_END(lsrt_slide_input, cells), LSRT_END(lsrt_slide_input, width));
LSRT_FIELD_ENDS(lsrt_image_input, LSRT_END(lsrt_image_input, struct_size), LSRT_END(lsrt_image_input, size),
                LSRT_END(lsrt_image_input, resize), LSRT_END(lsrt_image_input, mean),
                LSRT_END(lsrt_image_input, std));
LSRT_FIELD_ENDS(lsrt_sequence_input, LSRT_END(lsrt_sequence_input, struct_size),
                LSRT_END(lsrt_sequence_input, max_length), LSRT_END(lsrt_sequence_input, byte_offset),
                LSRT_END(lsrt_sequence_input, pair));

}  // namespace lsrt

struct lsrt_model {
  std::shared_ptr<const lsrt::LoadedModel> loaded;
};
