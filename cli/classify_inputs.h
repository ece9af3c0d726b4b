// Files to what a classifier takes.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "base/status.h"
#include "runtime/lsrt.h"

namespace lsrt::tool {

// Of one result.
struct Input {
  std::vector<uint8_t> pixels;  // an image, or
  std::vector<int32_t> tokens;  // a document, or the two of a pair one after another
  std::vector<size_t> lengths;  // of the documents; empty for images
};

class InputReader {
 public:
  // The model must outlive the reader. tokens: documents are files of numbers. Errors: kArgument (not a
  // classifier, tokens for images).
  static Result<InputReader> create(const lsrt_model* model, bool tokens);

  size_t files() const { return sequence_.pair ? 2 : 1; }  // of one input
  std::vector<std::string> endings() const;                // of the names of files that may be inputs
  Result<Input> read(const std::string* files) const;      // files[files()]. Error::kFile: naming the file

 private:
  Status add_document(const std::string& path, Input* input) const;

  const lsrt_model* model_ = nullptr;
  lsrt_image_input image_ = {};
  lsrt_sequence_input sequence_ = {};
  bool numbers_ = false;
};

// Inputs with each folder replaced by the files in it that have one of the endings (in any case), by name.
// Error::kArgument: a folder has none; kFile: it cannot be read.
Result<std::vector<std::string>> expand_folders(const std::vector<std::string>& inputs,
                                                const std::vector<std::string>& endings);

struct LabelledFile {
  std::string path;
  size_t label;
};

// Files with one of the endings (in any case) in the folders of a folder, in order; labels count the folders
// by sorted name. Error::kFile: cannot be read, no such file, more folders than classes.
Result<std::vector<LabelledFile>> list_folders(const std::string& path,
                                               const std::vector<std::string>& endings, size_t classes);

}  // namespace lsrt::tool
