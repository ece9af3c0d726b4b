// What the tests of the checkpoint readers share: files made of bytes, and files in pieces.
#pragma once

#include <doctest/doctest.h>

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "converter/source/tensor_source.h"
#include "tests/support/files.h"

namespace lsrt_test {

using namespace lsrt;

inline std::string reader_file(const std::string& name) { return data_path("readers/" + name); }

// A number as little-endian bytes.
inline std::string little(uint64_t value, int size) {
  std::string bytes;
  for (int i = 0; i < size; ++i, value >>= 8) bytes += static_cast<char>(value);
  return bytes;
}

inline bool contains(const std::string& text, const std::string& part) {
  return text.find(part) != text.npos;
}

// The message of a file that must be refused as a damaged checkpoint; names the file in every case.
inline std::string refusal(const std::string& path) {
  const auto source = TensorSource::open(path);
  if (source.ok()) return "(accepted)";
  CHECK(source.status().code() == Error::kCheckpoint);
  CHECK(contains(source.status().message(), path));
  return source.status().message();
}

using ZipEntries = std::vector<std::pair<std::string, std::string>>;

// A stored archive of the named contents.
inline std::string make_zip(const ZipEntries& entries) {
  std::string file, directory;
  for (const auto& [name, data] : entries) {
    const std::string sizes =
        little(0, 4) + little(data.size(), 4) + little(data.size(), 4) + little(name.size(), 2);
    const std::string offset = little(file.size(), 4);
    file += "PK\3\4" + little(20, 2) + little(0, 8) + sizes + little(0, 2) + name + data;
    directory +=
        "PK\1\2" + little(20, 2) + little(20, 2) + little(0, 8) + sizes + little(0, 12) + offset + name;
  }
  const std::string count = little(entries.size(), 2);
  return file + directory + "PK\5\6" + little(0, 4) + count + count + little(directory.size(), 4) +
         little(file.size(), 4) + little(0, 2);
}

}  // namespace lsrt_test
