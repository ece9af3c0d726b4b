#include "converter/source/json_text.h"

#include <set>
#include <utility>
#include <vector>

#include "base/text.h"

namespace lsrt {
namespace {

using nlohmann::json;

// First pass over the text, which builds nothing and does not recurse.
class Guard : public json::json_sax_t {
 public:
  explicit Guard(const JsonLimits& limits) : limits_(limits) {}

  std::string& problem() { return problem_; }

  bool null() override { return value(); }
  bool boolean(bool) override { return value(); }
  bool number_integer(number_integer_t) override { return value(); }
  bool number_unsigned(number_unsigned_t) override { return value(); }
  bool number_float(number_float_t, const string_t&) override { return value(); }
  bool string(string_t&) override { return value(); }
  bool binary(binary_t&) override { return value(); }
  bool start_object(size_t) override {
    names_.emplace_back();
    return open();
  }
  bool start_array(size_t) override { return open(); }
  bool end_object() override {
    names_.pop_back();
    return close();
  }
  bool end_array() override { return close(); }
  bool key(string_t& name) override {
    if (names_.back().insert(name).second) return value();
    return stop("'" + printable(name) + "' appears twice");
  }
  bool parse_error(size_t position, const std::string&, const nlohmann::detail::exception&) override {
    return stop("it is not JSON at byte " + std::to_string(position));
  }

 private:
  bool stop(std::string problem) {
    problem_ = std::move(problem);
    return false;
  }
  bool value() {
    return ++values_ <= limits_.values || stop("it has over " + std::to_string(limits_.values) + " values");
  }
  bool open() {
    return (++depth_ <= limits_.depth ||
            stop("it is over " + std::to_string(limits_.depth) + " levels deep")) &&
           value();
  }
  bool close() {
    --depth_;
    return true;
  }

  const JsonLimits limits_;
  int depth_ = 0;
  size_t values_ = 0;
  std::vector<std::set<std::string>> names_;  // of the open objects
  std::string problem_;
};

}  // namespace

json parse_json(std::string_view text, const JsonLimits& limits, std::string* problem) {
  Guard guard(limits);
  if (json::sax_parse(text.begin(), text.end(), &guard)) {
    return json::parse(text.begin(), text.end(), nullptr, /*allow_exceptions=*/false);
  }
  *problem = std::move(guard.problem());
  return {};
}

}  // namespace lsrt
