// lsrt score: bits per byte of a text.
#include <algorithm>
#include <cmath>
#include <cstdio>
#include <filesystem>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "cli/command.h"
#include "cli/options.h"
#include "cli/output.h"
#include "runtime/api/handles.h"

namespace lsrt::tool {
namespace {

constexpr size_t kStepTokens = 4096;        // fed at a time, at most
constexpr uint64_t kPieceBytes = 1u << 16;  // of the text, read at a time
constexpr size_t kMaxRowBytes = 64u << 20;  // of log-probabilities, which a large vocabulary has many of

struct Options {
  EngineOptions engine;
  StreamOptions stream;
  std::string file;
  uint64_t limit = 0;
  bool skip_unknown = false, json = false;
};

struct Score {
  uint64_t bytes = 0, tokens = 0, skipped = 0;  // skipped: bytes besides, which no token stands for
  size_t first_bytes = 0;                       // of the first token, which is given
  double bits = 0;                              // of all tokens but the first

  double per_byte() const {
    return bytes > first_bytes ? bits / static_cast<double>(bytes - first_bytes) : 0;
  }
};

// Feeds a text in steps: the first token of the next step is predicted by the last row of this one.
class Scorer {
 public:
  Scorer(const Options& options, const lsrt_model* model, lsrt_session* session)
      : options_(options),
        model_(model),
        session_(session),
        vocabulary_(lsrt_model_vocabulary(model)),
        step_(std::clamp<size_t>(kMaxRowBytes / sizeof(float) / vocabulary_, 1, kStepTokens)),
        rows_((step_ + 1) * vocabulary_) {}

  Status run(Score* score) {
    LSRT_ASSIGN(TextFile file, TextFile::open(options_.file.c_str()));
    std::error_code no_file;  // but a pipe, whose end is not known
    const uint64_t size = std::filesystem::file_size(options_.file, no_file);
    uint64_t left = options_.limit ? options_.limit : UINT64_MAX;
    all_bytes_ = no_file ? 0 : std::min(left, size);
    // Byte pairs are joined in all of a text, not in its pieces.
    const uint64_t piece = model_->loaded->byte_pairs ? UINT64_MAX : kPieceBytes;
    std::string text;
    for (bool more = true; more;) {
      const size_t before = text.size();
      LSRT_ASSIGN(more, file.read(std::min(piece, left), &text));
      if (interrupted()) return fail(Error::kCancelled, "interrupted");
      left -= text.size() - before;
      more = more && left > 0;
      LSRT_TRY(add(more, &text, score));
    }
    return Status();
  }

 private:
  size_t token_bytes(size_t id) const {
    size_t size = 0;
    lsrt_token_text(model_, static_cast<int32_t>(id), &size);
    return size;
  }

  // Takes from the front of a text all of whose tokens it is sure; more: there is text to come, which its
  // last bytes can be one token with.
  Status add(bool more, std::string* text, Score* score) {
    std::string_view left = *text;
    while (!left.empty()) {
      size_t known = tokenize(model_, left, &tokens_);
      const auto unsure = [&](size_t begin) { return more && begin + kMaxTokenBytes > left.size(); };
      const bool ends = known == left.size() || unsure(known);
      while (!tokens_.empty() && unsure(known - token_bytes(tokens_.back()))) {
        known -= token_bytes(tokens_.back());
        tokens_.pop_back();
      }
      if (!ends && !options_.skip_unknown) {
        return unknown_byte(left[known], score->bytes + score->skipped + known);
      }
      LSRT_TRY(feed(known, score));
      left.remove_prefix(known);
      if (ends) break;
      left.remove_prefix(1);
      ++score->skipped;
    }
    text->erase(0, text->size() - left.size());
    return Status();
  }

  // All tokens_, which stand for so many bytes.
  Status feed(size_t bytes, Score* score) {
    const size_t n = tokens_.size();
    auto go_on = [](size_t, size_t, void*) { return !interrupted(); };
    if (score->tokens == 0 && n > 0) score->first_bytes = token_bytes(tokens_[0]);
    const uint64_t bytes_before = score->bytes;
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
      score->bytes = bytes_before + bytes * done / n;
      progress_.update(std::min(score->bytes + score->skipped, all_bytes_), all_bytes_,
                       format("%.4f bits per byte", score->per_byte()));
    }
    return Status();
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
  uint64_t all_bytes_ = 0;
  const size_t step_;  // tokens fed at a time
  std::vector<float> rows_;
  Progress progress_{"scoring"};
};

Status score(const Options& options) {
  const char* name = options.file.c_str();
  LSRT_ASSIGN(ModelHandle model, options.engine.load());
  LSRT_TRY(require_text(model.get(), options.engine.model));
  LSRT_ASSIGN(SessionHandle session, options.stream.create(model.get(), options.engine.threads));
  LSRT_ASSIGN(lsrt_session_memory memory, plan_session(model.get(), options.stream, options.engine.threads));
  catch_interrupts();
  Clock clock;
  Score score;
  LSRT_TRY(Scorer(options, model.get(), session.get()).run(&score));
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
  app->footer(
      "The first token is given; the sum of -log2 p over all others is divided by the number of their bytes.");
  options->engine.add_model(app);
  app->add_option("FILE", options->file, "Text to read")->required();
  options->stream.add(app);
  options->engine.add(app);
  app->add_option("--limit", options->limit, "Take only the first bytes of the file; 0: all")
      ->check(whole_number());
  app->add_flag("--skip-unknown", options->skip_unknown,
                "Leave out bytes that no token stands for, and say how many");
  app->add_flag("--json", options->json, "Print JSON");
  return {app, [options] { return score(*options); }};
}

}  // namespace lsrt::tool
