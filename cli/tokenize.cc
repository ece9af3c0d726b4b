// lsrt tokenize: the tokens of a text.
#include <memory>
#include <string>
#include <vector>

#include "base/text.h"
#include "cli/command.h"
#include "cli/options.h"
#include "cli/output.h"

namespace lsrt::tool {
namespace {

struct Options {
  EngineOptions engine;
  std::string text, file;
  CLI::Option* text_given = nullptr;
  bool json = false;
};

// As it can stand between quotes on a line: what is no plain text by its bytes.
std::string quoted(std::string_view text) {
  std::string shown;
  while (!text.empty()) {
    const std::string_view character = text.substr(0, std::max<size_t>(utf8_length(text), 1));
    if (character == "\"" || character == "\\") {
      shown += '\\', shown += character;
    } else if (is_plain_text(character)) {
      shown += character;
    } else {
      for (const char byte : character) shown += format("\\x%02x", static_cast<unsigned char>(byte));
    }
    text.remove_prefix(character.size());
  }
  return '"' + shown + '"';
}

Status show_tokens(const Options& options) {
  LSRT_ASSIGN(ModelHandle model, options.engine.load());
  LSRT_TRY(require_text(model.get(), options.engine.model));
  std::string text = options.text;
  if (!options.text_given->count()) {
    LSRT_ASSIGN(text,
                read_text(options.file.empty() || options.file == "-" ? nullptr : options.file.c_str()));
  }
  const char* source = options.text_given->count() ? "TEXT"
                       : options.file.empty()      ? "standard input"
                                                   : options.file.c_str();
  std::vector<int32_t> tokens;
  LSRT_TRY(tokenize_all(model.get(), text, source, &tokens));
  Json list = Json::array();
  for (const int32_t token : tokens) {
    size_t size = 0;
    const char* bytes = lsrt_token_text(model.get(), token, &size);
    if (!options.json) {
      LSRT_TRY(print(format("%d\t%s\n", token, quoted({bytes, size}).c_str())));
      continue;
    }
    list.push_back({{"id", token}, {"bytes", std::vector<uint8_t>(bytes, bytes + size)}});
  }
  return options.json ? print_json({{"text_bytes", text.size()}, {"tokens", std::move(list)}}) : Status();
}

}  // namespace

Command add_tokenize(CLI::App& tool) {
  auto options = std::make_shared<Options>();
  CLI::App* app = tool.add_subcommand("tokenize", "Show the tokens of a text: their ids and bytes");
  app->footer("The text is TEXT, else that of --file, else standard input. One token a line.");
  options->engine.add_model(app);
  options->text_given = app->add_option("TEXT", options->text, "Text");
  app->add_option("--file", options->file, "File with the text; -: standard input")
      ->excludes(options->text_given);
  app->add_flag("--json", options->json, "Print JSON: {text_bytes, tokens: [{id, bytes: [...]}, ...]}");
  return {app, [options] { return show_tokens(*options); }};
}

}  // namespace lsrt::tool
