// lsrt from C++17: owners, strings and vectors over lsrt.h, which stays the manual of what each call does.
// One header, nothing to link besides lsrt.
//
// Generating text:
//
//   lsrt::Result<lsrt::Model> model = lsrt::Model::load("books-lm.lsrt");
//   if (!model) { puts(model.message().c_str()); return 1; }
//   lsrt::SessionParams params;
//   params.threads = 2;
//   lsrt::Result<lsrt::Session> session = model->session(params);
//   lsrt::Result<lsrt::Sampler> sampler = model->sampler();
//   lsrt::Result<std::vector<int32_t>> tokens = model->tokenize("It was a dark night");
//   std::vector<float> logprobs;
//   lsrt::Status status = session->feed(*tokens, &logprobs);
//   lsrt::Result<int32_t> next = sampler->sample(logprobs);
//   std::cout << model->token_text(*next);
//   ... feed *next, and so on ...
//
// Errors are values: a Status, or a Result<T>, which is a status and a T. Nothing throws but std::bad_alloc,
// unless you ask: or_throw() of either throws lsrt::Exception where there is an error, and exists only in
// programs that are compiled with exceptions. A Result that failed holds an empty T, whose calls fail in turn
// with a status: an error that nobody looked at is no crash.
//
// The rules of lsrt.h hold: a Model is immutable, its copies share one, and any threads may use it; a
// Session, Sampler, Classifier or Embedder is used by one thread at a time, is moved but not copied, and
// keeps its model alive. get() gives the C handle for what is not here.
#ifndef LSRT_HPP
#define LSRT_HPP

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "lsrt.h"

#if defined(__cpp_exceptions)
#include <stdexcept>
#endif

