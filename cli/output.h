// What commands print: text and JSON on stdout, progress on stderr; and the facts about the process that they
// report.
#pragma once

#include <chrono>
#include <cstdint>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>

#include "base/status.h"
#include "runtime/api/verify.h"

namespace lsrt::tool {

using Json = nlohmann::ordered_json;

// Writes to stdout at once. A closed pipe is no error: what follows is dropped, see output_closed(). kFile:
// disk full, ...
Status print(std::string_view text);
Status print_json(const Json& json);
bool output_closed();

std::string format(const char* format, ...) __attribute__((format(printf, 1, 2)));
// What a terminal or a script may be shown as one line, whatever a file says: line ends and other control
// characters (C0, C1, delete) become blanks, bytes that are no UTF-8 question marks.
std::string one_line(std::string_view text);
std::string bytes_text(uint64_t bytes);  // "1.25 MiB"
// How far outputs are from the float model's, in the terms of what the model is for.
std::string distance_text(Family family, const GoldenCheck& check);

size_t peak_rss_bytes();

class Clock {
 public:
  double seconds() const { return std::chrono::duration<double>(Now::now() - start_).count(); }
  double ms() const { return seconds() * 1e3; }

 private:
  using Now = std::chrono::steady_clock;
  Now::time_point start_ = Now::now();
};

// Text that a model makes, on its way to a terminal: what the terminal would act on is left out, but line
// ends and tabs. Characters may come in pieces.
class TerminalText {
 public:
  std::string add(std::string_view text);  // what can be shown now

 private:
  std::string held_;  // the beginning of a character
};

// From now on Ctrl-C, SIGTERM and SIGHUP only set interrupted(); a second one ends the process as usual.
void catch_interrupts();
bool interrupted();

// One line on stderr while work is under way, if stderr is a terminal.
class Progress {
 public:
  explicit Progress(std::string label) : label_(std::move(label)) {}
  ~Progress() { clear(); }
  void update(uint64_t done, uint64_t total, const std::string& note = "");
  void clear();

 private:
  std::string label_;
  Clock clock_;
  double next_ = 0;  // seconds; drawn no more often than a few times a second
  bool shown_ = false;
};

}  // namespace lsrt::tool
