#include "runtime/text/session.h"

#include <algorithm>

#include "runtime/text/sampler.h"

namespace lsrt {

Result<std::unique_ptr<Session>> Session::create(std::shared_ptr<Backend> backend,
                                                 const CausalOptions& options) {
  std::unique_ptr<Session> session(new Session);
  LSRT_ASSIGN(session->network_, CausalNetwork::create(std::move(backend), options));
  return session;
}

Status Session::feed_pieces(const int32_t* tokens, size_t n, const Progress& progress,
                            FunctionRef<Status(size_t done, size_t rows)> step) {
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
    LSRT_TRY(step(done, rows));
    position_ += rows;
    done += rows;
  }
  return Status();
}

Status Session::feed(const int32_t* tokens, size_t n, Output output, float* log_probabilities,
                     const Progress& progress) {
  return feed_pieces(tokens, n, progress, [&](size_t done, size_t rows) -> Status {
    const bool last = done + rows == n;
    const size_t scored = output == Output::kAll ? rows : (output == Output::kLast && last ? 1 : 0);
    LSRT_TRY(network_->step(position_, tokens + done, rows, scored, log_probabilities));
    if (output == Output::kAll) log_probabilities += rows * vocabulary();
    return {};
  });
}

Result<int32_t> Session::next(const int32_t* tokens, size_t n, Sampler* sampler, const Progress& progress) {
  if (n == 0) return fail(Error::kArgument, "no tokens, so there is no last one to predict from");
  if (!network_->chooses()) {
    LSRT_TRY(feed(tokens, n, Output::kLast, sampler->logprobs(), progress));
    return sampler->sample(sampler->logprobs());
  }
  int32_t token = -1;
  LSRT_TRY(feed_pieces(tokens, n, progress, [&](size_t done, size_t rows) -> Status {
    if (done + rows < n) return network_->step(position_, tokens + done, rows, 0, nullptr);
    LSRT_ASSIGN(token, network_->step_and_choose(position_, tokens + done, rows, sampler->next_draw(),
                                                 sampler->penalized()));
    return {};
  }));
  return sampler->accept_choice(token);
}

void Session::reset() {
  network_->reset();
  position_ = 0;
}

}  // namespace lsrt
