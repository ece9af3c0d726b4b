#include "runtime/text/sampler.h"

#include <algorithm>
#include <cmath>

#include "base/exact_math.h"
#include "base/token_weights.h"

namespace lsrt {
namespace {

// Spreads a seed over the generator's state (Steele, Lea and Flood 2014).
uint64_t splitmix64(uint64_t* state) {
  uint64_t z = (*state += 0x9E3779B97F4A7C15);
  z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9;
  z = (z ^ (z >> 27)) * 0x94D049BB133111EB;
  return z ^ (z >> 31);
}

uint64_t rotate_left(uint64_t x, int k) { return (x << k) | (x >> (64 - k)); }

// xoshiro256** (Blackman and Vigna 2018).
uint64_t next_random(uint64_t s[4]) {
  const uint64_t result = rotate_left(s[1] * 5, 7) * 9, t = s[1] << 17;
  s[2] ^= s[0];
  s[3] ^= s[1];
  s[1] ^= s[2];
  s[0] ^= s[3];
  s[2] ^= t;
  s[3] = rotate_left(s[3], 45);
  return result;
}

Status check_params(const SamplerParams& p) {
  // Written so that NaN is refused, too.
  if (!(p.temperature >= 0 && std::isfinite(p.temperature))) {
    return fail(Error::kArgument, "temperature is %g, must be 0 or more", p.temperature);
  }
  if (!(p.top_p > 0 && p.top_p <= 1))
    return fail(Error::kArgument, "top_p is %g, must be above 0, at most 1", p.top_p);
  if (!(p.min_p >= 0 && p.min_p <= 1)) return fail(Error::kArgument, "min_p is %g, must be 0 to 1", p.min_p);
  if (!(p.repeat_penalty > 0 && std::isfinite(p.repeat_penalty))) {
    return fail(Error::kArgument, "repeat_penalty is %g, must be above 0", p.repeat_penalty);
  }
  if (p.repeat_window > kMaxRepeatWindow) {
    return fail(Error::kArgument, "repeat_window is %u, must be at most %u", p.repeat_window,
                kMaxRepeatWindow);
  }
  return Status();
}

}  // namespace

Result<Sampler> Sampler::create(const std::vector<std::string>& vocabulary, const SamplerParams& params) {
  LSRT_TRY(check_params(params));
  Sampler sampler;
  sampler.params_ = params;
  for (size_t id = 0; id < vocabulary.size(); ++id) {
    if (!vocabulary[id].empty()) sampler.with_text_.push_back(static_cast<int32_t>(id));
  }
  if (sampler.with_text_.empty())
    return fail(Error::kArgument, "the model has no tokens with text to choose from");
  sampler.candidates_.reserve(sampler.with_text_.size());
  sampler.exponentials_.reserve(sampler.with_text_.size());
  sampler.repeated_.resize(vocabulary.size());
  sampler.state_.recent.reserve(params.repeat_window);
  sampler.penalized_.reserve(std::min<size_t>(params.repeat_window, vocabulary.size()));
  sampler.logprobs_.resize(vocabulary.size());
  uint64_t seed = params.seed;
  for (uint64_t& word : sampler.state_.random) word = splitmix64(&seed);
  return sampler;
}

void Sampler::accept(int32_t token) {
  if (token < 0 || static_cast<size_t>(token) >= repeated_.size()) return;
  state_.last = token;
  if (params_.repeat_window == 0) return;
  if (state_.recent.size() == params_.repeat_window) state_.recent.erase(state_.recent.begin());
  state_.recent.push_back(token);
}

Status Sampler::check(const SamplerState& state) const {
  const auto known = [&](int32_t id) { return id >= 0 && static_cast<size_t>(id) < repeated_.size(); };
  if (std::all_of(std::begin(state.random), std::end(state.random),
                  [](uint64_t word) { return word == 0; })) {
    return fail(Error::kArgument, "a sampler's random state cannot be all zero");
  }
  if (state.last != -1 && !known(state.last)) {
    return fail(Error::kArgument, "the sampler's last token is %d, the vocabulary has ids 0 to %zu",
                state.last, repeated_.size() - 1);
  }
  for (const int32_t id : state.recent) {
    if (!known(id)) {
      return fail(Error::kArgument, "a recent token of the sampler is %d, the vocabulary has ids 0 to %zu",
                  id, repeated_.size() - 1);
    }
  }
  return {};
}

Status Sampler::restore(const SamplerState& state) {
  LSRT_TRY(check(state));
  state_.last = state.last;
  std::copy(std::begin(state.random), std::end(state.random), state_.random);
  const size_t n = std::min<size_t>(state.recent.size(), params_.repeat_window);
  state_.recent.assign(state.recent.end() - static_cast<std::ptrdiff_t>(n), state.recent.end());
  return {};
}

const std::vector<int32_t>& Sampler::penalized() {
  penalized_.clear();
  if (params_.repeat_penalty == 1) return penalized_;
  for (int32_t id : state_.recent) {
    if (!repeated_[id]) penalized_.push_back(id);
    repeated_[id] = true;
  }
  for (int32_t id : penalized_) repeated_[id] = false;
  return penalized_;
}

// Logarithms of probabilities are never positive, so multiplying makes them smaller.
void Sampler::penalize() {
  for (int32_t id : penalized()) repeated_[id] = true;
  for (Candidate& c : candidates_) {
    if (repeated_[c.id]) c.score *= params_.repeat_penalty;
  }
  for (int32_t id : penalized_) repeated_[id] = false;
}

// Weights of the candidates from their scores.
void Sampler::weigh() {
  double best = candidates_[0].score;
  for (const Candidate& c : candidates_) best = std::max(best, c.score);
  exponentials_.clear();
  for (const Candidate& c : candidates_) exponentials_.push_back((c.score - best) / params_.temperature);
  exact_exp(exponentials_.data(), exponentials_.size());
  size_t i = 0;
  for (Candidate& c : candidates_) {
    c.weight = weight_of(exponentials_[i++]);
  }
}

// Candidate i in order of probability, then of id.
const Sampler::Candidate& Sampler::ranked(size_t i) {
  if (i >= ranked_) {  // as many again, at least
    const auto better = [](const Candidate& a, const Candidate& b) {
      return a.score > b.score || (a.score == b.score && a.id < b.id);
    };
    const auto from = candidates_.begin() + static_cast<std::ptrdiff_t>(ranked_);
    ranked_ = std::min(candidates_.size(), std::max<size_t>({64, 2 * ranked_, i + 1}));
    const auto to = candidates_.begin() + static_cast<std::ptrdiff_t>(ranked_);
    if (to != candidates_.end()) std::nth_element(from, to, candidates_.end(), better);
    std::sort(from, to, better);
  }
  return candidates_[i];
}

// How many of the best candidates may be chosen by top-p and min-p. Both compare integers.
size_t Sampler::cut() {
  size_t n = candidates_.size();
  if (params_.top_p < 1) {
    const uint64_t enough = enough_weight(params_.top_p, total_weight(n));
    uint64_t sum = 0;
    size_t kept = 0;
    while (sum < enough) sum += ranked(kept++).weight;
    n = kept;
  }
  if (params_.min_p > 0) {
    const uint64_t least = least_weight(params_.min_p);
    size_t kept = 1;
    while (kept < n && ranked(kept).weight >= least) ++kept;
    n = kept;
  }
  return n;
}

int32_t Sampler::draw(double uniform) {
  if (params_.top_k && params_.top_k < candidates_.size()) {
    ranked(params_.top_k - 1);
    candidates_.resize(params_.top_k);
    ranked_ = params_.top_k;
  }
  weigh();
  uint64_t left = drawn_weight(uniform, total_weight(cut()));
  size_t i = 0;
  while (left >= ranked(i).weight) left -= ranked(i++).weight;
  return ranked(i).id;
}

uint64_t Sampler::total_weight(size_t n) const {
  uint64_t sum = 0;
  for (size_t i = 0; i < n; ++i) sum += candidates_[i].weight;
  return sum;
}

Draw Sampler::next_draw() const {
  uint64_t random[4];
  std::copy(std::begin(state_.random), std::end(state_.random), random);
  const double uniform = static_cast<double>(next_random(random) >> 11) * 0x1p-53;
  return {params_.temperature, params_.top_k,          params_.top_p,
          params_.min_p,       params_.repeat_penalty, uniform};
}

Result<int32_t> Sampler::accept_choice(int32_t token) {
  if (token < 0) return fail(Error::kArgument, "none of the log-probabilities is a number");
  if (params_.temperature > 0) next_random(state_.random);
  accept(token);
  return token;
}

Result<int32_t> Sampler::sample(const float* logprobs) {
  candidates_.clear(), ranked_ = 0;
  for (int32_t id : with_text_) {
    if (std::isfinite(logprobs[id])) candidates_.push_back({logprobs[id], 0, id});
  }
  if (candidates_.empty()) return accept_choice(-1);
  penalize();
  int32_t chosen = candidates_[0].id;
  if (params_.temperature == 0) {
    double best = candidates_[0].score;
    for (const Candidate& c : candidates_) {
      if (c.score > best) best = c.score, chosen = c.id;
    }
  } else {
    chosen = draw(next_draw().uniform);
  }
  return accept_choice(chosen);
}

}  // namespace lsrt
