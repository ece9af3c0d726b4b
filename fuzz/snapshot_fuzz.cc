// Saved streams, of one small model. The last byte is odd: the digest is made right, so that what it guards
// is reached.
#include <vector>

#include "base/digest.h"
#include "fuzz/fuzz.h"
#include "runtime/text/session.h"
#include "runtime/text/snapshot.h"
#include "tests/support/tiny_models.h"

using namespace lsrt;
using namespace lsrt_test;

namespace {

struct Saver {  // what saves and loads
  std::unique_ptr<Session> session;
  Sampler sampler;
};

Saver make_stream(size_t max_rows) {
  static const auto model = Model::load_bytes(tiny_lm(Precision::kInt8), "tiny").take();
  CausalOptions options;
  options.max_rows = max_rows;
  SamplerParams params;
  params.repeat_penalty = 1.5f, params.repeat_window = kMaxRepeatWindow;
  return {Session::create(Backend::create({}, model).take(), options).take(),
          Sampler::create(model->vocabulary, params).take()};
}

void reseal(uint8_t* state, size_t size) {
  const size_t body = size - sizeof(uint64_t);
  Digest digest;
  digest.update(state, body);
  const uint64_t value = digest.value();
  std::memcpy(state + body, &value, sizeof value);
}

std::vector<uint8_t> save(Saver& stream) {
  std::vector<uint8_t> state(stream.session->snapshot_bytes(&stream.sampler));
  lsrt_fuzz::require(stream.session->save(&stream.sampler, state.data()).ok(), "a stream can be saved");
  return state;
}

}  // namespace

// Now and then a state that is right, of a stream of any length.
size_t LLVMFuzzerCustomMutator(uint8_t* data, size_t size, size_t most, unsigned seed) {
  if (size > sizeof(SnapshotHeader) && seed % 16) return LLVMFuzzerMutate(data, size, most);
  Saver stream = make_stream(0);
  for (unsigned n = seed / 16 % 64; n > 0; --n) {
    const int32_t token = 4 + static_cast<int32_t>(n % 4);
    lsrt_fuzz::require(stream.session->feed(&token, 1, Session::Output::kNone, nullptr).ok(),
                       "a token can be fed");
    stream.sampler.accept(token);
  }
  const std::vector<uint8_t> state = save(stream);
  if (state.size() >= most) return LLVMFuzzerMutate(data, size, most);
  std::memcpy(data, state.data(), state.size());
  data[state.size()] = 1;
  return state.size() + 1;
}

int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  static Saver one = make_stream(0), two = make_stream(3);
  if (size == 0) return 0;
  std::vector<uint8_t> state(data, data + size - 1);
  if (data[size - 1] % 2 && state.size() > sizeof(uint64_t)) reseal(state.data(), state.size());
  const uint64_t before = one.session->position();
  if (!one.session->load(state.data(), state.size(), "fuzz", &one.sampler).ok()) {
    lsrt_fuzz::require(one.session->position() == before, "a refused state changes nothing");
    return 0;
  }
  lsrt_fuzz::require(save(one) == state, "saving gives the bytes that were loaded");
  lsrt_fuzz::require(two.session->load(state.data(), state.size(), "fuzz", &two.sampler).ok(),
                     "what one session loads another does");
  const int32_t tokens[] = {4, 5, 6, 7, 4, 8, 5};
  float from_one[16], from_two[16];
  lsrt_fuzz::require(one.session->vocabulary() <= 16, "the small model is small");
  for (Saver* stream : {&one, &two}) {
    float* out = stream == &one ? from_one : from_two;
    lsrt_fuzz::require(stream->session->feed(tokens, 7, Session::Output::kLast, out).ok(),
                       "a loaded stream goes on");
  }
  lsrt_fuzz::require(std::memcmp(from_one, from_two, one.session->vocabulary() * sizeof(float)) == 0,
                     "and it does so in the same way everywhere");
  const auto token = one.sampler.sample(from_one);
  if (token.ok())
    lsrt_fuzz::require(static_cast<size_t>(token.value()) < one.session->vocabulary(), "a token is one");
  return 0;
}
