/* The smallest program that writes text: a model file and a prompt in, text out.
 *
 *   minimal MODEL.lsrt "It was a dark night" 200 */
#include <lsrt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int failed(void) {
  fprintf(stderr, "minimal: error: %s\n", lsrt_last_error());
  return 1;
}

int main(int argc, char** argv) {
  if (argc != 4) {
    fprintf(stderr, "usage: minimal MODEL.lsrt PROMPT COUNT\n");
    return 2;
  }
  lsrt_model* model = NULL;
  if (lsrt_model_load(argv[1], NULL, &model) != LSRT_OK) return failed();
  lsrt_session* session = NULL;
  if (lsrt_session_create(model, NULL, &session) != LSRT_OK) return failed();
  lsrt_sampler* sampler = NULL;
  if (lsrt_sampler_create(model, NULL, &sampler) != LSRT_OK) return failed();

  const size_t capacity = strlen(argv[2]);
  int32_t* tokens = malloc((capacity + 1) * sizeof(int32_t));
  float* logprobs = malloc(lsrt_model_vocabulary(model) * sizeof(float));
  size_t count = 0;
  if (!tokens || !logprobs || lsrt_tokenize(model, argv[2], capacity, tokens, capacity, &count) != LSRT_OK) {
    return failed();
  }
  fputs(argv[2], stdout);
  for (long left = strtol(argv[3], NULL, 10); left > 0 && count > 0; --left) {
    if (lsrt_session_feed(session, tokens, count, LSRT_OUTPUT_LAST, logprobs, NULL, NULL) != LSRT_OK)
      return failed();
    if (lsrt_sampler_sample(sampler, logprobs, tokens) != LSRT_OK) return failed();
    count = 1;
    size_t size = 0;
    const char* text = lsrt_token_text(model, tokens[0], &size);
    fwrite(text, 1, size, stdout);
    fflush(stdout);
  }
  putchar('\n');

  free(tokens);
  free(logprobs);
  lsrt_sampler_free(sampler);
  lsrt_session_free(session);
  lsrt_model_free(model);
  return 0;
}
