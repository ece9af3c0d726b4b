#include "runtime/session.h"

#include <algorithm>
#include <cmath>

namespace lsrt {

void log_softmax(float* logits, size_t n) {
  const float largest = *std::max_element(logits, logits + n);
  double sum = 0;
  for (size_t i = 0; i < n; ++i) sum += std::exp(static_cast<double>(logits[i]) - largest);
  const double shift = largest + std::log(sum);
  for (size_t i = 0; i < n; ++i) logits[i] = static_cast<float>(logits[i] - shift);
}

Result<std::unique_ptr<Session>> Session::create(std::shared_ptr<const Model> model,
                                                 std::shared_ptr<Backend> backend,
                                                 const CausalOptions& options) {
  std::unique_ptr<Session> session(new Session);
  session->model_ = model;
  LSRT_ASSIGN(session->network_, CausalNetwork::create(std::move(model), std::move(backend), options));
  return session;
}

Status Session::feed(const int32_t* tokens, size_t n, Output output, float* log_probabilities,
                     const Progress& progress) {
  for (size_t i = 0; i < n; ++i) {
    if (tokens[i] < 0 || static_cast<size_t>(tokens[i]) >= vocabulary()) {
      return fail(Error::kArgument, "token %zu is %d, the vocabulary has ids 0 to %zu", i, tokens[i],
                  vocabulary() - 1);
    }
  }
  for (size_t done = 0; done < n;) {
    if (progress && !progress(done))
      return fail(Error::kCancelled, "stopped after %zu of %zu tokens", done, n);
    const size_t left_in_block = block() - position_ % block();
    const size_t rows = std::min({n - done, left_in_block, network_->shape().max_rows});
    const bool last = done + rows == n;
    size_t scored = output == Output::kAll ? rows : (output == Output::kLast && last ? 1 : 0);
    LSRT_TRY(network_->step(position_, tokens + done, rows, scored, log_probabilities));
    for (size_t i = 0; i < scored; ++i) log_softmax(log_probabilities + i * vocabulary(), vocabulary());
    if (output == Output::kAll) log_probabilities += rows * vocabulary();
    position_ += rows;
    done += rows;
  }
  return Status();
}

void Session::reset() {
  network_->reset();
  position_ = 0;
}

}  // namespace lsrt
