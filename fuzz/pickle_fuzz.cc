// A pickle alone, and the JSON tree that a checkpoint's metadata becomes.
#include "converter/source/pickle.h"
#include "converter/source/torch_state.h"
#include "fuzz/fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const lsrt::Bytes bytes{"fuzz", data, size};
  const auto pickle = lsrt::read_pickle(bytes, 0, size);
  if (!pickle.ok()) {
    lsrt_fuzz::require(pickle.status().code() == lsrt::Error::kCheckpoint, "a refusal is of the checkpoint");
    return 0;
  }
  lsrt_fuzz::require(pickle.value().end <= size, "a pickle ends in its file");
  lsrt_fuzz::require(pickle.value().root < pickle.value().values.size(), "its root is a value");
  const auto json = lsrt::pickle_to_json(bytes, pickle.value(), pickle.value().root);
  if (json.ok()) json.value().dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
  return 0;
}
