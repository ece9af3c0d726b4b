#include "cli/options.h"

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <filesystem>

#include "cli/output.h"
#include "kernels/dispatch.h"
#include "runtime/api/handles.h"

namespace lsrt::tool {
namespace {

lsrt_session_params session_params(const StreamOptions& stream, uint32_t threads) {
  lsrt_session_params params = lsrt_session_default_params();
  params.threads = threads;
  params.block = stream.block;
  params.memory = stream.memory;
  return params;
}

}  // namespace

Status from_api(lsrt_status status) {
  return status == LSRT_OK ? Status() : Status(static_cast<Error>(status), lsrt_last_error());
}

void EngineOptions::add_model(CLI::App* app) {
  app->add_option("MODEL", model, "Model file made by lsrt convert")->required();
}

void EngineOptions::add(CLI::App* app) {
  app->add_option(
         "--threads", threads,
         "Threads; results do not depend on them. 0: as many as pay, one for every 2^18 multiply-adds of a\n"
         "mean block (of a token, an image, the longest document), at most this process's physical cores.\n"
         "More than free cores is much slower")
      ->check(CLI::Range(0, 1024))
      ->capture_default_str();
  app->add_option("--backend", backend, std::string("Device: ") + Backend::names())->capture_default_str();
  app->add_option("--isa", isa,
                  "Kernel set, of this machine's " + std::string(available_kernel_names()) +
                      "; default: LSRT_ISA or the best");
  app->add_flag(
      "--map", map,
      "Map the model file instead of reading it into huge pages: processes share it, decoding is slower");
}

Result<ModelHandle> EngineOptions::load() const {
  lsrt_model_params params = lsrt_model_default_params();
  params.backend = backend.c_str();
  params.map = map;
  if (!isa.empty()) params.isa = isa.c_str();
  lsrt_model* handle = nullptr;
  LSRT_TRY(from_api(lsrt_model_load(model.c_str(), &params, &handle)));
  return ModelHandle(handle);
}

void StreamOptions::add(CLI::App* app) {
  app->add_option("--block", block,
                  "Tokens of a block; 0: as stored in the model. A multiple of its chunk length");
  app->add_option("--memory", memory,
                  "Tokens of the past that are seen as summaries; 0: as stored in the model");
}

Result<SessionHandle> StreamOptions::create(const lsrt_model* model, uint32_t threads) const {
  const lsrt_session_params params = session_params(*this, threads);
  lsrt_session* handle = nullptr;
  LSRT_TRY(from_api(lsrt_session_create(model, &params, &handle)));
  return SessionHandle(handle);
}

Result<lsrt_session_memory> plan_session(const lsrt_model* model, const StreamOptions& stream,
                                         uint32_t threads) {
  const lsrt_session_params params = session_params(stream, threads);
  lsrt_session_memory memory = {};
  memory.struct_size = sizeof memory;
  LSRT_TRY(from_api(lsrt_session_plan(model, &params, &memory)));
  return memory;
}

CLI::Validator whole_number() {
  return CLI::Validator(
      [](std::string& text) {
        const bool digits = !text.empty() && text.find_first_not_of("0123456789") == std::string::npos;
        return digits ? std::string() : text + " is not a whole number from 0 on";
      },
      "NONNEGATIVE");
}

Status keep(const std::string& input, const std::string& output) {
  namespace fs = std::filesystem;
  std::error_code missing;
  const fs::path folder = fs::path(output).parent_path();
  const bool in_folder = fs::is_directory(input, missing) && fs::exists(output, missing) &&
                         fs::equivalent(input, folder.empty() ? "." : folder, missing) &&
                         fs::path(output).extension() != ".lsrt";
  if (!in_folder && !fs::equivalent(input, output, missing)) return {};
  return fail(Error::kArgument, "%s: is read, and would be overwritten: give the output another name",
              output.c_str());
}

Result<TextFile> TextFile::open(const char* path) {
  TextFile file;
  if (path == nullptr) return file;
  file.name_ = path;
  file.opened_.reset(std::fopen(path, "rb"));
  if (file.opened_) return file;
  return fail(Error::kFile, "%s: cannot open: %s", path, std::strerror(errno));
}

Result<bool> TextFile::read(uint64_t limit, std::string* text) {
  FILE* file = opened_ ? opened_.get() : stdin;
  size_t got = 1;
  while (got > 0 && limit > 0 && !interrupted()) {
    char piece[1 << 16];
    got = std::fread(piece, 1, std::min<uint64_t>(sizeof piece, limit), file);
    text->append(piece, got);
    limit -= got;
  }
  if (!std::ferror(file)) return got > 0 && !interrupted();
  return fail(Error::kFile, "%s: cannot read: %s", name_.c_str(), std::strerror(errno));
}

Result<std::string> read_text(const char* path) {
  std::string text;
  LSRT_ASSIGN(TextFile file, TextFile::open(path));
  LSRT_TRY(file.read(UINT64_MAX, &text).status());
  return text;
}

size_t tokenize(const lsrt_model* model, std::string_view text, std::vector<int32_t>* tokens) {
  tokens->clear();
  return model->loaded->encode(text, [&](int32_t token) { tokens->push_back(token); });
}

Status tokenize_all(const lsrt_model* model, std::string_view text, const std::string& source,
                    std::vector<int32_t>* tokens) {
  const size_t taken = tokenize(model, text, tokens);
  if (taken == text.size()) return {};
  return fail(Error::kFile, "%s: %s; replace such characters, for example accented letters and curly quotes",
              source.c_str(), LoadedModel::unknown_byte(text, taken).message().c_str());
}

Status require_text(const lsrt_model* model, const std::string& path) {
  if (lsrt_model_vocabulary(model) == 0) {
    return fail(Error::kArgument, "%s: is of family '%s', which writes no text: a language model is needed",
                path.c_str(), lsrt_model_family(model));
  }
  for (size_t id = 0; id < lsrt_model_vocabulary(model); ++id) {
    size_t size = 0;
    lsrt_token_text(model, static_cast<int32_t>(id), &size);
    if (size > 0) return {};
  }
  return fail(Error::kModel, "%s: the model has no text: its checkpoint came without a tokenizer",
              path.c_str());
}

}  // namespace lsrt::tool
