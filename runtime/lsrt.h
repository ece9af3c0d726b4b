/* lsrt: int8 inference of Transformer-LS (Long-Short Transformer) models. The C API; everything else is built
 * on it.
 *
 * Generating text:
 *
 *   lsrt_model* model = NULL;
 *   if (lsrt_model_load("books-lm.lsrt", NULL, &model) != LSRT_OK) { puts(lsrt_last_error()); return 1; }
 *   lsrt_session* session = NULL;
 *   lsrt_session_params params = lsrt_session_default_params();
 *   params.threads = 2;
 *   lsrt_session_create(model, &params, &session);
 *   int32_t tokens[64]; size_t n;
 *   lsrt_tokenize(model, "It was a dark night", 19, tokens, 64, &n);
 *   float* logprobs = malloc(lsrt_model_vocabulary(model) * sizeof(float));
 *   lsrt_session_feed(session, tokens, n, LSRT_OUTPUT_LAST, logprobs, NULL, NULL);
 *   ... choose a token (lsrt_sampler_*), feed it, and so on ...
 *   lsrt_session_free(session);
 *   lsrt_model_free(model);
 *
 * Rules. Every fallible function returns a status; lsrt_last_error() then says what is wrong, where, and the
 * way out. Nothing prints, aborts or throws. Parameter structs begin with struct_size and are made by their
 * *_default_params() function; a NULL params pointer means the defaults. Handles and single values are
 * written only on success (but where a function says otherwise); what an array of outputs holds after a
 * failure is not defined. A NULL handle is an error of functions that return a status; the others then return
 * 0 or "", and void ones, *_free too, do nothing. A model is immutable and may be shared by any threads; a
 * session, sampler, classifier or embedder is used by one thread at a time and keeps its model alive. Results
 * do not depend on the number of threads, on the CPU's instruction set (int8 models) or on how input is split
 * into calls; a float32 model's may, in the last bits, on how many tokens are computed together. Weights of a
 * model that are infinite, NaN or so large that sums overflow give outputs that may be NaN, of int8 models
 * the same ones on every instruction set (NaN for NaN). Text is bytes; sizes are in bytes unless named
 * otherwise. */
#ifndef LSRT_H
#define LSRT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#if defined(_WIN32)
#define LSRT_API
#else
#define LSRT_API __attribute__((visibility("default")))
#endif

