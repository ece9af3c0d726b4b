// Every function of the C API with every combination of null pointers: none crashes, and what fails says why.
// The list below holds all functions of lsrt.h (tests/build/api_test.sh).
#include <doctest/doctest.h>

#include <cstring>
#include <filesystem>
#include <tuple>
#include <type_traits>

#include "runtime/lsrt.h"
#include "tests/support/files.h"
#include "tests/support/tiny_models.h"

using namespace lsrt_test;

namespace {

// Arguments that are there: handles of a kind of model, buffers that are large enough for a size of 1.
struct Arguments {
  lsrt_model* model = nullptr;
  lsrt_session* session = nullptr;
  lsrt_sampler* sampler = nullptr;
  lsrt_classifier* classifier = nullptr;
  lsrt_embedder* embedder = nullptr;

  explicit Arguments(const ModelBytes& bytes) {
    REQUIRE(lsrt_model_load_buffer(bytes.data(), bytes.size(), nullptr, &model) == LSRT_OK);
    if (lsrt_model_vocabulary(model) > 0) {
      REQUIRE(lsrt_session_create(model, nullptr, &session) == LSRT_OK);
      REQUIRE(lsrt_sampler_create(model, nullptr, &sampler) == LSRT_OK);
    } else if (std::strcmp(lsrt_model_family(model), "slide") == 0) {
      REQUIRE(lsrt_embedder_create(model, nullptr, &embedder) == LSRT_OK);
    } else {
      REQUIRE(lsrt_classifier_create(model, nullptr, &classifier) == LSRT_OK);
    }
  }
  ~Arguments() {
    lsrt_embedder_free(embedder), lsrt_classifier_free(classifier), lsrt_session_free(session),
        lsrt_sampler_free(sampler);
    lsrt_model_free(model);
  }

  template <typename T>
  T make() {
    if constexpr (std::is_pointer_v<T>) {
      using Target = std::remove_const_t<std::remove_pointer_t<T>>;
      if constexpr (std::is_same_v<Target, lsrt_model>) {
        return model;
      } else if constexpr (std::is_same_v<Target, lsrt_session>) {
        return session;
      } else if constexpr (std::is_same_v<Target, lsrt_sampler>) {
        return sampler;
      } else if constexpr (std::is_same_v<Target, lsrt_classifier>) {
        return classifier;
      } else if constexpr (std::is_same_v<Target, lsrt_embedder>) {
        return embedder;
      } else if constexpr (std::is_same_v<T, lsrt_progress>) {
        return [](size_t, size_t, void*) { return true; };
      } else if constexpr (std::is_same_v<T, const char*>) {
        return "a";
      } else {
        alignas(64) static char buffers[8][1 << 16];
        char* buffer = buffers[next_++ % 8];
        std::memset(buffer, 0, sizeof buffers[0]);
        // Structs begin with their size; of lists of lengths, the first is 1.
        const size_t first = std::is_class_v<Target> ? size_of<Target>() : 1;
        std::memcpy(buffer, &first, sizeof first);
        return reinterpret_cast<T>(buffer);
      }
    } else {
      return static_cast<T>(1);
    }
  }

