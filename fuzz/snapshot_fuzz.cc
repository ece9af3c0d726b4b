// Saved streams, of small models with a state of each kind. An input is the bytes of a state and one byte
// behind them, which tells how it is loaded; of two bytes, the state of a stream that was fed so many tokens.
#include <vector>

#include "base/digest.h"
#include "fuzz/fuzz.h"
#include "runtime/text/session.h"
#include "runtime/text/snapshot.h"
#include "tests/support/files.h"
#include "tests/support/tiny_models.h"

using namespace lsrt;
using namespace lsrt_test;
using lsrt_fuzz::require;

namespace {

// The last byte. Of any state: its digest is made right, so that what it guards is reached; its model; it is
// loaded from a file. Of a state that is made here: another model, another memory, no sampler.
enum How : uint8_t {
  kReseal = 1,
  kModel = 2 + 4,
  kFile = 8,
  kOtherModel = 16,
  kOtherMemory = 32,
  kNoSampler = 64
};

constexpr size_t kModels = 4;

size_t model_of(uint8_t how) { return (how & kModel) / 2; }

const std::shared_ptr<const Model>& tiny(size_t kind) {
  static const auto make = [](ModelBytes bytes) {
    return Model::load_bytes(std::move(bytes), "tiny").take();
  };
  LmParameters mixture = tiny_lm_parameters();
  mixture.full = {false, true};
  static const std::shared_ptr<const Model> models[kModels] = {
      make(tiny_lm(Precision::kInt8)), make(tiny_byte_pairs()), make(tiny_dual()),
      make(tiny_model(plan_lm(mixture, WeightSource()), Precision::kInt8, {}, {}))};
  return models[kind];
}

struct Saver {  // what saves and loads
  std::unique_ptr<Session> session;
  Sampler sampler;
};

Saver make_stream(size_t kind, size_t max_rows, size_t memory = 0) {
  CausalOptions options;
  options.max_rows = max_rows, options.memory = memory;
  SamplerParams params;
  params.repeat_penalty = 1.5f, params.repeat_window = kMaxRepeatWindow;
  return {Session::create(Backend::create({}, tiny(kind)).take(), options).take(),
          Sampler::create(tiny(kind)->vocabulary, params).take()};
}

void reseal(uint8_t* state, size_t size) {
  const size_t body = size - sizeof(uint64_t);
  Digest digest;
  digest.update(state, body);
  const uint64_t value = digest.value();
  std::memcpy(state + body, &value, sizeof value);
}

std::vector<uint8_t> save(const Saver& stream, const Sampler* sampler) {
  std::vector<uint8_t> state(stream.session->snapshot_bytes(sampler));
  require(stream.session->save(sampler, state.data()).ok(), "a stream can be saved");
  return state;
}

std::vector<uint8_t> made_state(uint8_t tokens, uint8_t how) {
  const size_t kind = (model_of(how) + (how & kOtherModel ? 1 : 0)) % kModels;
  const bool has_memory = tiny(kind)->memory > 0;
  Saver stream = make_stream(kind, 0, how & kOtherMemory && has_memory ? 2 * tiny(kind)->memory : 0);
  for (int32_t n = tokens; n > 0; --n) {
    const int32_t token = 4 + n % 4;
    require(stream.session->feed(&token, 1, Session::Output::kNone, nullptr).ok(), "a token can be fed");
    stream.sampler.accept(token);
  }
  return save(stream, how & kNoSampler ? nullptr : &stream.sampler);
}

Status load(Saver& stream, const std::vector<uint8_t>& state, bool from_file) {
  if (!from_file) return stream.session->load(state.data(), state.size(), "fuzz", &stream.sampler);
  static const TemporaryFolder folder;
  const std::string path = folder / "state";
  write_file(path, {reinterpret_cast<const char*>(state.data()), state.size()});
  const Status status = stream.session->load_file(path, &stream.sampler);
  if (!status.ok()) return status;
  require(stream.session->save_file(path, &stream.sampler).ok(), "a stream can be saved to a file");
  const std::string saved = read_file(path);
  require(saved.size() == state.size() && std::memcmp(saved.data(), state.data(), saved.size()) == 0,
          "whose bytes are those that were loaded");
  return status;
}

}  // namespace

// Now and then a state that is right, of a stream of any length.
size_t LLVMFuzzerCustomMutator(uint8_t* data, size_t size, size_t most, unsigned seed) {
  if (size > sizeof(SnapshotHeader) && seed % 16) return LLVMFuzzerMutate(data, size, most);
  const auto how = static_cast<uint8_t>(kReseal | (seed / 1024 & (kModel | kFile)));
  const std::vector<uint8_t> state = made_state(seed / 16 % 64, how);
  if (state.size() >= most) return LLVMFuzzerMutate(data, size, most);
  std::memcpy(data, state.data(), state.size());
  data[state.size()] = how;
  return state.size() + 1;
}

int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  static Saver streams[kModels][2] = {{make_stream(0, 0), make_stream(0, 3)},
                                      {make_stream(1, 0), make_stream(1, 3)},
                                      {make_stream(2, 0), make_stream(2, 3)},
                                      {make_stream(3, 0), make_stream(3, 3)}};
  if (size == 0) return 0;
  const uint8_t how = data[size - 1];
  auto& [one, two] = streams[model_of(how)];
  std::vector<uint8_t> state(data, data + size - 1);
  if (size == 2) state = made_state(data[0], how);
  if (how & kReseal && state.size() > sizeof(uint64_t)) reseal(state.data(), state.size());
  const uint64_t before = one.session->position();
  if (!load(one, state, how & kFile).ok()) {
    require(one.session->position() == before, "a refused state changes nothing");
    return 0;
  }
  require(save(one, &one.sampler) == state, "saving gives the bytes that were loaded");
  require(load(two, state, false).ok(), "what one session loads another does");
  const int32_t tokens[] = {4, 5, 6, 7, 4, 8, 5};
  const size_t vocabulary = one.session->vocabulary();
  std::vector<float> from_one(vocabulary), from_two(vocabulary);
  require(one.session->feed(tokens, 7, Session::Output::kLast, from_one.data()).ok() &&
              two.session->feed(tokens, 7, Session::Output::kLast, from_two.data()).ok(),
          "a loaded stream goes on");
  require(std::memcmp(from_one.data(), from_two.data(), vocabulary * sizeof(float)) == 0,
          "and it does so in the same way everywhere");
  const auto token = one.sampler.sample(from_one.data());
  if (token.ok()) require(static_cast<size_t>(token.value()) < vocabulary, "a token is one");
  return 0;
}
