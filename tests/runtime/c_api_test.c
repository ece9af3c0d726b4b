/* The C API as a C program sees it: only lsrt.h and the library. The model is made by the tool. */
#include <math.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

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
#define ENCODER LSRT_TEST_DATA "/golden/lra-conv-cls/"
#define VOCABULARY 40

static const char* model_path(void) {
  const char* folder = getenv("TMPDIR");
  static char path[1000];
  snprintf(path, sizeof path, "%s/lsrt-c-api-%d.lsrt", folder ? folder : "/tmp", (int)getpid());
  return path;
}

/* A golden's checkpoint, by the tool, to model_path(). */
static bool convert(const char* golden, const char* checkpoint) {
  char command[4000];
  snprintf(command, sizeof command, "%s convert %s%s --config %scase.json -o %s >/dev/null", LSRT_CLI, golden,
           checkpoint, golden, model_path());
  return system(command) == 0;
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

/* A NULL handle is never followed. */
static void test_null(void) {
  CHECK(strcmp(lsrt_model_family(NULL), "") == 0);
  CHECK(strcmp(lsrt_model_architecture(NULL), "") == 0);
  CHECK(strcmp(lsrt_model_isa(NULL), "") == 0);
  CHECK(strcmp(lsrt_model_label(NULL, 0), "") == 0);
  CHECK(lsrt_model_bytes(NULL) == 0 && lsrt_model_vocabulary(NULL) == 0 && lsrt_model_classes(NULL) == 0);
  size_t size = 99;
  CHECK(strcmp(lsrt_token_text(NULL, 0, &size), "") == 0 && size == 0);
  CHECK(strcmp(lsrt_token_text(NULL, 0, NULL), "") == 0);
  CHECK(lsrt_session_position(NULL) == 0);
  lsrt_sampler_accept(NULL, 1);
  CHECK(lsrt_sampler_last(NULL) == -1);
  float number = 0;
  int32_t token = 0;
  CHECK(lsrt_model_verify(NULL, 1, &number, &number) == LSRT_ERROR_ARGUMENT);
  CHECK(lsrt_tokenize(NULL, "a", 1, &token, 1, &size) == LSRT_ERROR_ARGUMENT);
  lsrt_session* session = NULL;
  CHECK(lsrt_session_create(NULL, NULL, &session) == LSRT_ERROR_ARGUMENT);
  CHECK(lsrt_session_feed(NULL, &token, 1, LSRT_OUTPUT_NONE, NULL, NULL, NULL) == LSRT_ERROR_ARGUMENT);
  CHECK(lsrt_session_next(NULL, &token, 1, NULL, NULL, NULL, &token) == LSRT_ERROR_ARGUMENT);
  CHECK(lsrt_session_reset(NULL) == LSRT_ERROR_ARGUMENT);
  CHECK(lsrt_session_save(NULL, NULL, "x") == LSRT_ERROR_ARGUMENT);
  CHECK(lsrt_session_load(NULL, NULL, "x") == LSRT_ERROR_ARGUMENT);
  CHECK(lsrt_sampler_sample(NULL, &number, &token) == LSRT_ERROR_ARGUMENT);
  CHECK(lsrt_classify_images(NULL, NULL, 1, &number) == LSRT_ERROR_ARGUMENT);
  CHECK(lsrt_classify_sequences(NULL, &token, &size, 1, &number) == LSRT_ERROR_ARGUMENT);
}

/* A struct has the size of this header's or ends with one of its fields; what lies inside a field is refused.
 */
static void test_struct_sizes(const lsrt_model* model) {
  const size_t ends[] = {sizeof(size_t),
                         offsetof(lsrt_session_params, block),
                         offsetof(lsrt_session_params, memory),
                         offsetof(lsrt_session_params, max_batch),
                         offsetof(lsrt_session_params, max_bytes),
                         sizeof(lsrt_session_params)};
  for (size_t size = 0; size <= sizeof(lsrt_session_params) + 1; ++size) {
    lsrt_session_params params = lsrt_session_default_params();
    params.struct_size = size;
    bool is_end = false;
    for (size_t i = 0; i < sizeof ends / sizeof ends[0]; ++i) is_end = is_end || ends[i] == size;
    lsrt_session* session = NULL;
    CHECK(lsrt_session_create(model, &params, &session) == (is_end ? LSRT_OK : LSRT_ERROR_ARGUMENT));
    lsrt_session_free(session);
  }
  lsrt_model* loaded = NULL; /* half a pointer is not read */
  for (size_t size = 1; size < sizeof(lsrt_model_params); ++size) {
    lsrt_model_params params;
    const bool is_end = size % sizeof(void*) == 0 || size == offsetof(lsrt_model_params, map) + sizeof(bool);
    memset(&params, is_end ? 0 : 0x5a, sizeof params);
    params.struct_size = size;
    CHECK(lsrt_model_load(model_path(), &params, &loaded) == (is_end ? LSRT_OK : LSRT_ERROR_ARGUMENT));
    if (is_end) lsrt_model_free(loaded);
  }
}

static void test_budget(const lsrt_model* model) {
  lsrt_session_memory memory;
  memory.struct_size = sizeof memory;
  CHECK(lsrt_session_plan(model, NULL, &memory) == LSRT_OK);
  lsrt_session_params params = lsrt_session_default_params();
  lsrt_session* session = NULL;
  params.max_bytes = memory.state_bytes + memory.positions_bytes + memory.scratch_bytes;
  CHECK(lsrt_session_create(model, &params, &session) == LSRT_OK);
  lsrt_session_free(session);
  session = NULL;
  params.max_bytes -= 1;
  CHECK(lsrt_session_create(model, &params, &session) == LSRT_ERROR_MEMORY && session == NULL);
  CHECK(contains(lsrt_last_error(), "max_bytes"));
}

static void test_model(const lsrt_model* model) {
  CHECK(strcmp(lsrt_model_family(model), "lm") == 0);
  CHECK(strlen(lsrt_model_architecture(model)) > 10);
  CHECK(strlen(lsrt_model_isa(model)) >= 3);
  CHECK(lsrt_model_bytes(model) > 10000);
  CHECK(lsrt_model_vocabulary(model) == VOCABULARY);
  CHECK(lsrt_model_classes(model) == 0);
  CHECK(strcmp(lsrt_model_label(model, 0), "") == 0);
  float difference = -1, expected = -1;
  CHECK(lsrt_model_verify(model, 1, &difference, &expected) == LSRT_OK);
  CHECK(difference == expected);

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

/* A document is its bytes; a token that the embedding lacks is refused where it is used. */
static void test_documents(void) {
  lsrt_model* model = NULL;
  CHECK(convert(ENCODER, "checkpoint.model"));
  CHECK(lsrt_model_load(model_path(), NULL, &model) == LSRT_OK);
  lsrt_sequence_input input;
  input.struct_size = sizeof input;
  CHECK(lsrt_model_sequence_input(model, &input) == LSRT_OK && !input.pair);
  int32_t tokens[3];
  size_t n = 0;
  CHECK(lsrt_tokenize(model, "\1\xFF\3", 3, tokens, 3, &n) == LSRT_OK && n == 3);
  CHECK(tokens[0] == 1 + input.byte_offset && tokens[1] == 255 + input.byte_offset);
  CHECK(lsrt_tokenize(model, "\1\2", 2, tokens, 1, &n) == LSRT_ERROR_MEMORY && n == 2);
  tokens[1] = 2;
  lsrt_classifier* classifier = NULL;
  CHECK(lsrt_classifier_create(model, NULL, &classifier) == LSRT_OK);
  float* logits = calloc(lsrt_model_classes(model), sizeof *logits);
  const size_t length = 3;
  CHECK(lsrt_classify_sequences(classifier, tokens, &length, 1, logits) == LSRT_OK && logits[0] != 0);
  tokens[1] = 1 << 20;
  CHECK(lsrt_classify_sequences(classifier, tokens, &length, 1, logits) == LSRT_ERROR_ARGUMENT);
  free(logits);
  lsrt_classifier_free(classifier);
  lsrt_model_free(model);
}

static void test_session(lsrt_model* model) {
  lsrt_session_params params = lsrt_session_default_params();
  lsrt_session* session = NULL;
  params.block = 7;
  CHECK(lsrt_session_create(model, &params, &session) == LSRT_ERROR_ARGUMENT);
  params = lsrt_session_default_params();
  CHECK(params.threads == 0);
  CHECK(lsrt_model_threads(model) >= 1);
  lsrt_session_memory memory;
  memory.struct_size = sizeof memory;
  params.threads = 100000;
  CHECK(lsrt_session_create(model, &params, &session) == LSRT_ERROR_ARGUMENT);
  CHECK(contains(lsrt_last_error(), "threads is 100000"));
  CHECK(lsrt_session_plan(model, &params, &memory) == LSRT_ERROR_ARGUMENT);
  params.threads = 1;
  params.max_batch = 16;
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

static bool never(size_t done, size_t total, void* user) {
  (void)done, (void)total, (void)user;
  return false;
}

/* The next token in one call is the one of two. */
static void test_next(const lsrt_model* model) {
  lsrt_session *one = NULL, *two = NULL;
  lsrt_sampler *sampler = NULL, *same = NULL;
  lsrt_sampler_params params = lsrt_sampler_default_params();
  params.repeat_penalty = 1.5f;
  CHECK(lsrt_session_create(model, NULL, &one) == LSRT_OK);
  CHECK(lsrt_session_create(model, NULL, &two) == LSRT_OK);
  CHECK(lsrt_sampler_create(model, &params, &sampler) == LSRT_OK);
  CHECK(lsrt_sampler_create(model, &params, &same) == LSRT_OK);
  int32_t tokens[40], fed = 0;
  for (int i = 0; i < 40; ++i) tokens[i] = 4 + i * 7 % (VOCABULARY - 4);
  size_t count = 40;
  float logprobs[VOCABULARY];
  for (int i = 0; i < 20; ++i) {
    int32_t token = -1;
    CHECK(lsrt_session_feed(two, tokens, count, LSRT_OUTPUT_LAST, logprobs, NULL, NULL) == LSRT_OK);
    CHECK(lsrt_sampler_sample(same, logprobs, &fed) == LSRT_OK);
    CHECK(lsrt_session_next(one, tokens, count, sampler, NULL, NULL, &token) == LSRT_OK);
    CHECK(token == fed && lsrt_sampler_last(sampler) == token);
    tokens[0] = token, count = 1;
  }
  CHECK(lsrt_session_position(one) == 59);
  int32_t token = -7;
  const int32_t wrong = VOCABULARY;
  CHECK(lsrt_session_next(one, tokens, 0, sampler, NULL, NULL, &token) == LSRT_ERROR_ARGUMENT);
  CHECK(lsrt_session_next(one, &wrong, 1, sampler, NULL, NULL, &token) == LSRT_ERROR_ARGUMENT);
  CHECK(lsrt_session_next(one, tokens, 1, NULL, NULL, NULL, &token) == LSRT_ERROR_ARGUMENT);
  CHECK(lsrt_session_next(one, tokens, 1, sampler, NULL, NULL, NULL) == LSRT_ERROR_ARGUMENT);
  CHECK(lsrt_session_next(one, tokens, 1, sampler, never, NULL, &token) == LSRT_ERROR_CANCELLED);
  CHECK(token == -7 && lsrt_sampler_last(sampler) == fed && lsrt_session_position(one) == 59);
  lsrt_session_free(one);
  lsrt_session_free(two);
  lsrt_sampler_free(sampler);
  lsrt_sampler_free(same);
}

/* Saved and loaded in memory and files, between sessions of other batches and threads and kernel sets. */
static void test_states(const lsrt_model* model) {
  lsrt_session_params params = lsrt_session_default_params();
  lsrt_session_memory memory;
  memory.struct_size = sizeof memory;
  CHECK(lsrt_session_plan(model, &params, &memory) == LSRT_OK && memory.snapshot_bytes > 64);
  memory.struct_size = offsetof(lsrt_session_memory, snapshot_bytes); /* as built with an older header */
  CHECK(lsrt_session_plan(model, &params, &memory) == LSRT_OK);
  const size_t most = memory.snapshot_bytes;

  lsrt_model* scalar = NULL;
  lsrt_model_params model_params = lsrt_model_default_params();
  model_params.isa = "scalar";
  CHECK(lsrt_model_load(model_path(), &model_params, &scalar) == LSRT_OK);
  lsrt_session *one = NULL, *other = NULL;
  params.max_batch = 5;
  CHECK(lsrt_session_create(model, &params, &one) == LSRT_OK);
  params.max_batch = 64, params.threads = 2;
  CHECK(lsrt_session_create(scalar, &params, &other) == LSRT_OK);
  lsrt_sampler *sampler = NULL, *restored = NULL;
  CHECK(lsrt_sampler_create(model, NULL, &sampler) == LSRT_OK);
  CHECK(lsrt_sampler_create(scalar, NULL, &restored) == LSRT_OK);
  int32_t tokens[300];
  for (int i = 0; i < 300; ++i) tokens[i] = 4 + i * 11 % (VOCABULARY - 4);
  float expected[VOCABULARY], got[VOCABULARY];
  CHECK(lsrt_session_feed(one, tokens, 299, LSRT_OUTPUT_NONE, NULL, NULL, NULL) == LSRT_OK);
  lsrt_sampler_accept(sampler, 9);

  size_t size = 0, asked = 0, file_size = 0;
  CHECK(lsrt_session_save_buffer(one, sampler, NULL, 0, &asked) == LSRT_OK);
  CHECK(asked > 0 && asked <= most + 40 + 4 * 64);
  unsigned char *bytes = malloc(asked), *from_file = malloc(asked + 1);
  CHECK(lsrt_session_save_buffer(one, sampler, bytes, asked - 1, &size) == LSRT_ERROR_MEMORY &&
        size == asked);
  CHECK(lsrt_session_save_buffer(one, sampler, bytes, asked, &size) == LSRT_OK && size == asked);
  char path[1100];
  snprintf(path, sizeof path, "%s.state", model_path());
  CHECK(lsrt_session_save(one, sampler, path) == LSRT_OK);
  FILE* file = fopen(path, "rb");
  CHECK(file);
  file_size = fread(from_file, 1, asked + 1, file);
  fclose(file);
  CHECK(file_size == asked && memcmp(from_file, bytes, asked) == 0);

  CHECK(lsrt_session_load_buffer(other, restored, bytes, size - 1) == LSRT_ERROR_MODEL);
  CHECK(lsrt_session_load_buffer(other, restored, bytes, 0) == LSRT_ERROR_MODEL);
  CHECK(lsrt_session_position(other) == 0 && lsrt_sampler_last(restored) == -1);
  bytes[8] = 1; /* the format before */
  CHECK(lsrt_session_load_buffer(other, restored, bytes, size) == LSRT_ERROR_VERSION);
  CHECK(contains(lsrt_last_error(), "format 1") && contains(lsrt_last_error(), "format 2"));
  bytes[8] = 2;
  CHECK(lsrt_session_load_buffer(other, restored, bytes, size) == LSRT_OK);
  CHECK(lsrt_session_position(other) == 299 && lsrt_sampler_last(restored) == 9);
  CHECK(lsrt_session_feed(one, tokens + 299, 1, LSRT_OUTPUT_LAST, expected, NULL, NULL) == LSRT_OK);
  CHECK(lsrt_session_feed(other, tokens + 299, 1, LSRT_OUTPUT_LAST, got, NULL, NULL) == LSRT_OK);
  CHECK(memcmp(expected, got, sizeof got) == 0);
  CHECK(lsrt_session_load(one, sampler, path) == LSRT_OK && lsrt_session_position(one) == 299);
  remove(path);
  CHECK(lsrt_session_save_buffer(one, NULL, bytes, size, &size) == LSRT_OK && size < asked);
  CHECK(lsrt_session_load_buffer(one, sampler, bytes, size) == LSRT_ERROR_MODEL); /* without a sampler */
  CHECK(lsrt_session_load_buffer(one, NULL, bytes, size) == LSRT_OK);

  CHECK(lsrt_session_save_buffer(NULL, NULL, bytes, size, &size) == LSRT_ERROR_ARGUMENT);
  CHECK(lsrt_session_save_buffer(one, NULL, bytes, size, NULL) == LSRT_ERROR_ARGUMENT);
  CHECK(lsrt_session_load_buffer(NULL, NULL, bytes, size) == LSRT_ERROR_ARGUMENT);
  CHECK(lsrt_session_load_buffer(one, NULL, NULL, size) == LSRT_ERROR_ARGUMENT);
  CHECK(lsrt_session_save(NULL, NULL, path) == LSRT_ERROR_ARGUMENT);
  CHECK(lsrt_session_save(one, NULL, NULL) == LSRT_ERROR_ARGUMENT);
  CHECK(lsrt_session_load(NULL, NULL, path) == LSRT_ERROR_ARGUMENT);
  CHECK(lsrt_session_load(one, NULL, NULL) == LSRT_ERROR_ARGUMENT);
  free(bytes);
  free(from_file);
  lsrt_sampler_free(sampler);
  lsrt_sampler_free(restored);
  lsrt_session_free(one);
  lsrt_session_free(other);
  lsrt_model_free(scalar);
}

/* Nor is any other pointer that must be there. */
static void test_null_arguments(const lsrt_model* model) {
  lsrt_session* session = NULL;
  lsrt_sampler* sampler = NULL;
  int32_t token = 0;
  size_t size = 0;
  CHECK(lsrt_token_text(model, 5, NULL) != NULL);
  CHECK(lsrt_session_plan(NULL, NULL, NULL) == LSRT_ERROR_ARGUMENT);
  CHECK(lsrt_session_plan(model, NULL, NULL) == LSRT_ERROR_ARGUMENT);
  CHECK(lsrt_session_create(NULL, NULL, &session) == LSRT_ERROR_ARGUMENT && !session);
  CHECK(lsrt_session_create(model, NULL, NULL) == LSRT_ERROR_ARGUMENT);
  CHECK(lsrt_sampler_create(NULL, NULL, &sampler) == LSRT_ERROR_ARGUMENT && !sampler);
  CHECK(lsrt_sampler_create(model, NULL, NULL) == LSRT_ERROR_ARGUMENT);
  CHECK(lsrt_tokenize(model, NULL, 1, &token, 1, &size) == LSRT_ERROR_ARGUMENT);
  CHECK(lsrt_tokenize(model, "a", 1, &token, 1, NULL) == LSRT_ERROR_ARGUMENT);
}

int main(void) {
  CHECK(convert(GOLDEN, "checkpoint.pt"));
  char version[40];
  snprintf(version, sizeof version, "%d.%d.%d", LSRT_VERSION_MAJOR, LSRT_VERSION_MINOR, LSRT_VERSION_PATCH);
  CHECK(strcmp(lsrt_version(), version) == 0);
  test_errors();
  test_null();
  lsrt_model* model = NULL;
  CHECK(lsrt_model_load(model_path(), NULL, &model) == LSRT_OK);
  test_model(model);
  test_struct_sizes(model);
  test_budget(model);
  test_tokens(model);
  test_sampler(model);
  test_next(model);
  test_states(model);
  test_null_arguments(model);
  test_session(model); /* frees it */
  lsrt_model_params params = lsrt_model_default_params();
  params.map = true;
  CHECK(lsrt_model_load(model_path(), &params, &model) == LSRT_OK);
  test_model(model);
  lsrt_model_free(model);
  test_documents();
  remove(model_path());
  puts("c_api_test: passed");
  return 0;
}
