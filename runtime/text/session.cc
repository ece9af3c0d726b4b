#include "runtime/text/session.h"

#include <algorithm>

namespace lsrt {

Result<std::unique_ptr<Session>> Session::create(std::shared_ptr<Backend> backend,
                                                 const CausalOptions& options) {
  std::unique_ptr<Session> session(new Session);
  LSRT_ASSIGN(session->network_, CausalNetwork::create(std::move(backend), options));
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
    size_t rows = std::min(n - done, network_->extents().max_rows);
    if (block()) rows = std::min<size_t>(rows, block() - position_ % block());
    const bool last = done + rows == n;
    size_t scored = output == Output::kAll ? rows : (output == Output::kLast && last ? 1 : 0);
    LSRT_TRY(network_->step(position_, tokens + done, rows, scored, log_probabilities));
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
