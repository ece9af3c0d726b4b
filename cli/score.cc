// lsrt score: bits per byte of a text.
#include <algorithm>
#include <cerrno>
#include <cmath>
#include <cstdio>
#include <cstring>
#include <memory>
#include <string_view>
#include <vector>

#include "cli/command.h"
#include "cli/options.h"
#include "cli/output.h"

namespace lsrt::tool {
namespace {

constexpr size_t kPieceBytes = 4096;        // of text
constexpr size_t kMaxRowBytes = 64u << 20;  // of log-probabilities, which a large vocabulary has many of

struct Options {
  EngineOptions engine;
  StreamOptions stream;
  std::string file;
  uint64_t limit = 0;
  bool skip_unknown = false, json = false;
};

struct CloseFile {
  void operator()(FILE* f) const { std::fclose(f); }
};
using InputFile = std::unique_ptr<FILE, CloseFile>;

struct Score {
  uint64_t bytes = 0, tokens = 0, skipped = 0;  // skipped: bytes besides, which no token stands for
  double bits = 0;                              // of all tokens but the first

  uint64_t read() const { return bytes + skipped; }
  double per_byte() const { return tokens > 1 ? bits / static_cast<double>(tokens - 1) : 0; }
};

// Feeds the file piece by piece: a token of the next piece is predicted by the last row of this one.
class Scorer {
 public:
  Scorer(const Options& options, const lsrt_model* model, lsrt_session* session)
      : options_(options),
        model_(model),
        session_(session),
        vocabulary_(lsrt_model_vocabulary(model)),
        tokens_(kPieceBytes),
        step_(std::clamp<size_t>(kMaxRowBytes / sizeof(float) / vocabulary_, 1, kPieceBytes)),
        rows_((step_ + 1) * vocabulary_) {}

  Status add(std::string_view text, Score* score) {
    while (!text.empty()) {
      size_t n = 0;
      const lsrt_status status =
          lsrt_tokenize(model_, text.data(), text.size(), tokens_.data(), tokens_.size(), &n);
      if (status != LSRT_ERROR_ARGUMENT) {
        LSRT_TRY(from_api(status));
        return feed(n, text.size(), score);
      }
      const size_t known = bytes_of(n);
      if (!options_.skip_unknown) return unknown_byte(text[known], score->read() + known);
      LSRT_TRY(feed(n, known, score));
      text.remove_prefix(known + 1);
      ++score->skipped;
    }
    return Status();
  }

 private:
  // The first n of tokens_, which stand for so many bytes.
  Status feed(size_t n, size_t bytes, Score* score) {
    auto go_on = [](size_t, size_t, void*) { return !interrupted(); };
    for (size_t done = 0; done < n;) {
      const int32_t* tokens = tokens_.data() + done;
      const size_t count = std::min(step_, n - done);
      // Row 0 is the last one of the step before.
      LSRT_TRY(from_api(lsrt_session_feed(session_, tokens, count, LSRT_OUTPUT_ALL,
                                          rows_.data() + vocabulary_, go_on, nullptr)));
      for (size_t i = score->tokens == 0 ? 1 : 0; i < count; ++i) {
        score->bits -= rows_[i * vocabulary_ + static_cast<size_t>(tokens[i])] / std::log(2.0);
      }
      std::copy_n(rows_.data() + count * vocabulary_, vocabulary_, rows_.data());
      score->tokens += count;
      done += count;
    }
    score->bytes += bytes;
    return Status();
  }

  // Of the first n of tokens_.
  size_t bytes_of(size_t n) const {
    size_t all = 0;
    for (size_t i = 0; i < n; ++i) {
      size_t size = 0;
      lsrt_token_text(model_, tokens_[i], &size);
      all += size;
    }
    return all;
  }

  Status unknown_byte(char byte, uint64_t position) const {
    return fail(
        Error::kFile,
        "%s: byte 0x%02X at position %llu is not in the model's vocabulary; --skip-unknown leaves such bytes out",
        options_.file.c_str(), static_cast<unsigned char>(byte), static_cast<unsigned long long>(position));
  }

