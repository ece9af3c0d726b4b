#include "converter/report.h"

#include <nlohmann/json.hpp>

#include "base/atomic_file.h"
#include "base/text.h"

namespace lsrt {

std::string ConvertReport::json() const {
  nlohmann::ordered_json root;
  root["source"] = to_utf8(source);
  root["output"] = to_utf8(output);
  root["family"] = family_name(family);
  root["architecture"] = architecture;
  root["remarks"] = remarks;
  root["precision"] = precision == Precision::kInt8 ? "int8" : "float32";
  root["source_bytes"] = source_bytes;
  root["output_bytes"] = output_bytes;
  root["parameters"] = parameters;
  root["outputs"] = {{"rows", golden.rows},
                     {"max_difference", golden.max_difference},
                     {"relative_difference", golden.relative_difference},
                     {"mean_kl_divergence", golden.mean_kl},
                     {"same_top", golden.same_top}};
  root["tensors"] = nlohmann::ordered_json::array();
  for (const TensorReport& tensor : tensors) {
    nlohmann::ordered_json entry;
    entry["name"] = tensor.name;
    entry["type"] = tensor.type == DataType::kInt8 ? "int8" : "float32";
    entry["shape"] = tensor.shape;
    entry["bytes"] = tensor.bytes;
    if (tensor.type == DataType::kInt8) {
      entry["relative_rms_error"] = tensor.error.relative_rms;
      entry["max_abs_error"] = tensor.error.max_abs;
      entry["cosine"] = tensor.error.cosine;
      entry["snr_db"] = tensor.error.snr_db;
    }
    root["tensors"].push_back(std::move(entry));
  }
  return root.dump(1) + "\n";
}

Status write_report(const ConvertReport& report, const std::string& path) {
  const std::string text = report.json();
  LSRT_ASSIGN(AtomicFile file, AtomicFile::open(path));
  LSRT_TRY(file.write(text.data(), text.size()));
  return file.commit();
}

}  // namespace lsrt
