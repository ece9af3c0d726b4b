/* The C API as a C program sees it: only lsrt.h and the library. The model is made by the tool. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "runtime/lsrt.h"

#define CHECK(condition)                                                                        \
  do {                                                                                          \
    if (!(condition)) {                                                                         \
      fprintf(stderr, "%s:%d: not true: %s (last error: %s)\n", __FILE__, __LINE__, #condition, \
              lsrt_last_error());                                                               \
      exit(1);                                                                                  \
    }                                                                                           \
  } while (0)

#define GOLDEN LSRT_TEST_DATA "/golden/lm-preln-rank2/"
#define VOCABULARY 40

static const char* model_path(void) {
  const char* folder = getenv("TMPDIR");
  static char path[1000]; /* one process at a time */
  snprintf(path, sizeof path, "%s/lsrt-c-api.lsrt", folder ? folder : "/tmp");
  return path;
}

static bool contains(const char* text, const char* part) { return strstr(text, part) != NULL; }

static void test_errors(void) {
  lsrt_model* model = (lsrt_model*)&model_path;
  CHECK(lsrt_model_load("/no/such/file.lsrt", NULL, &model) == LSRT_ERROR_FILE);
  CHECK(model == (lsrt_model*)&model_path); /* written only on success */
  CHECK(contains(lsrt_last_error(), "/no/such/file.lsrt"));
  CHECK(lsrt_model_load(NULL, NULL, &model) == LSRT_ERROR_ARGUMENT);
  CHECK(lsrt_model_load(model_path(), NULL, NULL) == LSRT_ERROR_ARGUMENT);
  CHECK(lsrt_model_load(GOLDEN "dict.txt", NULL, &model) == LSRT_ERROR_MODEL);
  CHECK(lsrt_model_load_buffer("abcdefgh", 8, NULL, &model) == LSRT_ERROR_MODEL);

  lsrt_model_params params = lsrt_model_default_params();
  params.isa = "mmx";
  CHECK(lsrt_model_load(model_path(), &params, &model) == LSRT_ERROR_ARGUMENT);
  CHECK(contains(lsrt_last_error(), "mmx"));
  params = lsrt_model_default_params();
  params.backend = "abacus";
  CHECK(lsrt_model_load(model_path(), &params, &model) == LSRT_ERROR_UNSUPPORTED);
  memset(&params, 0, sizeof params);
  CHECK(lsrt_model_load(model_path(), &params, &model) == LSRT_ERROR_ARGUMENT);
  CHECK(contains(lsrt_last_error(), "struct_size"));

  for (int status = 0; status < 0x100; ++status) CHECK(lsrt_status_string((lsrt_status)status)[0] != '\0');
  lsrt_model_free(NULL);
  lsrt_session_free(NULL);
  lsrt_sampler_free(NULL);
  lsrt_classifier_free(NULL);
}

static void test_model(const lsrt_model* model) {
  CHECK(strcmp(lsrt_model_family(model), "lm") == 0);
  CHECK(strlen(lsrt_model_architecture(model)) > 10);
  CHECK(strlen(lsrt_model_isa(model)) > 3);
  CHECK(lsrt_model_bytes(model) > 10000);
  CHECK(lsrt_model_vocabulary(model) == VOCABULARY);
  CHECK(lsrt_model_classes(model) == 0);
  CHECK(strcmp(lsrt_model_label(model, 0), "") == 0);
  float difference = -1, expected = -1;
  CHECK(lsrt_model_verify(model, 1, &difference, &expected) == LSRT_OK);
  CHECK(fabsf(difference - expected) <= 1e-6f);

  lsrt_image_input image;
  image.struct_size = sizeof image;
  CHECK(lsrt_model_image_input(model, &image) == LSRT_ERROR_ARGUMENT);
  lsrt_classifier* classifier = NULL;
  CHECK(lsrt_classifier_create(model, NULL, &classifier) == LSRT_ERROR_ARGUMENT);
}

static void test_tokens(const lsrt_model* model) {
  size_t size = 99, n = 99;
  int32_t with_text = -1;
  for (int32_t id = VOCABULARY - 1; id >= 0; --id) {
    lsrt_token_text(model, id, &size);
    if (size == 1) with_text = id;
  }
  CHECK(with_text >= 0);
  char text[3];
  memset(text, lsrt_token_text(model, with_text, &size)[0], sizeof text);
  int32_t tokens[3];
  CHECK(lsrt_tokenize(model, text, 3, tokens, 3, &n) == LSRT_OK);
  CHECK(n == 3 && tokens[0] == with_text && tokens[2] == with_text);
  CHECK(lsrt_tokenize(model, text, 3, tokens, 2, &n) == LSRT_ERROR_MEMORY && n == 3);
  CHECK(lsrt_tokenize(model, NULL, 0, NULL, 0, &n) == LSRT_OK && n == 0);
  text[1] = (char)0xFE;
  CHECK(lsrt_tokenize(model, text, 3, tokens, 3, &n) == LSRT_ERROR_ARGUMENT && n == 1);
  CHECK(contains(lsrt_last_error(), "0xFE") && contains(lsrt_last_error(), "position 1"));
  CHECK(strcmp(lsrt_token_text(model, -1, &size), "") == 0 && size == 0);
  CHECK(strcmp(lsrt_token_text(model, VOCABULARY, NULL), "") == 0);
}

static bool stop(size_t done, size_t total, void* user) {
  (void)total;
  ++*(int*)user;
  return done < 32;
}

