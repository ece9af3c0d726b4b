// What commands print: text and JSON on stdout, progress on stderr; and the facts about the process that they
// report.
#pragma once

#include <chrono>
#include <cstdint>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>

#include "runtime/status.h"

namespace lsrt::tool {

using Json = nlohmann::ordered_json;

// Writes to stdout at once. A closed pipe is no error: what follows is dropped, see output_closed(). kFile:
// disk full, ...
Status print(std::string_view text);
Status print_json(const Json& json);
bool output_closed();

std::string format(const char* format, ...) __attribute__((format(printf, 1, 2)));
std::string one_line(std::string text);  // line ends and other control characters become blanks
std::string bytes_text(uint64_t bytes);  // "1.25 MiB"

size_t peak_rss_bytes();

class Clock {
 public:
  double seconds() const { return std::chrono::duration<double>(Now::now() - start_).count(); }
  double ms() const { return seconds() * 1e3; }

 private:
  using Now = std::chrono::steady_clock;
  Now::time_point start_ = Now::now();
};

// From now on Ctrl-C only sets interrupted(); a second one ends the process as usual.
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
