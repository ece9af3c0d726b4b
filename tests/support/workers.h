// Work in child processes: a crash or a hang is reported with the item that it happened at, and the rest goes
// on.
#pragma once

#include <signal.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdint>
#include <thread>
#include <vector>

namespace lsrt_test {

struct Outcomes {
  static constexpr size_t kKinds = 8;
  uint64_t counts[kKinds] = {};   // of the items that ended, by what f returned
  std::vector<uint64_t> crashed;  // items whose process died or did not end in time
};

// f(item) -> kind, below kKinds, for items first .. first + count - 1. After `most` crashes nothing more is
// started. Patience is long: on a machine at work an item may wait minutes for its threads.
template <typename F>
Outcomes in_children(uint64_t first, uint64_t count, const F& f, size_t most = 10,
                     std::chrono::seconds patience = std::chrono::seconds(400)) {
  struct Shared {
    std::atomic<uint64_t> item;
    std::atomic<uint64_t> counts[Outcomes::kKinds];
  };
  struct Worker {
    uint64_t begin, end;
    Shared* shared;
    pid_t pid;
    uint64_t seen;
    std::chrono::steady_clock::time_point since;
  };
  using Clock = std::chrono::steady_clock;
  const auto start = [&](Worker* worker) {
    worker->seen = worker->begin, worker->since = Clock::now();
    worker->shared->item = worker->begin;
    worker->pid = fork();
    if (worker->pid != 0) return;
    for (uint64_t item = worker->begin; item < worker->end; ++item) {
      worker->shared->item = item;
      ++worker->shared->counts[f(item)];
    }
    _exit(0);
  };

  const size_t processes = std::clamp<size_t>(std::thread::hardware_concurrency(), 1, 16);
  auto* shared = static_cast<Shared*>(
      mmap(nullptr, processes * sizeof(Shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0));
  std::vector<Worker> workers;
  for (size_t i = 0; i < processes; ++i) {
    workers.push_back(
        {first + count * i / processes, first + count * (i + 1) / processes, shared + i, 0, 0, {}});
    start(&workers[i]);
  }
  Outcomes outcomes;
  for (size_t running = processes; running > 0;) {
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
    for (Worker& worker : workers) {
      if (worker.pid <= 0) continue;
      int status = 0;
      const uint64_t item = worker.shared->item;
      if (item != worker.seen) worker.seen = item, worker.since = Clock::now();
      if (Clock::now() - worker.since > patience) kill(worker.pid, SIGKILL);
      if (waitpid(worker.pid, &status, WNOHANG) != worker.pid) continue;
      worker.pid = 0;
      if (WIFEXITED(status) && WEXITSTATUS(status) == 0) {
        --running;
        continue;
      }
      outcomes.crashed.push_back(worker.shared->item);
      worker.begin = worker.shared->item + 1;
      if (worker.begin < worker.end && outcomes.crashed.size() < most) {
        start(&worker);
      } else {
        --running;
      }
    }
  }
  for (size_t i = 0; i < processes; ++i) {
    for (size_t kind = 0; kind < Outcomes::kKinds; ++kind) outcomes.counts[kind] += shared[i].counts[kind];
  }
  munmap(shared, processes * sizeof(Shared));
  return outcomes;
}

}  // namespace lsrt_test
