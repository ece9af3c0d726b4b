// Options that several commands have, and the library's handles made from them.
#pragma once

#include <CLI/CLI.hpp>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/status.h"
#include "runtime/lsrt.h"
#include "runtime/model/model.h"

namespace lsrt::tool {

struct Free {
  void operator()(lsrt_model* p) const { lsrt_model_free(p); }
  void operator()(lsrt_session* p) const { lsrt_session_free(p); }
  void operator()(lsrt_sampler* p) const { lsrt_sampler_free(p); }
  void operator()(lsrt_classifier* p) const { lsrt_classifier_free(p); }
};
using ModelHandle = std::unique_ptr<lsrt_model, Free>;
using SessionHandle = std::unique_ptr<lsrt_session, Free>;
using SamplerHandle = std::unique_ptr<lsrt_sampler, Free>;
using ClassifierHandle = std::unique_ptr<lsrt_classifier, Free>;

// A status of the C API with its text.
Status from_api(lsrt_status status);

struct EngineOptions {
  std::string model;
  std::string backend = "cpu";
  std::string isa;
  uint32_t threads = 0;  // 0: as many as pay for the model
  bool map = false;

  void add_model(CLI::App* app);  // the positional MODEL
  void add(CLI::App* app);        // --threads, --backend, --isa, --map

  Placement placement() const { return map ? Placement::kMapped : Placement::kMemory; }
  Result<ModelHandle> load() const;
  uint32_t threads_for(const lsrt_model* model) const {
    return threads ? threads : lsrt_model_threads(model);
  }
};

// Of language models.
struct StreamOptions {
  uint32_t block = 0, memory = 0;

  void add(CLI::App* app);
  Result<SessionHandle> create(const lsrt_model* model, uint32_t threads) const;
};

// state_bytes of a session with these options.
Result<lsrt_session_memory> plan_session(const lsrt_model* model, const StreamOptions& stream,
                                         uint32_t threads);

// Of options that count something: what their errors say is short, unlike that of CLI::NonNegativeNumber.
CLI::Validator whole_number();

// kArgument where an output would take the place of the input that it is made of; of a folder, of any file in
// it but a model.
Status keep(const std::string& input, const std::string& output);

// A file, or standard input (nullptr), in pieces. Errors: kFile.
class TextFile {
 public:
  static Result<TextFile> open(const char* path);
  // Appends the next bytes, at most `limit`. Whether there may be more.
  Result<bool> read(uint64_t limit, std::string* text);

 private:
  struct Close {
    void operator()(FILE* f) const { std::fclose(f); }
  };
  std::unique_ptr<FILE, Close> opened_;
  std::string name_ = "standard input";
};
Result<std::string> read_text(const char* path);  // all of it

// The tokens of a text. Returns the bytes that they stand for: all, or those before the first that no token
// stands for.
size_t tokenize(const lsrt_model* model, std::string_view text, std::vector<int32_t>* tokens);
// The same where that is an error (kFile), which names the source of the text.
Status tokenize_all(const lsrt_model* model, std::string_view text, const std::string& source,
                    std::vector<int32_t>* tokens);

// That the model is a language model (kArgument) and any of its tokens has text (kModel).
Status require_text(const lsrt_model* model, const std::string& path);

}  // namespace lsrt::tool
