#include "cli/classifier_crew.h"

#include <algorithm>
#include <cmath>
#include <condition_variable>
#include <exception>
#include <map>
#include <mutex>
#include <thread>

#include "cli/output.h"

namespace lsrt::tool {
namespace {

constexpr size_t kAhead = 32;  // results of a classifier that may wait for an earlier input

using Logits = Result<std::vector<float>>;

// What the threads of one run share: which input is next, and the results that are not handed over yet.
class Queue {
 public:
  Queue(size_t count, size_t ahead, const ClassifierCrew::Done& done)
      : count_(count), ahead_(ahead), done_(done) {}

  // The next input to work on; count: no more.
  size_t next() {
    std::unique_lock<std::mutex> lock(mutex_);
    moved_.wait(lock, [&] { return stopped() || next_ - delivered_ < ahead_; });
    return stopped() ? count_ : std::min(next_++, count_);
  }

  // Hands over all results that are in order now.
  void add(size_t i, Logits logits) {
    const std::lock_guard<std::mutex> lock(mutex_);
    waiting_.emplace(i, std::move(logits));
    for (auto first = waiting_.begin();
         first != waiting_.end() && first->first == delivered_ && status_.ok();) {
      status_ = done_(delivered_++, first->second);
      first = waiting_.erase(first);
    }
    moved_.notify_all();
  }

  void stop(Status status) {
    const std::lock_guard<std::mutex> lock(mutex_);
    if (status_.ok()) status_ = std::move(status);
    moved_.notify_all();
  }

  Status status() const { return status_; }

 private:
  bool stopped() const { return !status_.ok() || interrupted(); }

  const size_t count_, ahead_;
  const ClassifierCrew::Done& done_;
  std::mutex mutex_;
  std::condition_variable moved_;  // delivered_ or status_
  size_t next_ = 0, delivered_ = 0;
  std::map<size_t, Logits> waiting_;
  Status status_;
};

Logits classify(lsrt_classifier* classifier, size_t classes, const Input& input, double* ms) {
  std::vector<float> logits(classes);
  const Clock clock;
  LSRT_TRY(from_api(input.lengths.empty()
                        ? lsrt_classify_images(classifier, input.pixels.data(), 1, logits.data())
                        : lsrt_classify_sequences(classifier, input.tokens.data(), input.lengths.data(), 1,
                                                  logits.data())));
  *ms += clock.ms();
  for (const float logit : logits) {
    if (!std::isfinite(logit)) return fail(Error::kModel, "the model's outputs are not all finite numbers");
  }
  return logits;
}

}  // namespace

Result<ClassifierCrew> ClassifierCrew::create(const lsrt_model* model, uint32_t threads, size_t inputs) {
  ClassifierCrew crew;
  crew.classes_ = lsrt_model_classes(model);
  const size_t size = std::clamp<size_t>(inputs, 1, threads);
  for (size_t i = 0; i < size; ++i) {
    lsrt_classifier_params params = lsrt_classifier_default_params();
    params.threads = static_cast<uint32_t>(threads / size);
    lsrt_classifier* handle = nullptr;
    const Status status = from_api(lsrt_classifier_create(model, &params, &handle));
    if (!status.ok() && (i == 0 || status.code() != Error::kMemory)) return status;
    if (!status.ok()) break;  // fewer do as well
    crew.classifiers_.emplace_back(handle);
  }
  return crew;
}

Status ClassifierCrew::run(size_t count, const Read& read, const Done& done) {
  const Clock clock;
  Queue queue(count, kAhead * size(), done);
  std::vector<double> ms(size());
  const auto work = [&](size_t member) {
    try {
      for (size_t i; (i = queue.next()) < count;) {
        const Result<Input> input = read(i);
        queue.add(i, input.ok() ? classify(classifiers_[member].get(), classes_, input.value(), &ms[member])
                                : Logits(input.status()));
      }
    } catch (const std::bad_alloc&) {
      queue.stop(fail(Error::kMemory, "out of memory"));
    } catch (const std::exception& e) {
      queue.stop(fail(Error::kFile, "%s", e.what()));
    }
  };
  std::vector<std::thread> threads;
  threads.reserve(size());
  try {
    for (size_t i = 1; i < size(); ++i) threads.emplace_back(work, i);
  } catch (const std::exception&) {  // fewer do as well
  }
  work(0);
  for (std::thread& thread : threads) thread.join();
  for (double m : ms) network_ms_ += m;
  seconds_ += clock.seconds();
  return queue.status();
}

}  // namespace lsrt::tool