static void test_session(lsrt_model* model) {
  lsrt_session_params params = lsrt_session_default_params();
  lsrt_session* session = NULL;
  params.block = 7;
  CHECK(lsrt_session_create(model, &params, &session) == LSRT_ERROR_ARGUMENT);
  params = lsrt_session_default_params();
  params.threads = 0;
  CHECK(lsrt_session_create(model, &params, &session) == LSRT_ERROR_ARGUMENT);
  params.threads = 1;
  params.max_batch = 16;
  lsrt_session_memory memory;
  memory.struct_size = sizeof memory;
  CHECK(lsrt_session_plan(model, &params, &memory) == LSRT_OK);
  CHECK(memory.struct_size == sizeof memory && memory.state_bytes > 0 && memory.scratch_bytes > 0);
  memory.struct_size = 0;
  CHECK(lsrt_session_plan(model, &params, &memory) == LSRT_ERROR_ARGUMENT);
  CHECK(lsrt_session_create(model, &params, &session) == LSRT_OK);

  int32_t tokens[100];
  for (int i = 0; i < 100; ++i) tokens[i] = 4 + i * 7 % (VOCABULARY - 4);
  static float all[100 * VOCABULARY];
  float last[VOCABULARY];
  CHECK(lsrt_session_feed(session, tokens, 100, LSRT_OUTPUT_ALL, all, NULL, NULL) == LSRT_OK);
  CHECK(lsrt_session_position(session) == 100);
  CHECK(lsrt_session_reset(session) == LSRT_OK && lsrt_session_position(session) == 0);
  CHECK(lsrt_session_feed(session, tokens, 99, LSRT_OUTPUT_NONE, NULL, NULL, NULL) == LSRT_OK);
  CHECK(lsrt_session_feed(session, tokens + 99, 1, LSRT_OUTPUT_LAST, last, NULL, NULL) == LSRT_OK);
  CHECK(memcmp(last, all + 99 * VOCABULARY, sizeof last) == 0);

  CHECK(lsrt_session_feed(session, NULL, 0, LSRT_OUTPUT_NONE, NULL, NULL, NULL) == LSRT_OK);
  CHECK(lsrt_session_feed(session, tokens, 0, LSRT_OUTPUT_LAST, last, NULL, NULL) == LSRT_ERROR_ARGUMENT);
  CHECK(lsrt_session_feed(session, tokens, 1, LSRT_OUTPUT_LAST, NULL, NULL, NULL) == LSRT_ERROR_ARGUMENT);
  CHECK(lsrt_session_feed(session, tokens, 1, (lsrt_output)9, last, NULL, NULL) == LSRT_ERROR_ARGUMENT);
  const int32_t wrong = VOCABULARY;
  CHECK(lsrt_session_feed(session, &wrong, 1, LSRT_OUTPUT_NONE, NULL, NULL, NULL) == LSRT_ERROR_ARGUMENT);
  CHECK(lsrt_session_position(session) == 100);
  int asked = 0;
  CHECK(lsrt_session_feed(session, tokens, 100, LSRT_OUTPUT_NONE, NULL, stop, &asked) ==
        LSRT_ERROR_CANCELLED);
  CHECK(asked > 1 && lsrt_session_position(session) >= 132 && lsrt_session_position(session) < 200);

  lsrt_model_free(model); /* the session keeps what it needs */
  CHECK(lsrt_session_feed(session, tokens, 1, LSRT_OUTPUT_LAST, last, NULL, NULL) == LSRT_OK);
  lsrt_session_free(session);
}

static void test_sampler(const lsrt_model* model) {
  lsrt_sampler_params params = lsrt_sampler_default_params();
  CHECK(params.temperature == 0.8f && params.top_p == 1 && params.repeat_window == 64);
  lsrt_sampler* sampler = NULL;
  params.top_p = 2;
  CHECK(lsrt_sampler_create(model, &params, &sampler) == LSRT_ERROR_ARGUMENT);
  /* As built with an older header that ended after the temperature: the rest is default. */
  params.struct_size = offsetof(lsrt_sampler_params, top_k);
  CHECK(lsrt_sampler_create(model, &params, &sampler) == LSRT_OK);
  CHECK(lsrt_sampler_last(sampler) == -1);
  float logprobs[VOCABULARY];
  for (int i = 0; i < VOCABULARY; ++i) logprobs[i] = -4;
  int32_t token = -1;
  CHECK(lsrt_sampler_sample(sampler, logprobs, &token) == LSRT_OK);
  size_t size = 0;
  lsrt_token_text(model, token, &size);
  CHECK(size > 0 && lsrt_sampler_last(sampler) == token);
  lsrt_sampler_accept(sampler, 7);
  CHECK(lsrt_sampler_last(sampler) == 7);
  CHECK(lsrt_sampler_sample(sampler, NULL, &token) == LSRT_ERROR_ARGUMENT);
  lsrt_sampler_free(sampler);
}

int main(void) {
  char command[4000];
  snprintf(command, sizeof command, "%s convert %scheckpoint.pt --config %scase.json -o %s >/dev/null",
           LSRT_CLI, GOLDEN, GOLDEN, model_path());
  CHECK(system(command) == 0);
  char version[40];
  snprintf(version, sizeof version, "%d.%d.%d", LSRT_VERSION_MAJOR, LSRT_VERSION_MINOR, LSRT_VERSION_PATCH);
  CHECK(strcmp(lsrt_version(), version) == 0);
  test_errors();
  lsrt_model* model = NULL;
  CHECK(lsrt_model_load(model_path(), NULL, &model) == LSRT_OK);
  test_model(model);
  test_tokens(model);
  test_sampler(model);
  test_session(model); /* frees it */
  lsrt_model_params params = lsrt_model_default_params();
  params.map = true;
  CHECK(lsrt_model_load(model_path(), &params, &model) == LSRT_OK);
  test_model(model);
  lsrt_model_free(model);
  remove(model_path());
  puts("c_api_test: passed");
  return 0;
}