  const Options& options_;
  const lsrt_model* model_;
  lsrt_session* session_;
  const size_t vocabulary_;
  std::vector<int32_t> tokens_;
  const size_t step_;  // tokens fed at a time
  std::vector<float> rows_;
};

Status score_file(const Options& options, uint64_t size, FILE* file, Scorer* scorer, Score* score) {
  Progress progress("scoring");
  std::vector<char> piece(kPieceBytes);
  while (score->read() < size) {
    const size_t wanted = std::min<uint64_t>(piece.size(), size - score->read());
    const size_t got = std::fread(piece.data(), 1, wanted, file);
    if (got == 0 && std::ferror(file)) {
      return fail(Error::kFile, "%s: cannot read: %s", options.file.c_str(), std::strerror(errno));
    }
    if (got == 0) break;
    LSRT_TRY(scorer->add({piece.data(), got}, score));
    progress.update(score->read(), size, format("%.4f bits per byte", score->per_byte()));
  }
  return Status();
}

// All of a file that can be sought, else (a pipe) as much as comes.
uint64_t bytes_to_read(FILE* file, uint64_t limit) {
  uint64_t size = UINT64_MAX;
  if (std::fseek(file, 0, SEEK_END) == 0) {
    size = static_cast<uint64_t>(std::ftell(file));
    std::rewind(file);
  }
  return limit ? std::min(size, limit) : size;
}

Status score(const Options& options) {
  const char* name = options.file.c_str();
  LSRT_ASSIGN(ModelHandle model, options.engine.load());
  if (lsrt_model_vocabulary(model.get())) LSRT_TRY(require_text(model.get(), options.engine.model));
  LSRT_ASSIGN(SessionHandle session, options.stream.create(model.get(), options.engine.threads));
  LSRT_ASSIGN(lsrt_session_memory memory, plan_session(model.get(), options.stream, options.engine.threads));
  InputFile file(std::fopen(name, "rb"));
  if (!file) return fail(Error::kFile, "%s: cannot open: %s", name, std::strerror(errno));

  catch_interrupts();
  Clock clock;
  Score score;
  Scorer scorer(options, model.get(), session.get());
  LSRT_TRY(score_file(options, bytes_to_read(file.get(), options.limit), file.get(), &scorer, &score));
  if (score.tokens < 2)
    return fail(Error::kFile, "%s: has %llu tokens, two or more are needed", name,
                static_cast<unsigned long long>(score.tokens));
  const double seconds = clock.seconds(), rate = static_cast<double>(score.tokens) / seconds;
  if (options.json) {
    return print_json(Json{{"bytes", score.bytes},
                           {"tokens", score.tokens},
                           {"skipped_bytes", score.skipped},
                           {"bits_per_byte", score.per_byte()},
                           {"tokens_per_second", rate},
                           {"state_bytes", memory.state_bytes},
                           {"peak_rss_bytes", peak_rss_bytes()},
                           {"seconds", seconds}});
  }
  return print(format(
      "%.4f bits per byte\n%llu bytes%s, %llu tokens in %.2f s: %.0f tokens/s\nstate %s, peak memory %s\n",
      score.per_byte(), static_cast<unsigned long long>(score.bytes),
      score.skipped ? format(" and %llu skipped", static_cast<unsigned long long>(score.skipped)).c_str()
                    : "",
      static_cast<unsigned long long>(score.tokens), seconds, rate, bytes_text(memory.state_bytes).c_str(),
      bytes_text(peak_rss_bytes()).c_str()));
}

}  // namespace

Command add_score(CLI::App& tool) {
  auto options = std::make_shared<Options>();
  CLI::App* app = tool.add_subcommand("score", "Bits per byte of a text: how well the model predicts it");
  app->footer("The first symbol is given; the sum of -log2 p over all others is divided by their number.");
  options->engine.add_model(app);
  app->add_option("FILE", options->file, "Text to read")->required();
  options->stream.add(app);
  options->engine.add(app);
  app->add_option("--limit", options->limit, "Take only the first bytes of the file; 0: all")
      ->check(CLI::NonNegativeNumber);
  app->add_flag("--skip-unknown", options->skip_unknown,
                "Leave out bytes that no token stands for, and say how many");
  app->add_flag("--json", options->json, "Print JSON");
  return {app, [options] { return score(*options); }};
}

}  // namespace lsrt::tool
