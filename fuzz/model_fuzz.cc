// Model files: what loads is planned and, within bounds, run. An input is the file with one byte behind it,
// which tells how it is run; of at most eight bytes, the number of a complete model or the seed of a random
// one; of at most sixteen, the seed of damage to that model as well. Mutations are of the format: a new
// model, or numbers, extents, spans and tables changed; every other one is libFuzzer's own.
#include "fuzz/fuzz.h"
#include "kernels/dispatch.h"
#include "tests/support/bounded_run.h"
#include "tests/support/damage.h"
#include "tests/support/files.h"
#include "tests/support/random_model.h"
#include "tests/support/tiny_models.h"

using namespace lsrt;
using namespace lsrt_test;
using lsrt_fuzz::require;

namespace {

constexpr uint64_t kCompleteModels = 12;

// Of every family, with what random ones lack: a stored check, labels, byte pairs.
ModelBytes complete_model(uint64_t number) {
  const Precision precision = number % 2 == 0 ? Precision::kInt8 : Precision::kFloat32;
  const TinyOptions options{.force_defaults = number < kCompleteModels / 2, .golden = true};
  switch (number / 2 % 6) {
    case 0:
      return tiny_lm(precision, options);
    case 1:
      return tiny_encoder(precision, options);
    case 2:
      return tiny_vil(precision, options);
    case 3:
      return tiny_longformer(precision, options);
    case 4:
      return tiny_longnet(precision, options);
    default:
      return tiny_byte_pairs(tiny_vocabulary(), options);
  }
}

ModelBytes numbered_model(uint64_t number) {
  return number < kCompleteModels ? complete_model(number)
                                  : random_model(number, Extents::kTiny, Weights::kMixed);
}

void damage(uint64_t seed, ModelBytes* bytes) {
  const HeaderSites sites(*bytes);
  Random random(seed);
  Damage(sites, random, bytes).apply();
}

// A file loads as its bytes do. Where it is mapped the weights are not recounted, unless that is asked for.
void check_file(const ModelBytes& bytes, const Result<std::shared_ptr<const Model>>& loaded) {
  static const TemporaryFolder folder;
  const std::string path = folder / "m.lsrt";
  write_file(path, {reinterpret_cast<const char*>(bytes.data()), bytes.size()});
  const auto read = Model::load(path, Placement::kMemory), mapped = Model::load(path, Placement::kMapped);
  require(read.status().code() == loaded.status().code(), "a file is read as its bytes are");
  if (!mapped.ok()) return require(!loaded.ok(), "what is read can be mapped");
  require(mapped.value()->check_weights().ok() == loaded.ok(),
          "the weights of a mapped file can be recounted");
  for (const TensorView& tensor : mapped.value()->tensors()) mapped.value()->forget(tensor);
  if (!loaded.ok()) return;
  require(mapped.value()->fingerprint() == loaded.value()->fingerprint(), "a model has one fingerprint");
  require(mapped.value()->is_int8() == loaded.value()->is_int8(), "and one precision");
}

}  // namespace

size_t LLVMFuzzerCustomMutator(uint8_t* data, size_t size, size_t most, unsigned seed) {
  Random random(seed);
  if (random.chance(5)) {
    const Weights weights = random.pick({Weights::kInt8, Weights::kFloat32, Weights::kMixed});
    const ModelBytes model = random.chance(30) ? complete_model(random.next() % kCompleteModels)
                                               : random_model(random.next(), Extents::kTiny, weights);
    if (!model.empty() && model.size() < most) {
      std::memcpy(data, model.data(), model.size());
      data[model.size()] = static_cast<uint8_t>(random.next());
      return model.size() + 1;
    }
  }
  if (size < 8 || random.chance(30)) return LLVMFuzzerMutate(data, size, most);
  ModelBytes file(data, data + size - 1);
  flatbuffers::Verifier verifier(file.data(), file.size());
  if (!fb::VerifyModelBuffer(verifier)) return LLVMFuzzerMutate(data, size, most);
  const HeaderSites sites(file);
  if (sites.numbers.empty() || sites.spans.empty() || sites.references.empty() || sites.header_bytes < 8) {
    return LLVMFuzzerMutate(data, size, most);
  }
  Damage(sites, random, &file).apply();
  if (file.size() >= most) return LLVMFuzzerMutate(data, size, most);
  std::memcpy(data, file.data(), file.size());
  data[file.size()] = static_cast<uint8_t>(random.next());
  return file.size() + 1;
}

int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size == 0) return 0;
  const uint8_t how = data[size - 1];
  ModelBytes bytes(data, data + size - 1);
  if (size <= 2 * sizeof(uint64_t)) {
    lsrt_fuzz::Front front(data, size);
    bytes = numbered_model(front.take<uint64_t>());
    if (front.size() > 0) damage(front.take<uint64_t>(), &bytes);
  }
  const auto loaded = Model::load_bytes(bytes, "fuzz");
  check_file(bytes, loaded);
  if (!loaded.ok()) {
    require(loaded.status().message().find("fuzz") == 0, "a refusal names the file first");
    return 0;
  }
  const std::shared_ptr<const Model>& model = loaded.value();
  if (too_large(*model)) return 0;
  const Kernels* const* sets;
  const size_t count = available_kernels(&sets);
  RunOptions options;
  options.isa = sets[how % count]->isa;
  options.max_batch = how & 64 ? 5 : 0, options.splits = how & 128 ? how : 0;
  const Result<double> planned = planned_bytes(model, options);
  if (!planned.ok() || planned.value() > kMostBytes) return 0;
  Random random(how);
  Inputs in = random_inputs(*model, random, kMostWork);
  in.block = in.memory = 0;
  require(run_model(model, in, options).ok(), "what was planned runs");
  return 0;
}
