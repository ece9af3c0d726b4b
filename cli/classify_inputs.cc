#include "cli/classify_inputs.h"

#include <algorithm>
#include <charconv>
#include <filesystem>

#include "base/mapped_file.h"
#include "cli/options.h"
#include "image/image.h"

namespace lsrt::tool {
namespace {

namespace fs = std::filesystem;

bool is_separator(char c) { return c == ' ' || c == '\t' || c == '\n' || c == '\r' || c == ','; }

// Appends at most `most` numbers.
Status parse_numbers(const std::string& path, const MappedFile& file, size_t most,
                     std::vector<int32_t>* numbers) {
  const char* next = reinterpret_cast<const char*>(file.data());
  const char* const begin = next;
  const char* const end = begin + file.size();
  for (size_t n = 0; n < most; ++n) {
    next = std::find_if_not(next, end, is_separator);
    if (next == end) break;
    int32_t value = 0;
    const auto [after, error] = std::from_chars(next, end, value);
    if (error != std::errc() || (after != end && !is_separator(*after))) {
      return fail(Error::kFile, "%s: no token number at byte %td", path.c_str(), next - begin);
    }
    numbers->push_back(value);
    next = after;
  }
  return Status();
}

std::string lower(std::string text) {
  for (char& c : text) c = c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
  return text;
}

// Paths of the entries of a folder that are wanted, by name.
template <typename Wanted>
Result<std::vector<std::string>> list(const std::string& folder, const Wanted& wanted) {
  std::error_code error;
  std::vector<std::string> paths;
  for (fs::directory_iterator it(folder, error), end; !error && it != end; it.increment(error)) {
    if (wanted(it->path())) paths.push_back(it->path().string());
  }
  if (error) return fail(Error::kFile, "%s: cannot be listed: %s", folder.c_str(), error.message().c_str());
  std::sort(paths.begin(), paths.end());
  return paths;
}

Result<std::vector<std::string>> list_files(const std::string& folder,
                                            const std::vector<std::string>& endings) {
  return list(folder, [&](const fs::path& entry) {
    return std::find(endings.begin(), endings.end(), lower(entry.extension().string())) != endings.end();
  });
}

// As in a sentence: ".jpg, .jpeg or .png".
std::string alternatives(const std::vector<std::string>& endings) {
  std::string text = endings[0];
  for (size_t i = 1; i < endings.size(); ++i) text += (i + 1 < endings.size() ? ", " : " or ") + endings[i];
  return text;
}

}  // namespace

Result<InputReader> InputReader::create(const lsrt_model* model, bool tokens) {
  InputReader reader;
  reader.model_ = model;
  const bool images = std::string(lsrt_model_family(model)) == "vil";
  if (images && tokens) return fail(Error::kArgument, "--tokens: the model takes images");
  reader.numbers_ = tokens;
  reader.image_.struct_size = sizeof reader.image_;
  reader.sequence_.struct_size = sizeof reader.sequence_;
  LSRT_TRY(from_api(images ? lsrt_model_image_input(model, &reader.image_)
                           : lsrt_model_sequence_input(model, &reader.sequence_)));
  return reader;
}

std::vector<std::string> InputReader::endings() const {
  if (image_.size) return {".jpg", ".jpeg", ".png"};
  return {".txt"};
}

Status InputReader::add_document(const std::string& path, Input* input) const {
  LSRT_ASSIGN(const MappedFile file, MappedFile::open(path));
  const size_t before = input->tokens.size();
  if (numbers_) {
    LSRT_TRY(parse_numbers(path, file, sequence_.max_length, &input->tokens));
  } else {
    const size_t n = std::min<size_t>(file.size(), sequence_.max_length);
    input->tokens.resize(before + n);
    size_t count = 0;
    LSRT_TRY(from_api(lsrt_tokenize(model_, reinterpret_cast<const char*>(file.data()), n,
                                    input->tokens.data() + before, n, &count)));
  }
  input->lengths.push_back(input->tokens.size() - before);
  return input->lengths.back() ? Status() : fail(Error::kFile, "%s: has no tokens", path.c_str());
}

Result<Input> InputReader::read(const std::string* paths) const {
  Input input;
  if (image_.size) {
    LSRT_ASSIGN(const Image image, load_image(paths[0]));
    input.pixels = fit_image(image, image_.resize, image_.size).rgb;
    return input;
  }
  for (size_t i = 0; i < files(); ++i) LSRT_TRY(add_document(paths[i], &input));
  return input;
}

Result<std::vector<std::string>> expand_folders(const std::vector<std::string>& inputs,
                                                const std::vector<std::string>& endings) {
  std::vector<std::string> files;
  for (const std::string& input : inputs) {
    std::error_code error;
    if (!fs::is_directory(input, error)) {
      files.push_back(input);
      continue;
    }
    LSRT_ASSIGN(const std::vector<std::string> found, list_files(input, endings));
    if (found.empty()) {
      return fail(
          Error::kArgument,
          "%s: a folder without files that end in %s; one that holds a folder for each class is measured with "
          "--eval",
          input.c_str(), alternatives(endings).c_str());
    }
    files.insert(files.end(), found.begin(), found.end());
  }
  return files;
}

Result<std::vector<LabelledFile>> list_folders(const std::string& path,
                                               const std::vector<std::string>& endings, size_t classes) {
  const auto is_folder = [](const fs::path& entry) {
    std::error_code error;  // a link that leads nowhere is none
    return fs::is_directory(entry, error);
  };
  LSRT_ASSIGN(const std::vector<std::string> folders, list(path, is_folder));
  if (folders.size() > classes) {
    return fail(Error::kFile, "%s: has %zu folders, the model %zu classes", path.c_str(), folders.size(),
                classes);
  }
  std::vector<LabelledFile> files;
  for (size_t label = 0; label < folders.size(); ++label) {
    LSRT_ASSIGN(std::vector<std::string> names, list_files(folders[label], endings));
    for (std::string& name : names) files.push_back({std::move(name), label});
  }
  if (!files.empty()) return files;
  return fail(Error::kFile, "%s: has no folders with files that end in %s", path.c_str(),
              alternatives(endings).c_str());
}

}  // namespace lsrt::tool