#ifdef __cplusplus
extern "C" {
#endif

#define LSRT_VERSION_MAJOR 0
#define LSRT_VERSION_MINOR 1
#define LSRT_VERSION_PATCH 0

/* Version of the library that runs, "0.1.0"; compare with the macros above. */
LSRT_API const char* lsrt_version(void);

/* ---- status */

typedef enum lsrt_status {
  LSRT_OK = 0x00,
  LSRT_ERROR_ARGUMENT = 0x10,    /* a parameter is out of range or inconsistent */
  LSRT_ERROR_UNSUPPORTED = 0x11, /* valid, but this build or machine cannot do it */
  LSRT_ERROR_FILE = 0x20,        /* a file cannot be opened, read or written */
  LSRT_ERROR_MODEL = 0x21,       /* a model or state file is damaged or does not fit */
  LSRT_ERROR_VERSION = 0x22,     /* a model file needs another version of this library */
  LSRT_ERROR_MEMORY = 0x30,      /* an allocation failed, or a given buffer is too small */
  LSRT_ERROR_DEVICE = 0x40,      /* a backend's device failed */
  LSRT_ERROR_CHECKPOINT = 0x50,  /* a source checkpoint is damaged, incomplete or of an unknown family */
  LSRT_ERROR_CANCELLED = 0x60,   /* the caller asked to stop */
  LSRT_STATUS_MAX = 0x7fffffff   /* none: any int may be passed, and is checked */
} lsrt_status;

/* Static text of a status, "damaged model file". */
LSRT_API const char* lsrt_status_string(lsrt_status status);

/* What the last failed call of this thread found; valid until the thread's next failing call. */
LSRT_API const char* lsrt_last_error(void);

/* ---- models */

typedef struct lsrt_model lsrt_model;

typedef struct lsrt_model_params {
  size_t struct_size;
  const char* backend; /* "cpu" */
  /* Kernel set: "scalar", "avx2", ...; NULL: the environment variable LSRT_ISA, else the best. */
  const char* isa;
  /* false: read the file into memory of this process, on huge pages where the system has them, so that
   * decoding is faster. true: map it, so that processes share its memory; the file must then stay unchanged
   * while the model lives. Files over 1 GiB are always mapped. */
  bool map;
} lsrt_model_params;

LSRT_API lsrt_model_params lsrt_model_default_params(void);

/* Reads, verifies and prepares a model file. */
LSRT_API lsrt_status lsrt_model_load(const char* path, const lsrt_model_params* params, lsrt_model** model);
/* The same from memory, which is copied. */
LSRT_API lsrt_status lsrt_model_load_buffer(const void* data, size_t size, const lsrt_model_params* params,
                                            lsrt_model** model);
LSRT_API void lsrt_model_free(lsrt_model* model);

LSRT_API const char* lsrt_model_family(const lsrt_model* model);       /* "lm", "encoder", "vil", "slide" */
LSRT_API const char* lsrt_model_architecture(const lsrt_model* model); /* one line for people */
LSRT_API const char* lsrt_model_isa(const lsrt_model* model);          /* the kernel set in use */
LSRT_API uint32_t lsrt_model_threads(const lsrt_model* model);         /* what threads = 0 stands for */
LSRT_API size_t lsrt_model_bytes(const lsrt_model* model);             /* of the file */
LSRT_API size_t lsrt_model_vocabulary(const lsrt_model* model);        /* token ids; 0 without text */
LSRT_API size_t lsrt_model_classes(const lsrt_model* model);           /* of a classifier; 0 otherwise */
LSRT_API const char* lsrt_model_label(const lsrt_model* model, size_t index); /* "" if the model has none */

/* Runs the golden that conversion stored. LSRT_OK: int8 models give the very bits that they gave at
 * conversion, float32 models their outputs within 2e-4; LSRT_ERROR_MODEL: they do not, or no golden is
 * stored. difference = largest absolute difference of any output from the float model's, expected = the same
 * as measured at conversion; both are written in either case once the golden ran. */
LSRT_API lsrt_status lsrt_model_verify(const lsrt_model* model, uint32_t threads, float* difference,
                                       float* expected);

/* ---- text */

/* Token ids of text, for language models and for encoders (whose tokens are bytes + byte_offset). *count is
 * set even when `capacity` is too small (LSRT_ERROR_MEMORY); text_size is enough, but for a few characters
 * that Unicode's normal form makes longer. A byte without a token: LSRT_ERROR_ARGUMENT naming byte and
 * position; *count is then the number of tokens before it. Models with a byte-level BPE tokenizer have tokens
 * for every text, but those of two pieces are not always those of the whole; names of special tokens in the
 * text, "<|endoftext|>", become these. */
LSRT_API lsrt_status lsrt_tokenize(const lsrt_model* model, const char* text, size_t text_size,
                                   int32_t* tokens, size_t capacity, size_t* count);

/* The bytes of one token; empty for ids that have no text (or do not exist). */
LSRT_API const char* lsrt_token_text(const lsrt_model* model, int32_t token, size_t* size);
/* Whether a token stands for no text but for the end of a document or the like; its bytes are its name. */
LSRT_API bool lsrt_token_special(const lsrt_model* model, int32_t token);

/* The bytes of tokens, one after the other. *text_size is set even when `capacity` is too small
 * (LSRT_ERROR_MEMORY). */
LSRT_API lsrt_status lsrt_detokenize(const lsrt_model* model, const int32_t* tokens, size_t count, char* text,
                                     size_t capacity, size_t* text_size);

/* How many bytes of a text that is still being made can be shown: all but the beginning of a UTF-8 character
 * at its end, since one may take several tokens. Keep the rest, and put the next token's bytes behind it. */
LSRT_API size_t lsrt_whole_text(const char* text, size_t text_size);

/* ---- sessions: one stream of a language model */

typedef struct lsrt_session lsrt_session;

typedef struct lsrt_session_params {
  size_t struct_size;
  uint32_t threads; /* 0, the default: as many as pay for the model on this machine */
  /* Tokens; 0: the model's. Where no layer has a window or summaries neither applies, and only 0 is taken. */
  uint32_t block;
  uint32_t memory;
  /* Tokens computed together in prompts; 0: as many as useful. Less takes less scratch memory. */
  uint32_t max_batch;
  /* All memory that the session may take: creating one that needs more, which a model file of any size can
     ask for, is LSRT_ERROR_MEMORY. 0: 4 GiB. */
  size_t max_bytes;
} lsrt_session_params;

LSRT_API lsrt_session_params lsrt_session_default_params(void);

typedef struct lsrt_session_memory {
  size_t struct_size;
  size_t state_bytes;     /* the stream's state: the same at any length of stream */
  size_t positions_bytes; /* position tables where memory is larger than the model's own */
  size_t scratch_bytes;   /* activations and workspace */
  size_t
      snapshot_bytes; /* a saved state without a sampler's part, at most; taken by nobody until it is saved */
} lsrt_session_memory;

/* Memory that a session with these parameters will take; allocates none of it. memory->struct_size must be
 * set. */
LSRT_API lsrt_status lsrt_session_plan(const lsrt_model* model, const lsrt_session_params* params,
                                       lsrt_session_memory* memory);

/* Allocates all that the session will ever need. */
LSRT_API lsrt_status lsrt_session_create(const lsrt_model* model, const lsrt_session_params* params,
                                         lsrt_session** session);
LSRT_API void lsrt_session_free(lsrt_session* session);

typedef enum lsrt_output {
  LSRT_OUTPUT_NONE = 0,
  LSRT_OUTPUT_LAST = 1,        /* log-probabilities [vocabulary] of the token after the last one */
  LSRT_OUTPUT_ALL = 2,         /* [count, vocabulary]: after every token */
  LSRT_OUTPUT_MAX = 0x7fffffff /* none, as above */
} lsrt_output;

/* Asked between steps, at most 256 tokens or a block apart; false stops with LSRT_ERROR_CANCELLED. */
typedef bool (*lsrt_progress)(size_t done, size_t total, void* user);

/* Feeds tokens to the stream. A token outside the vocabulary: LSRT_ERROR_ARGUMENT, nothing is fed. */
LSRT_API lsrt_status lsrt_session_feed(lsrt_session* session, const int32_t* tokens, size_t count,
                                       lsrt_output output, float* logprobs, lsrt_progress progress,
                                       void* user);
LSRT_API uint64_t lsrt_session_position(const lsrt_session* session); /* tokens fed so far */
LSRT_API lsrt_status lsrt_session_reset(lsrt_session* session);       /* starts a new stream */

typedef struct lsrt_sampler lsrt_sampler;

/* Saving and loading: the stream's state and, unless NULL, the sampler's. Loading needs the same model (any
 * file of it that holds the same weights), block and memory, and with a sampler a state that was saved with
 * one; the sampler must be of the same model and keeps its own parameters. max_batch, threads, instruction
 * set and backend may differ: the saved bytes depend on none of them. A state that is damaged or does not fit
 * (LSRT_ERROR_MODEL, LSRT_ERROR_VERSION) leaves session and sampler as they were. */

/* In a file, which is written whole or not at all. */
LSRT_API lsrt_status lsrt_session_save(lsrt_session* session, const lsrt_sampler* sampler, const char* path);
LSRT_API lsrt_status lsrt_session_load(lsrt_session* session, lsrt_sampler* sampler, const char* path);

/* The same bytes in memory. *size is set to what they take at the stream's position; a buffer of NULL only
 * asks for it; one that is too small: LSRT_ERROR_MEMORY. Never more than snapshot_bytes of
 * lsrt_session_plan(), and with a sampler 40 + 4 * repeat_window bytes more. */
LSRT_API lsrt_status lsrt_session_save_buffer(lsrt_session* session, const lsrt_sampler* sampler,
                                              void* buffer, size_t capacity, size_t* size);
LSRT_API lsrt_status lsrt_session_load_buffer(lsrt_session* session, lsrt_sampler* sampler, const void* data,
                                              size_t size);

/* ---- sampling */

/* Applied in this order: repetition penalty, temperature, top-k, top-p, min-p. Ids without text are never
 * chosen. */
typedef struct lsrt_sampler_params {
  size_t struct_size;
  float temperature;      /* 0: the most probable token, always. Default 0.8 */
  uint32_t top_k;         /* only the k most probable; 0: all. Default 0 */
  float top_p;            /* the fewest that together reach p, above 0; 1: all. Default 1 */
  float min_p;            /* only those at least p times as probable as the best; 0: all. Default 0 */
  float repeat_penalty;   /* above 1 makes the last repeat_window tokens less probable. Default 1 (none) */
  uint32_t repeat_window; /* tokens. Default 64 */
  uint64_t seed;          /* default 0 */
} lsrt_sampler_params;

LSRT_API lsrt_sampler_params lsrt_sampler_default_params(void);
LSRT_API lsrt_status lsrt_sampler_create(const lsrt_model* model, const lsrt_sampler_params* params,
                                         lsrt_sampler** sampler);
LSRT_API void lsrt_sampler_free(lsrt_sampler* sampler);
/* Tells the sampler of a token that it did not choose itself (the prompt), for the repetition penalty. */
LSRT_API void lsrt_sampler_accept(lsrt_sampler* sampler, int32_t token);
/* The last token chosen or accepted, -1: none yet (or NULL). After loading, it tells which token is still to
 * be fed. */
LSRT_API int32_t lsrt_sampler_last(const lsrt_sampler* sampler);
/* Chooses from log-probabilities [vocabulary] (not changed) and accepts the choice. Those that are not finite
 * are never chosen; LSRT_ERROR_ARGUMENT if none is. Any temperature above 0 is allowed: 1e-30 chooses as 0
 * does, but among equal ones at random. */
LSRT_API lsrt_status lsrt_sampler_sample(lsrt_sampler* sampler, const float* logprobs, int32_t* token);

/* Feeds tokens, at least one, and chooses the next: the token that lsrt_session_feed() with LSRT_OUTPUT_LAST
 * and lsrt_sampler_sample() give, with their errors. The sampler, of the session's model, accepts it; after
 * an error it is as before. The log-probabilities stay where they are: a device of its own chooses there. */
LSRT_API lsrt_status lsrt_session_next(lsrt_session* session, const int32_t* tokens, size_t count,
                                       lsrt_sampler* sampler, lsrt_progress progress, void* user,
                                       int32_t* token);

/* ---- classification: images (vil) and token sequences (encoder) */

typedef struct lsrt_classifier lsrt_classifier;

typedef struct lsrt_classifier_params {
  size_t struct_size;
  uint32_t threads;   /* 0, the default: as many as pay for the model on this machine */
  uint32_t max_batch; /* inputs computed together; default 1 */
  size_t max_bytes;   /* all memory that the classifier may take; more is LSRT_ERROR_MEMORY. 0: 4 GiB */
} lsrt_classifier_params;

LSRT_API lsrt_classifier_params lsrt_classifier_default_params(void);

typedef struct lsrt_image_input {
  size_t struct_size;
  uint32_t size;   /* pixels on a side that the model takes */
  uint32_t resize; /* the shorter side is resized to this, then size x size is cropped from the centre */
  float mean[3], std[3]; /* of values 0 .. 1, red green blue */
} lsrt_image_input;

typedef struct lsrt_sequence_input {
  size_t struct_size;
  uint32_t max_length; /* tokens */
  int32_t byte_offset; /* token of a text byte = byte + byte_offset */
  bool pair;           /* the model compares two sequences */
} lsrt_sequence_input;

/* What a classifier takes; LSRT_ERROR_ARGUMENT for a model of another family. struct_size must be set. */
LSRT_API lsrt_status lsrt_model_image_input(const lsrt_model* model, lsrt_image_input* input);
LSRT_API lsrt_status lsrt_model_sequence_input(const lsrt_model* model, lsrt_sequence_input* input);

/* Allocates all that the classifier will ever need. */
LSRT_API lsrt_status lsrt_classifier_create(const lsrt_model* model, const lsrt_classifier_params* params,
                                            lsrt_classifier** classifier);
LSRT_API void lsrt_classifier_free(lsrt_classifier* classifier);

/* Logits [count, classes] of images [count, size, size, 3], 8 bits, red green blue, already size x size. */
LSRT_API lsrt_status lsrt_classify_images(lsrt_classifier* classifier, const uint8_t* images, size_t count,
                                          float* logits);

/* Logits [count, classes] of sequences. tokens: all of them one after another (for pairs: first and second in
 * turn); lengths: of each, 1 .. max_length. */
LSRT_API lsrt_status lsrt_classify_sequences(lsrt_classifier* classifier, const int32_t* tokens,
                                             const size_t* lengths, size_t count, float* logits);

/* ---- slides: an embedding of many tiles with their places (slide) */

typedef struct lsrt_embedder lsrt_embedder;

typedef struct lsrt_embedder_params {
  size_t struct_size;
  uint32_t threads;   /* 0, the default: as many as pay for the model on this machine */
  uint32_t max_tiles; /* of a slide; memory grows with it. Default 16384 */
  size_t max_bytes;   /* all memory that the embedder may take; more is LSRT_ERROR_MEMORY. 0: 4 GiB */
} lsrt_embedder_params;

LSRT_API lsrt_embedder_params lsrt_embedder_default_params(void);

typedef struct lsrt_slide_input {
  size_t struct_size;
  uint32_t features; /* of a tile */
  uint32_t tile;     /* pixels on a side of a cell */
  uint32_t cells;    /* on a side of a slide: coordinates are 0 .. below tile * cells */
  uint32_t width;    /* of an embedding */
} lsrt_slide_input;

/* What an embedder takes; LSRT_ERROR_ARGUMENT for a model of another family. struct_size must be set. */
LSRT_API lsrt_status lsrt_model_slide_input(const lsrt_model* model, lsrt_slide_input* input);

/* Allocates all that the embedder will ever need. */
LSRT_API lsrt_status lsrt_embedder_create(const lsrt_model* model, const lsrt_embedder_params* params,
                                          lsrt_embedder** embedder);
LSRT_API void lsrt_embedder_free(lsrt_embedder* embedder);

/* embedding[width] of a slide: the features of its tiles [count, features], count 1 .. max_tiles, and their
 * places in pixels coords[count, 2]. */
LSRT_API lsrt_status lsrt_embed_slide(lsrt_embedder* embedder, const float* tiles, const float* coords,
                                      size_t count, float* embedding);

#ifdef __cplusplus
}
#endif

#endif /* LSRT_H */
