#include "cli/output.h"

#include <sys/resource.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <cstdarg>
#include <cstdio>
#include <cstring>

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
  return print(json.dump(2, ' ', false, Json::error_handler_t::replace) + "\n");
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

std::string one_line(std::string text) {
  for (char& c : text) {
    if (static_cast<unsigned char>(c) < 0x20 || c == 0x7F) c = ' ';
  }
  while (!text.empty() && text.back() == ' ') text.pop_back();
  return text;
}

std::string bytes_text(uint64_t bytes) {
  if (bytes < 10 * 1024) return format("%llu bytes", static_cast<unsigned long long>(bytes));
  if (bytes < 1024 * 1024) return format("%.1f KiB", static_cast<double>(bytes) / 1024);
  return format("%.2f MiB", static_cast<double>(bytes) / (1024 * 1024));
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
  sigaction(SIGINT, &action, nullptr);
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
               std::string(kWidth - filled, '.').c_str(), part * 100, note.c_str());
  shown_ = true;
}

void Progress::clear() {
  if (shown_) std::fputs("\r\x1b[K", stderr);
  shown_ = false;
}

}  // namespace lsrt::tool
