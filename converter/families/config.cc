#include "converter/families/config.h"

#include <cmath>
#include <utility>

#include "base/text.h"
#include "converter/source/json_text.h"

namespace lsrt {
namespace {

// An integer that JSON may hold as 1, 1.0 or true; false if it is none or does not fit.
bool as_integer(const nlohmann::json& value, int64_t* out) {
  if (value.is_boolean()) {
    *out = value.get<bool>() ? 1 : 0;
    return true;
  }
  if (!value.is_number()) return false;
  const double number = value.get<double>();
  if (!(std::abs(number) < 4e9) || number != std::floor(number)) return false;
  *out = static_cast<int64_t>(number);
  return true;
}

}  // namespace

Status Config::add_text(const Bytes& file) {
  constexpr JsonLimits kLimits{32, 1u << 20};
  std::string problem;
  nlohmann::json object = parse_json(file.text(), kLimits, &problem);
  if (problem.empty() && !object.is_object()) problem = "it is not an object";
  if (!problem.empty()) {
    return fail(Error::kCheckpoint, "%s: is not a JSON object of hyper-parameters: %s", file.name.c_str(),
                problem.c_str());
  }
  const auto config = object.find("config");
  if (config != object.end()) add(std::move(*config), file.name);
  add(std::move(object), file.name);
  return {};
}

void Config::add(nlohmann::json object, const std::string& origin) {
  if (object.is_object()) sources_.push_back({std::move(object), origin});
}

const nlohmann::json* Config::find(const char* name, std::string* origin) const {
  for (const Source& source : sources_) {
    const auto found = source.object.find(name);
    if (found == source.object.end() || found->is_null()) continue;
    if (origin != nullptr) *origin = source.origin;
    return &*found;
  }
  return nullptr;
}

Status Config::missing(const char* name) const {
  std::string places;
  for (const Source& source : sources_) {
    if (places.find(source.origin) == std::string::npos)
      places += (places.empty() ? "" : ", ") + source.origin;
  }
  return fail(Error::kCheckpoint,
              "hyper-parameter %s is not known (looked at: %s); give it with --config FILE.json", name,
              places.empty() ? "nothing, the checkpoint has none" : places.c_str());
}

Status Config::wrong(const char* name, const char* expected) const {
  std::string origin;
  const nlohmann::json* value = find(name, &origin);
  return fail(Error::kCheckpoint, "%s: hyper-parameter %s is %s, expected %s", origin.c_str(), name,
              printable(value->dump(-1, ' ', false, nlohmann::json::error_handler_t::replace)).c_str(),
              expected);
}

Result<uint32_t> Config::count(const char* name, uint32_t low, uint32_t high) const {
  if (!has(name)) return missing(name);
  int64_t value = 0;
  if (!as_integer(*find(name), &value) || value < low || value > high) {
    return wrong(name, ("an integer in " + std::to_string(low) + " .. " + std::to_string(high)).c_str());
  }
  return static_cast<uint32_t>(value);
}

Result<uint32_t> Config::count(const char* name, uint32_t low, uint32_t high, uint32_t otherwise) const {
  return has(name) ? count(name, low, high) : otherwise;
}

Result<std::vector<uint32_t>> Config::counts(const char* name, uint32_t low, uint32_t high) const {
  std::vector<uint32_t> all;
  if (!has(name)) return all;
  const std::string expected = "a list of integers in " + std::to_string(low) + " .. " + std::to_string(high);
  if (!find(name)->is_array() || find(name)->empty()) return wrong(name, expected.c_str());
  for (const auto& element : *find(name)) {
    int64_t value = 0;
    if (!as_integer(element, &value) || value < low || value > high) return wrong(name, expected.c_str());
    all.push_back(static_cast<uint32_t>(value));
  }
  return all;
}

Result<int32_t> Config::integer(const char* name, int32_t otherwise) const {
  if (!has(name)) return otherwise;
  int64_t value = 0;
  if (!as_integer(*find(name), &value) || value < INT32_MIN || value > INT32_MAX) {
    return wrong(name, "an integer");
  }
  return static_cast<int32_t>(value);
}

Result<bool> Config::boolean(const char* name) const {
  if (!has(name)) return missing(name);
  int64_t value = 0;
  if (!as_integer(*find(name), &value) || (value != 0 && value != 1)) return wrong(name, "true or false");
  return value == 1;
}

Result<bool> Config::boolean(const char* name, bool otherwise) const {
  return has(name) ? boolean(name) : otherwise;
}

Result<double> Config::number(const char* name, double otherwise) const {
  if (!has(name)) return otherwise;
  if (!find(name)->is_number()) return wrong(name, "a number");
  return find(name)->get<double>();
}

Result<std::string> Config::text(const char* name, const std::string& otherwise) const {
  if (!has(name)) return otherwise;
  if (!find(name)->is_string()) return wrong(name, "a text");
  return find(name)->get<std::string>();
}

Result<std::vector<std::string>> Config::texts(const char* name) const {
  std::vector<std::string> all;
  if (!has(name)) return all;
  if (!find(name)->is_array()) return wrong(name, "a list of texts");
  for (const auto& value : *find(name)) {
    if (!value.is_string()) return wrong(name, "a list of texts");
    all.push_back(value.get<std::string>());
  }
  return all;
}

}  // namespace lsrt
