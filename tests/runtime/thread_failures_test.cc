// A system that gives no more threads: everything works with those that there are.
#include <doctest/doctest.h>
#include <pthread.h>

#include <atomic>
#include <cerrno>

#include "tests/support/goldens.h"
#include "tests/support/run_model.h"

// The sanitizers have a pthread_create of their own.
#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__) && defined(__GLIBC__)
#include <dlfcn.h>

using namespace lsrt;
using namespace lsrt_test;

static std::atomic<int> most_threads{1000};  // that live at a time
static std::atomic<int> living{0}, refused{0};

namespace {

struct Start {
  void* (*run)(void*);
  void* argument;
};

void* run_counted(void* pointer) {
  const Start start = *static_cast<Start*>(pointer);
  delete static_cast<Start*>(pointer);
  void* result = start.run(start.argument);
  --living;
  return result;
}

}  // namespace

// Visible to libstdc++, too, which starts threads for std::thread.
extern "C" __attribute__((visibility("default"))) int pthread_create(pthread_t* thread,
                                                                     const pthread_attr_t* attributes,
                                                                     void* (*run)(void*),
                                                                     void* argument) noexcept {
  using Create = int (*)(pthread_t*, const pthread_attr_t*, void* (*)(void*), void*);
  static const auto create = reinterpret_cast<Create>(dlsym(RTLD_NEXT, "pthread_create"));
  if (living >= most_threads) return ++refused, EAGAIN;
  ++living;
  return create(thread, attributes, run_counted, new Start{run, argument});
}

TEST_CASE("sessions and classifiers with fewer threads than asked for") {
  for (const char* precision : {"int8", "float32"}) {
    for (const char* family : {"lm", "vil", "encoder", "mamba"}) {
      const auto model = convert_golden(golden_names(family).front(), precision);
      Random random(4);
      const Inputs in = random_inputs(*model, random, 1e6);
      RunOptions options;
      options.threads = 4;
      const std::vector<float> expected = take(run_model(model, in, options));
      for (const int left : {0, 1, 2}) {
        INFO(precision << " " << family << ", " << left << " threads can be made");
        most_threads = left, refused = 0;
        const std::vector<float> got = take(run_model(model, in, options));
        most_threads = 1000;
        CHECK(refused > 0);
        CHECK(difference(expected, got) == 0);
      }
    }
  }
}
#endif
