#include "cli/output.h"

#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cmath>
#include <csignal>
#include <cstdarg>
#include <cstdio>
#include <cstring>

#include "base/text.h"

namespace lsrt::tool {
namespace {

bool closed = false;
volatile std::sig_atomic_t interrupt_seen = 0;

}  // namespace

Status print(std::string_view text) {
  if (closed) return Status();
  if (std::fwrite(text.data(), 1, text.size(), stdout) == text.size() && std::fflush(stdout) == 0)
    return Status();
  if (errno == EPIPE) {
    closed = true;
    return Status();
  }
  return fail(Error::kFile, "standard output: cannot write: %s", std::strerror(errno));
}

Status print_json(const Json& json) {
  // Generated text may be cut in the middle of a character.
  const std::string text = json.dump(2, ' ', false, Json::error_handler_t::replace);
  // JSON escapes the control characters below blank only.
  std::string safe;
  for (std::string_view rest = text; !rest.empty();) {
    const std::string_view character = rest.substr(0, std::max<size_t>(utf8_length(rest), 1));
    const bool plain = character == "\n" || is_plain_text(character);
    safe += plain ? std::string(character) : format("\\u%04x", static_cast<unsigned char>(character.back()));
    rest.remove_prefix(character.size());
  }
  return print(safe + "\n");
}

bool output_closed() { return closed; }

std::string format(const char* format, ...) {
  va_list args, again;
  va_start(args, format);
  va_copy(again, args);
  std::string text(std::vsnprintf(nullptr, 0, format, args), '\0');
  std::vsnprintf(text.data(), text.size() + 1, format, again);
  va_end(again);
  va_end(args);
  return text;
}

std::string one_line(std::string_view text) {
  std::string line(text);
  std::replace_if(
      line.begin(), line.end(), [](unsigned char c) { return c < 0x20; }, ' ');
  line = plain_text(line);
  while (!line.empty() && line.back() == ' ') line.pop_back();
  return line;
}

std::string TerminalText::add(std::string_view text) {
  held_ += text;
  std::string shown;
  std::string_view rest = held_;
  while (!rest.empty()) {
    const size_t length = utf8_length(rest);
    if (length == 0 && utf8_begins(rest)) break;  // the rest is still to come
    const std::string_view character = rest.substr(0, std::max<size_t>(length, 1));
    if (length == 0) {
      shown += "\xEF\xBF\xBD";  // the replacement character
    } else if (character == "\n" || character == "\t" || is_plain_text(character)) {
      shown += character;
    }
    rest.remove_prefix(character.size());
  }
  held_.erase(0, held_.size() - rest.size());
  return shown;
}

std::string bytes_text(uint64_t bytes) {
  if (bytes < 10 * 1024) return format("%llu bytes", static_cast<unsigned long long>(bytes));
  if (bytes < 1024 * 1024) return format("%.1f KiB", static_cast<double>(bytes) / 1024);
  return format("%.2f MiB", static_cast<double>(bytes) / (1024 * 1024));
}

std::string distance_text(Family family, const GoldenCheck& check) {
  if (family == Family::kLm) {
    return format("mean KL %.3g nats (%.3g bits) a token, same most probable token for %.1f %% of %zu",
                  check.mean_kl, check.mean_kl / std::log(2.0), 100 * check.same_top, check.rows);
  }
  if (family == Family::kSlide) {
    return format("largest difference %.2g %% of the largest value of the embedding, of %zu slides",
                  100 * check.relative_difference, check.rows);
  }
  return format("largest logit difference %.2g %% of the largest logit, same top class for %.0f %% of %zu",
                100 * check.relative_difference, 100 * check.same_top, check.rows);
}

size_t peak_rss_bytes() {
  rusage usage = {};
  getrusage(RUSAGE_SELF, &usage);
  return static_cast<size_t>(usage.ru_maxrss) * 1024;
}

void catch_interrupts() {
  struct sigaction action = {};
  action.sa_handler = [](int) { interrupt_seen = 1; };
  action.sa_flags = SA_RESETHAND | SA_RESTART;
  for (const int signal : {SIGINT, SIGTERM, SIGHUP}) {
    struct sigaction before = {};
    // What nohup asks for; SIGINT is ignored by whatever a script starts in the background.
    if (signal == SIGHUP && sigaction(signal, nullptr, &before) == 0 && before.sa_handler == SIG_IGN)
      continue;
    sigaction(signal, &action, nullptr);
  }
}

bool interrupted() { return interrupt_seen != 0; }

void Progress::update(uint64_t done, uint64_t total, const std::string& note) {
  static const bool terminal = isatty(STDERR_FILENO) == 1;
  if (!terminal || clock_.seconds() < next_) return;
  next_ = clock_.seconds() + 0.2;
  const double part = total ? static_cast<double>(done) / static_cast<double>(total) : 0;
  constexpr int kWidth = 24;
  const int filled = static_cast<int>(part * kWidth);
  std::fprintf(stderr, "\r%s [%s%s] %3.0f %% %s\x1b[K", label_.c_str(), std::string(filled, '#').c_str(),
               std::string(kWidth - filled, '.').c_str(), part * 100, one_line(note).c_str());
  shown_ = true;
}

void Progress::clear() {
  if (shown_) std::fputs("\r\x1b[K", stderr);
  shown_ = false;
}

}  // namespace lsrt::tool
