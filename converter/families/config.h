// Hyper-parameters by the names of the authors' code, from a --config file and from the checkpoint's own
// metadata.
#pragma once

#include <cstdint>
#include <nlohmann/json.hpp>
#include <string>
#include <utility>
#include <vector>

#include "base/bytes.h"
#include "base/status.h"

namespace lsrt {

class Config {
 public:
  // JSON text of an object; a sub-object "config" is looked at first. Sources added earlier win.
  // Error::kArgument.
  Status add_text(const Bytes& file);
  // An object of a checkpoint's metadata; anything else is left out.
  void add(nlohmann::json object, const std::string& origin);

  bool has(const char* name) const { return find(name) != nullptr; }
  // As it stands there; null: absent, or null there. origin, unless null: where it was found.
  const nlohmann::json* find(const char* name, std::string* origin = nullptr) const;

  // Error::kCheckpoint, naming the value, where it was found and what was expected; missing values also name
  // the places looked at and --config.
  Result<uint32_t> count(const char* name, uint32_t low, uint32_t high) const;
  Result<uint32_t> count(const char* name, uint32_t low, uint32_t high, uint32_t otherwise) const;
  // A list of counts; empty: absent.
  Result<std::vector<uint32_t>> counts(const char* name, uint32_t low, uint32_t high) const;
  Result<int32_t> integer(const char* name, int32_t otherwise) const;
  Result<bool> boolean(const char* name) const;
  Result<bool> boolean(const char* name, bool otherwise) const;
  Result<double> number(const char* name, double otherwise) const;
  Result<std::string> text(const char* name, const std::string& otherwise) const;
  Result<std::vector<std::string>> texts(const char* name) const;  // empty: absent

 private:
  struct Source {
    nlohmann::json object;
    std::string origin;
  };

  Status missing(const char* name) const;
  Status wrong(const char* name, const char* expected) const;

  std::vector<Source> sources_;
};

}  // namespace lsrt