namespace lsrt {
inline namespace api {  // names of its own for the linker: the library has a Status, too

// ---- errors

#if defined(__cpp_exceptions)
class Exception : public std::runtime_error {
 public:
  Exception(lsrt_status code, const std::string& message) : std::runtime_error(message), code_(code) {}
  lsrt_status code() const { return code_; }

 private:
  lsrt_status code_;
};
#endif

// What became of a call: LSRT_OK, or an error with its text (what is wrong, where, and the way out).
class [[nodiscard]] Status {
 public:
  Status() = default;
  Status(lsrt_status code, std::string message) : code_(code), message_(std::move(message)) {}
  // Of a call of lsrt.h that was just made on this thread.
  explicit Status(lsrt_status code) : code_(code), message_(code == LSRT_OK ? "" : lsrt_last_error()) {}

  bool ok() const { return code_ == LSRT_OK; }
  explicit operator bool() const { return ok(); }
  lsrt_status code() const { return code_; }
  const std::string& message() const { return message_; }
#if defined(__cpp_exceptions)
  void or_throw() const {
    if (!ok()) throw Exception(code_, message_);
  }
#endif

 private:
  lsrt_status code_ = LSRT_OK;
  std::string message_;
};

// A T, or an error and an empty T.
template <typename T>
class [[nodiscard]] Result {
 public:
  Result(T value) : value_(std::move(value)) {}
  Result(Status error) : status_(std::move(error)) {}
  Result(lsrt_status code, T value) : status_(code) {
    if (ok()) value_ = std::move(value);
  }

  bool ok() const { return status_.ok(); }
  explicit operator bool() const { return ok(); }
  const Status& status() const { return status_; }
  const std::string& message() const { return status_.message(); }
  T& operator*() & { return value_; }
  const T& operator*() const& { return value_; }
  T&& operator*() && { return std::move(value_); }
  T* operator->() { return &value_; }
  const T* operator->() const { return &value_; }
#if defined(__cpp_exceptions)
  T or_throw() && {
    status_.or_throw();
    return std::move(value_);
  }
  const T& or_throw() const& {
    status_.or_throw();
    return value_;
  }
#endif

 private:
  Status status_;
  T value_{};
};

// ---- parameters: the structs of lsrt.h, with their defaults

struct ModelParams : lsrt_model_params {
  ModelParams() : lsrt_model_params(lsrt_model_default_params()) {}
};
struct SessionParams : lsrt_session_params {
  SessionParams() : lsrt_session_params(lsrt_session_default_params()) {}
};
struct SamplerParams : lsrt_sampler_params {
  SamplerParams() : lsrt_sampler_params(lsrt_sampler_default_params()) {}
};
struct EmbedderParams : lsrt_embedder_params {
  EmbedderParams() : lsrt_embedder_params(lsrt_embedder_default_params()) {}
};
struct ClassifierParams : lsrt_classifier_params {
  ClassifierParams() : lsrt_classifier_params(lsrt_classifier_default_params()) {}
};

// Tokens that somebody else holds, as std::string_view is text: pass it on, do not keep it.
struct Tokens {
  const int32_t* data;
  size_t size;

  Tokens(const int32_t* tokens, size_t count) : data(tokens), size(count) {}
  Tokens(const std::vector<int32_t>& tokens) : data(tokens.data()), size(tokens.size()) {}
  Tokens(const int32_t& token) : data(&token), size(1) {}
};

// Asked between steps; false stops the call with LSRT_ERROR_CANCELLED. Must not throw.
using Progress = std::function<bool(size_t done, size_t total)>;

// The beginning of a text that is still being made which can be shown: whole UTF-8 characters.
inline std::string_view whole_text(std::string_view text) {
  return text.substr(0, lsrt_whole_text(text.data(), text.size()));
}

// ---- sampling

class Sampler {
 public:
  Sampler() = default;
  Sampler(lsrt_sampler* owned, size_t vocabulary) : handle_(owned), vocabulary_(vocabulary) {}

  // The next token of log-probabilities [vocabulary], or of the last row of [n, vocabulary].
  Result<int32_t> sample(const std::vector<float>& logprobs) {
    if (vocabulary_ == 0 || logprobs.empty() || logprobs.size() % vocabulary_ != 0) {
      return Status(LSRT_ERROR_ARGUMENT, "sample: " + std::to_string(logprobs.size()) +
                                             " log-probabilities, the vocabulary has " +
                                             std::to_string(vocabulary_) + " tokens");
    }
    int32_t token = 0;
    const float* row = logprobs.data() + logprobs.size() - vocabulary_;
    const lsrt_status status = lsrt_sampler_sample(handle_.get(), row, &token);
    return {status, token};
  }
  void accept(Tokens tokens) {
    for (size_t i = 0; i < tokens.size; ++i) lsrt_sampler_accept(handle_.get(), tokens.data[i]);
  }
  int32_t last() const { return lsrt_sampler_last(handle_.get()); }
  lsrt_sampler* get() const { return handle_.get(); }

 private:
  struct Free {
    void operator()(lsrt_sampler* p) const { lsrt_sampler_free(p); }
  };
  std::unique_ptr<lsrt_sampler, Free> handle_;
  size_t vocabulary_ = 0;
};

// ---- sessions: one stream of a language model

class Session {
 public:
  Session() = default;
  Session(lsrt_session* owned, size_t vocabulary) : handle_(owned), vocabulary_(vocabulary) {}

  // Feeds tokens. logprobs: resized to [vocabulary], of the token after the last one; nullptr: not computed.
  // A vector that is used again is not allocated again.
  Status feed(Tokens tokens, std::vector<float>* logprobs = nullptr, const Progress& progress = nullptr) {
    return feed(tokens, logprobs ? LSRT_OUTPUT_LAST : LSRT_OUTPUT_NONE, logprobs, 1, progress);
  }
  // logprobs: resized to [tokens, vocabulary], after every token.
  Status feed_all(Tokens tokens, std::vector<float>* logprobs, const Progress& progress = nullptr) {
    return feed(tokens, LSRT_OUTPUT_ALL, logprobs, tokens.size, progress);
  }
  // Feeds tokens, at least one, and chooses the next with a sampler of the same model, which accepts it.
  Result<int32_t> next(Tokens tokens, Sampler* sampler, const Progress& progress = nullptr) {
    int32_t token = 0;
    const lsrt_status status =
        lsrt_session_next(handle_.get(), tokens.data, tokens.size, of(sampler), progress ? ask : nullptr,
                          const_cast<Progress*>(&progress), &token);
    return {status, token};
  }
  uint64_t position() const { return lsrt_session_position(handle_.get()); }
  Status reset() { return Status(lsrt_session_reset(handle_.get())); }

  // The stream's state and, unless nullptr, the sampler's; in a file, or as bytes.
  Status save(const std::string& path, const Sampler* sampler = nullptr) {
    return Status(lsrt_session_save(handle_.get(), of(sampler), path.c_str()));
  }
  Status load(const std::string& path, Sampler* sampler = nullptr) {
    return Status(lsrt_session_load(handle_.get(), of(sampler), path.c_str()));
  }
  Result<std::vector<uint8_t>> save_buffer(const Sampler* sampler = nullptr) {
    size_t size = 0;
    const lsrt_status asked = lsrt_session_save_buffer(handle_.get(), of(sampler), nullptr, 0, &size);
    if (asked != LSRT_OK) return Status(asked);
    std::vector<uint8_t> bytes(size);
    const lsrt_status saved = lsrt_session_save_buffer(handle_.get(), of(sampler), bytes.data(), size, &size);
    return {saved, std::move(bytes)};
  }
  Status load_buffer(const void* data, size_t size, Sampler* sampler = nullptr) {
    return Status(lsrt_session_load_buffer(handle_.get(), of(sampler), data, size));
  }
  lsrt_session* get() const { return handle_.get(); }

 private:
  static lsrt_sampler* of(const Sampler* sampler) { return sampler ? sampler->get() : nullptr; }

  static bool ask(size_t done, size_t total, void* user) noexcept {
    return (*static_cast<const Progress*>(user))(done, total);
  }
  Status feed(Tokens tokens, lsrt_output output, std::vector<float>* logprobs, size_t rows,
              const Progress& progress) {
    if (logprobs) logprobs->resize(rows * vocabulary_);
    return Status(lsrt_session_feed(handle_.get(), tokens.data, tokens.size, output,
                                    logprobs ? logprobs->data() : nullptr, progress ? ask : nullptr,
                                    const_cast<Progress*>(&progress)));
  }

  struct Free {
    void operator()(lsrt_session* p) const { lsrt_session_free(p); }
  };
  std::unique_ptr<lsrt_session, Free> handle_;
  size_t vocabulary_ = 0;
};

// ---- classification

class Classifier {
 public:
  Classifier() = default;
  // image_bytes: of an image of the model; 0: it takes sequences. inputs: sequences for each result.
  Classifier(lsrt_classifier* owned, size_t classes, size_t image_bytes, size_t inputs)
      : handle_(owned), classes_(classes), image_bytes_(image_bytes), inputs_(inputs) {}

  // Logits [count, classes] of images [count, size, size, 3], 8 bits, red green blue; bytes: of all of them.
  Result<std::vector<float>> images(const uint8_t* pixels, size_t bytes) {
    if (image_bytes_ != 0 && bytes % image_bytes_ != 0) {
      return Status(LSRT_ERROR_ARGUMENT, "images: " + std::to_string(bytes) + " bytes, an image has " +
                                             std::to_string(image_bytes_));
    }
    const size_t count = image_bytes_ ? bytes / image_bytes_ : 1;  // of another family the call says so
    std::vector<float> logits(count * classes_);
    const lsrt_status status = lsrt_classify_images(handle_.get(), pixels, count, logits.data());
    return {status, std::move(logits)};
  }

  // Logits [count, classes] of token sequences; for pairs first and second in turn.
  Result<std::vector<float>> sequences(const std::vector<Tokens>& sequences) {
    if (sequences.size() % inputs_ != 0) {
      return Status(LSRT_ERROR_ARGUMENT, "sequences: the model compares pairs, and " +
                                             std::to_string(sequences.size()) + " sequences are none");
    }
    std::vector<int32_t> tokens;
    std::vector<size_t> lengths;
    for (const Tokens& sequence : sequences) {
      tokens.insert(tokens.end(), sequence.data, sequence.data + sequence.size);
      lengths.push_back(sequence.size);
    }
    const size_t count = sequences.size() / inputs_;
    std::vector<float> logits(count * classes_);
    const lsrt_status status =
        lsrt_classify_sequences(handle_.get(), tokens.data(), lengths.data(), count, logits.data());
    return {status, std::move(logits)};
  }
  lsrt_classifier* get() const { return handle_.get(); }

 private:
  struct Free {
    void operator()(lsrt_classifier* p) const { lsrt_classifier_free(p); }
  };
  std::unique_ptr<lsrt_classifier, Free> handle_;
  size_t classes_ = 0, image_bytes_ = 0, inputs_ = 1;
};

class Embedder {
 public:
  Embedder() = default;
  Embedder(lsrt_embedder* owned, size_t features, size_t width)
      : handle_(owned), features_(features), width_(width) {}

  // The embedding of a slide: tiles [count, features] and coords [count, 2], pixels.
  Result<std::vector<float>> embed(const std::vector<float>& tiles, const std::vector<float>& coords) {
    const size_t count = coords.size() / 2;
    if (coords.size() % 2 != 0 || tiles.size() != count * features_) {
      return Status(LSRT_ERROR_ARGUMENT, "embed: " + std::to_string(tiles.size()) + " features of " +
                                             std::to_string(coords.size()) + " coordinates, a tile has " +
                                             std::to_string(features_) + " and two");
    }
    std::vector<float> embedding(width_);
    const lsrt_status status =
        lsrt_embed_slide(handle_.get(), tiles.data(), coords.data(), count, embedding.data());
    return {status, std::move(embedding)};
  }
  lsrt_embedder* get() const { return handle_.get(); }

 private:
  struct Free {
    void operator()(lsrt_embedder* p) const { lsrt_embedder_free(p); }
  };
  std::unique_ptr<lsrt_embedder, Free> handle_;
  size_t features_ = 0, width_ = 0;
};

// ---- models

class Model {
 public:
  Model() = default;
  explicit Model(lsrt_model* owned) : handle_(owned, lsrt_model_free) {}

  static Result<Model> load(const std::string& path, const ModelParams& params = {}) {
    lsrt_model* model = nullptr;
    const lsrt_status status = lsrt_model_load(path.c_str(), &params, &model);
    return {status, Model(model)};
  }
  // From memory, which is copied.
  static Result<Model> load_buffer(const void* data, size_t size, const ModelParams& params = {}) {
    lsrt_model* model = nullptr;
    const lsrt_status status = lsrt_model_load_buffer(data, size, &params, &model);
    return {status, Model(model)};
  }

  std::string_view family() const { return lsrt_model_family(get()); }  // "lm", "encoder", "vil", "slide"
  std::string_view architecture() const { return lsrt_model_architecture(get()); }
  std::string_view isa() const { return lsrt_model_isa(get()); }
  uint32_t threads() const { return lsrt_model_threads(get()); }
  size_t bytes() const { return lsrt_model_bytes(get()); }
  size_t vocabulary() const { return lsrt_model_vocabulary(get()); }
  size_t classes() const { return lsrt_model_classes(get()); }
  std::string_view label(size_t index) const { return lsrt_model_label(get(), index); }

  // Runs the golden that conversion stored; the pointers may be null.
  Status verify(uint32_t threads = 0, float* difference = nullptr, float* expected = nullptr) const {
    float ours[2] = {};
    return Status(lsrt_model_verify(get(), threads, difference ? difference : &ours[0],
                                    expected ? expected : &ours[1]));
  }

  Result<std::vector<int32_t>> tokenize(std::string_view text) const {
    std::vector<int32_t> tokens(text.size());
    size_t count = 0;
    lsrt_status status = lsrt_tokenize(get(), text.data(), text.size(), tokens.data(), tokens.size(), &count);
    tokens.resize(count);
    if (status == LSRT_ERROR_MEMORY) {
      status = lsrt_tokenize(get(), text.data(), text.size(), tokens.data(), tokens.size(), &count);
    }
    return {status, std::move(tokens)};
  }
  // The bytes of one token, which need not be whole characters. Valid while the model lives.
  std::string_view token_text(int32_t token) const {
    size_t size = 0;
    const char* text = lsrt_token_text(get(), token, &size);
    return {text, size};
  }
  bool token_special(int32_t token) const { return lsrt_token_special(get(), token); }
  Result<std::string> detokenize(Tokens tokens) const {
    size_t size = 0;
    lsrt_status status = lsrt_detokenize(get(), tokens.data, tokens.size, nullptr, 0, &size);
    std::string text(status == LSRT_ERROR_MEMORY ? size : 0, '\0');
    if (!text.empty()) {
      status = lsrt_detokenize(get(), tokens.data, tokens.size, text.data(), text.size(), &size);
    }
    return {status, std::move(text)};
  }

  // Memory that a session will take.
  Result<lsrt_session_memory> plan(const SessionParams& params = {}) const {
    lsrt_session_memory memory = {};
    memory.struct_size = sizeof memory;
    const lsrt_status status = lsrt_session_plan(get(), &params, &memory);
    return {status, memory};
  }
  Result<Session> session(const SessionParams& params = {}) const {
    lsrt_session* session = nullptr;
    const lsrt_status status = lsrt_session_create(get(), &params, &session);
    return {status, Session(session, vocabulary())};
  }
  Result<Sampler> sampler(const SamplerParams& params = {}) const {
    lsrt_sampler* sampler = nullptr;
    const lsrt_status status = lsrt_sampler_create(get(), &params, &sampler);
    return {status, Sampler(sampler, vocabulary())};
  }

  // What a classifier takes; an error for a model of another family.
  Result<lsrt_image_input> image_input() const {
    lsrt_image_input input = {};
    input.struct_size = sizeof input;
    const lsrt_status status = lsrt_model_image_input(get(), &input);
    return {status, input};
  }
  Result<lsrt_sequence_input> sequence_input() const {
    lsrt_sequence_input input = {};
    input.struct_size = sizeof input;
    const lsrt_status status = lsrt_model_sequence_input(get(), &input);
    return {status, input};
  }
  Result<Classifier> classifier(const ClassifierParams& params = {}) const {
    lsrt_classifier* classifier = nullptr;
    const lsrt_status status = lsrt_classifier_create(get(), &params, &classifier);
    if (status != LSRT_OK) return Status(status);
    const size_t side = image_input()->size;  // 0 where the model takes sequences
    return Classifier(classifier, classes(), side * side * 3, sequence_input()->pair ? 2 : 1);
  }
  Result<lsrt_slide_input> slide_input() const {
    lsrt_slide_input input = {};
    input.struct_size = sizeof input;
    const lsrt_status status = lsrt_model_slide_input(get(), &input);
    return {status, input};
  }
  Result<Embedder> embedder(const EmbedderParams& params = {}) const {
    lsrt_embedder* embedder = nullptr;
    const lsrt_status status = lsrt_embedder_create(get(), &params, &embedder);
    if (status != LSRT_OK) return Status(status);
    const Result<lsrt_slide_input> input = slide_input();
    return Embedder(embedder, input->features, input->width);
  }
  const lsrt_model* get() const { return handle_.get(); }

 private:
  std::shared_ptr<lsrt_model> handle_;
};

}  // namespace api
}  // namespace lsrt

#endif  // LSRT_HPP
