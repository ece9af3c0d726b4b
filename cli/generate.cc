// lsrt generate: streams text from a language model.
//
// The last token of a stream is always left to be fed: feeding it gives the probabilities of the next one. So
// a state file holds all tokens but the last fed, and the last one in the sampler's part; a run that loads it
// goes on exactly.
#include <unistd.h>

#include <cstdio>
#include <cstring>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include "cli/command.h"
#include "cli/options.h"
#include "cli/output.h"

namespace lsrt::tool {
namespace {

struct Options {
  EngineOptions engine;
  StreamOptions stream;
  std::string prompt, prompt_file, save_state, load_state;
  CLI::Option* prompt_given = nullptr;
  CLI::Option* seed_given = nullptr;
  uint64_t count = 256;
  lsrt_sampler_params sampling = lsrt_sampler_default_params();
  bool json = false;
};

// Writes text to standard output: as it is, but harmless to a terminal.
class TextOutput {
 public:
  Status add(std::string_view text) { return terminal_ ? print(shown_.add(text)) : print(text); }

 private:
  const bool terminal_ = isatty(STDOUT_FILENO) == 1;
  TerminalText shown_;
};

struct Stream {
  ModelHandle model;
  SessionHandle session;
  SamplerHandle sampler;
  std::vector<int32_t> pending;  // accepted, not yet fed
  TextOutput output;
};

struct Summary {
  size_t prompt_tokens = 0, generated = 0;
  double load_ms = 0, prompt_ms = 0, decode_ms = 0;  // prompt: up to the first token
  std::string text;                                  // for JSON only: a stream takes constant memory
  bool ended = false;                                // by a token that stands for an end
  bool line_is_open = false;                         // the text shown does not end with a line end
};

Result<std::string> read_prompt(const Options& options) {
  if (options.prompt_given->count()) return options.prompt;
  const bool asked = options.prompt_file == "-";
  if (!options.prompt_file.empty() && !asked) return read_text(options.prompt_file.c_str());
  if (!asked && (!options.load_state.empty() || isatty(STDIN_FILENO))) return std::string();
  return read_text(nullptr);
}

Status add_text(const std::string& text, const char* source, Stream* s) {
  std::vector<int32_t> tokens;
  LSRT_TRY(tokenize_all(s->model.get(), text, source, &tokens));
  for (const int32_t token : tokens) {
    lsrt_sampler_accept(s->sampler.get(), token);
    s->pending.push_back(token);
  }
  return Status();
}

// Opens all that is needed and takes the prompt and the state in.
Status open_stream(const Options& options, Stream* s, Summary* summary) {
  LSRT_ASSIGN(s->model, options.engine.load());
  LSRT_TRY(require_text(s->model.get(), options.engine.model));
  LSRT_ASSIGN(s->session, options.stream.create(s->model.get(), options.engine.threads));
  lsrt_sampler* sampler = nullptr;
  LSRT_TRY(from_api(lsrt_sampler_create(s->model.get(), &options.sampling, &sampler)));
  s->sampler.reset(sampler);
  if (!options.load_state.empty()) {
    LSRT_TRY(from_api(lsrt_session_load(s->session.get(), sampler, options.load_state.c_str())));
    if (lsrt_sampler_last(sampler) >= 0) s->pending.push_back(lsrt_sampler_last(sampler));
  }
  LSRT_ASSIGN(const std::string prompt, read_prompt(options));
  const char* source = options.prompt_given->count() ? "--prompt"
                       : options.prompt_file.empty() ? "standard input"
                                                     : options.prompt_file.c_str();
  const size_t before = s->pending.size();
  LSRT_TRY(add_text(prompt, source, s));
  summary->prompt_tokens = s->pending.size() - before;
  if (s->pending.empty()) {
    const Status status = add_text("\n", "no prompt", s);
    if (!status.ok())
      return fail(Error::kFile, "the prompt is empty and the model has no newline to begin with");
  }
  if (isatty(STDOUT_FILENO) && !options.json) LSRT_TRY(s->output.add(prompt));
  return Status();
}

// Asked between the steps of a call; user: its Progress.
bool go_on(size_t done, size_t total, void* user) {
  if (total > 1) static_cast<Progress*>(user)->update(done, total);
  return !interrupted();
}

// Feeds all pending tokens; the next one, which is pending then.
Result<int32_t> next_token(Stream* s) {
  Progress progress("reading the prompt");
  int32_t token = 0;
  LSRT_TRY(from_api(lsrt_session_next(s->session.get(), s->pending.data(), s->pending.size(),
                                      s->sampler.get(), go_on, &progress, &token)));
  s->pending.assign(1, token);
  return token;
}

// Feeds all pending tokens but the last one.
Status feed_pending(Stream* s) {
  Progress progress("reading the prompt");
  return from_api(lsrt_session_feed(s->session.get(), s->pending.data(), s->pending.size() - 1,
                                    LSRT_OUTPUT_NONE, nullptr, go_on, &progress));
}

Status generate_tokens(const Options& options, Stream* s, Summary* summary) {
  Clock clock;
  while (summary->generated < options.count && !interrupted() && !output_closed()) {
    LSRT_ASSIGN(const int32_t token, next_token(s));
    if (summary->generated == 0) summary->prompt_ms = clock.ms();
    ++summary->generated;
    summary->ended = lsrt_token_special(s->model.get(), token);
    if (summary->ended) break;
    size_t size = 0;
    const char* text = lsrt_token_text(s->model.get(), token, &size);
    if (size > 0) summary->line_is_open = text[size - 1] != '\n';
    if (options.json) {
      summary->text.append(text, size);
    } else {
      LSRT_TRY(s->output.add({text, size}));
    }
  }
  summary->decode_ms = clock.ms() - summary->prompt_ms;
  return Status();
}

Status print_summary(const Options& options, const Stream& s, const Summary& r) {
  LSRT_ASSIGN(lsrt_session_memory memory,
              plan_session(s.model.get(), options.stream, options.engine.threads));
  const uint64_t position = lsrt_session_position(s.session.get());
  const uint32_t threads = options.engine.threads_for(s.model.get());
  const bool continued = !options.load_state.empty();
  // The first token comes with the prompt, the others one feed each.
  const double per_token = r.generated > 1 ? r.decode_ms / static_cast<double>(r.generated - 1) : 0;
  const double prompt_rate = r.prompt_ms > 0 ? static_cast<double>(r.prompt_tokens) / r.prompt_ms * 1e3 : 0;
  if (options.json) {
    return print_json(Json{{"text", r.text},
                           {"prompt_tokens", r.prompt_tokens},
                           {"generated_tokens", r.generated},
                           {"seed", continued ? Json() : Json(options.sampling.seed)},
                           {"position", position},
                           {"load_ms", r.load_ms},
                           {"prompt_ms", r.prompt_ms},
                           {"prompt_tokens_per_second", prompt_rate},
                           {"decode_ms_per_token", per_token},
                           {"state_bytes", memory.state_bytes},
                           {"peak_rss_bytes", peak_rss_bytes()},
                           {"isa", lsrt_model_isa(s.model.get())},
                           {"threads", threads},
                           {"ended", r.ended},
                           {"interrupted", interrupted()}});
  }
  if (isatty(STDOUT_FILENO) && (r.generated == 0 || r.line_is_open)) LSRT_TRY(print("\n"));
  std::fprintf(stderr,
               "lsrt: %s; prompt %zu tokens in %.1f ms (%.0f/s), %zu generated at %.2f ms each (%.0f/s), "
               "stream %llu tokens\n",
               continued
                   ? "random state from the file"
                   : format("seed %llu", static_cast<unsigned long long>(options.sampling.seed)).c_str(),
               r.prompt_tokens, r.prompt_ms, prompt_rate, r.generated, per_token,
               per_token > 0 ? 1e3 / per_token : 0, static_cast<unsigned long long>(position));
  std::fprintf(stderr, "lsrt: %s, %u threads; loaded in %.1f ms; state %s at any length, peak memory %s\n",
               lsrt_model_isa(s.model.get()), threads, r.load_ms, bytes_text(memory.state_bytes).c_str(),
               bytes_text(peak_rss_bytes()).c_str());
  return Status();
}

Status generate(Options options) {
  LSRT_TRY(keep(options.engine.model, options.save_state));
  if (!options.seed_given->count()) options.sampling.seed = std::random_device()();
  catch_interrupts();
  Clock clock;
  Stream s;
  Summary summary;
  LSRT_TRY(open_stream(options, &s, &summary));
  summary.load_ms = clock.ms();
  const Status status = generate_tokens(options, &s, &summary);
  if (!status.ok() && status.code() != Error::kCancelled) return status;
  if (!options.save_state.empty()) {
    // A prompt that Ctrl-C cut short is not in any state worth keeping.
    if (!status.ok()) return fail(Error::kCancelled, "interrupted while reading the prompt; no state saved");
    LSRT_TRY(feed_pending(&s));
    LSRT_TRY(from_api(lsrt_session_save(s.session.get(), s.sampler.get(), options.save_state.c_str())));
  }
  return output_closed() ? Status() : print_summary(options, s, summary);
}

void add_sampling(CLI::App* app, Options* o) {
  lsrt_sampler_params& p = o->sampling;
  app->add_option("--temperature", p.temperature, "0: always the most probable token")->capture_default_str();
  app->add_option("--top-k", p.top_k, "Only the K most probable; 0: all")->capture_default_str();
  app->add_option("--top-p", p.top_p, "Only the fewest that together reach P")->capture_default_str();
  app->add_option("--min-p", p.min_p, "Only those at least P times as probable as the best")
      ->capture_default_str();
  app->add_option("--repeat-penalty", p.repeat_penalty, "Above 1: recent tokens become less probable")
      ->capture_default_str();
  app->add_option("--repeat-window", p.repeat_window, "How many tokens are recent")->capture_default_str();
  o->seed_given =
      app->add_option("--seed", p.seed, "Of the random choice; default: a new one, which is printed")
          ->check(whole_number());
}

}  // namespace

Command add_generate(CLI::App& tool) {
  auto options = std::make_shared<Options>();
  CLI::App* app = tool.add_subcommand("generate", "Continue a text; the text streams to standard output");
  app->footer(
      "The prompt is --prompt, else --prompt-file, else standard input unless that is a terminal or a\n"
      "state is loaded. An empty prompt begins with a newline. On a terminal the prompt is repeated\n"
      "before the text. Ctrl-C ends after the current token, with summary and state. The same seed and\n"
      "options give the same text, whatever the threads and the kernel set. A special token, the end of a\n"
      "document, ends the text. A loaded state goes on exactly where it was saved, with its random\n"
      "numbers; give the same sampling options again.");
  options->engine.add_model(app);
  options->prompt_given = app->add_option("--prompt", options->prompt, "Text to continue");
  app->add_option("--prompt-file", options->prompt_file, "File with the text to continue; -: standard input")
      ->excludes(options->prompt_given);
  app->add_option("-n", options->count, "Tokens to generate")
      ->check(whole_number())
      ->capture_default_str();
  add_sampling(app, options.get());
  options->stream.add(app);
  options->engine.add(app);
  app->add_option("--save-state", options->save_state, "Write the stream's state to a file at the end");
  app->add_option("--load-state", options->load_state, "Go on from a state file")
      ->excludes(options->seed_given);
  app->add_flag("--json", options->json, "Print text and measurements as JSON at the end");
  return {app, [options] { return generate(*options); }};
}

}  // namespace lsrt::tool