 private:
  template <typename T>
  static constexpr size_t size_of() {
    if constexpr (std::is_class_v<T>) return sizeof(T);
    return 1;
  }
  size_t next_ = 0;
};

// A handle that a call made.
void release(lsrt_model* made) { lsrt_model_free(made); }
void release(lsrt_session* made) { lsrt_session_free(made); }
void release(lsrt_sampler* made) { lsrt_sampler_free(made); }
void release(lsrt_classifier* made) { lsrt_classifier_free(made); }
void release(lsrt_embedder* made) { lsrt_embedder_free(made); }

template <typename T>
void release_made(T argument) {
  if constexpr (std::is_pointer_v<T>) {
    using Target = std::remove_pointer_t<T>;
    if constexpr (std::is_pointer_v<Target>) {
      // 1 is what make() left there.
      if (argument && reinterpret_cast<size_t>(*argument) > 1) release(*argument);
    }
  }
}

// f with all its arguments, but for the pointers that `absent` has a bit for; what a call returns.
template <typename R, typename... A, size_t... I>
void call(const char* name, R (*f)(A...), Arguments* arguments, unsigned absent, std::index_sequence<I...>) {
  std::tuple<A...> all{arguments->make<A>()...};
  [[maybe_unused]] const auto drop = [&](auto& argument, size_t i) {
    if constexpr (std::is_pointer_v<std::decay_t<decltype(argument)>>) {
      if (absent >> i & 1) argument = nullptr;
    }
  };
  (drop(std::get<I>(all), I), ...);
  CAPTURE(name);
  CAPTURE(absent);
  if constexpr (std::is_same_v<R, lsrt_status>) {
    const lsrt_status status = std::apply(f, all);
    CHECK(std::strcmp(lsrt_status_string(status), lsrt_status_string(LSRT_STATUS_MAX)) != 0);
    if (status != LSRT_OK) CHECK(std::strlen(lsrt_last_error()) > 0);
  } else if constexpr (std::is_same_v<R, const char*>) {
    CHECK(std::apply(f, all) != nullptr);
  } else {
    std::apply(f, all);
  }
  (release_made(std::get<I>(all)), ...);
}

template <typename R, typename... A>
unsigned call_in_every_way(const char* name, R (*f)(A...), Arguments* arguments) {
  constexpr unsigned kWays = 1u << sizeof...(A);
  for (unsigned absent = 0; absent < kWays; ++absent) {
    call(name, f, arguments, absent, std::index_sequence_for<A...>());
  }
  return kWays;
}

// Of what frees its argument only nothing at all is asked.
template <typename T>
unsigned call_with_null(void (*f)(T*)) {
  f(nullptr);
  return 1;
}

unsigned call_all(Arguments* a) {
  unsigned calls = 0;
#define EVERY_WAY(f) calls += call_in_every_way(#f, f, a)
  EVERY_WAY(lsrt_version);
  EVERY_WAY(lsrt_status_string);
  EVERY_WAY(lsrt_last_error);
  EVERY_WAY(lsrt_model_default_params);
  EVERY_WAY(lsrt_model_load);
  EVERY_WAY(lsrt_model_load_buffer);
  EVERY_WAY(lsrt_model_family);
  EVERY_WAY(lsrt_model_architecture);
  EVERY_WAY(lsrt_model_isa);
  EVERY_WAY(lsrt_model_threads);
  EVERY_WAY(lsrt_model_bytes);
  EVERY_WAY(lsrt_model_vocabulary);
  EVERY_WAY(lsrt_model_classes);
  EVERY_WAY(lsrt_model_label);
  EVERY_WAY(lsrt_model_verify);
  EVERY_WAY(lsrt_model_image_input);
  EVERY_WAY(lsrt_model_sequence_input);
  EVERY_WAY(lsrt_tokenize);
  EVERY_WAY(lsrt_token_text);
  EVERY_WAY(lsrt_token_special);
  EVERY_WAY(lsrt_detokenize);
  EVERY_WAY(lsrt_whole_text);
  EVERY_WAY(lsrt_session_default_params);
  EVERY_WAY(lsrt_session_plan);
  EVERY_WAY(lsrt_session_create);
  EVERY_WAY(lsrt_session_feed);
  EVERY_WAY(lsrt_session_next);
  EVERY_WAY(lsrt_session_position);
  EVERY_WAY(lsrt_session_reset);
  EVERY_WAY(lsrt_session_save);
  EVERY_WAY(lsrt_session_load);
  EVERY_WAY(lsrt_session_save_buffer);
  EVERY_WAY(lsrt_session_load_buffer);
  EVERY_WAY(lsrt_sampler_default_params);
  EVERY_WAY(lsrt_sampler_create);
  EVERY_WAY(lsrt_sampler_accept);
  EVERY_WAY(lsrt_sampler_last);
  EVERY_WAY(lsrt_sampler_sample);
  EVERY_WAY(lsrt_classifier_default_params);
  EVERY_WAY(lsrt_classifier_create);
  EVERY_WAY(lsrt_classify_images);
  EVERY_WAY(lsrt_classify_sequences);
  EVERY_WAY(lsrt_embedder_default_params);
  EVERY_WAY(lsrt_model_slide_input);
  EVERY_WAY(lsrt_embedder_create);
  EVERY_WAY(lsrt_embed_slide);
#undef EVERY_WAY
  calls += call_with_null(lsrt_model_free) + call_with_null(lsrt_session_free) +
           call_with_null(lsrt_sampler_free) + call_with_null(lsrt_classifier_free) +
           call_with_null(lsrt_embedder_free);
  return calls;
}

}  // namespace

TEST_CASE("no combination of null pointers breaks a function of the C API") {
  const TemporaryFolder folder;  // for the file "a"
  std::filesystem::current_path(folder / "");
  for (const ModelBytes& bytes :
       {tiny_lm(Precision::kInt8), tiny_byte_pairs(), tiny_encoder(Precision::kInt8),
        tiny_vil(Precision::kInt8), tiny_longnet(Precision::kInt8)}) {
    Arguments arguments(bytes);
    CAPTURE(std::string(lsrt_model_family(arguments.model)));
    const unsigned calls = call_all(&arguments);
    CHECK(calls > 400);
    MESSAGE(calls << " calls");
  }
}
