#include "runtime/device/threads.h"

#include <sched.h>

#include <algorithm>
#include <fstream>
#include <set>
#include <string>
#include <thread>

namespace lsrt {
namespace {

constexpr uint64_t kTilesOfSlide = 1024;     // a slide has hundreds to many thousands
constexpr uint64_t kWorkOfThread = 1 << 18;  // multiply-adds of a block; measured: docs/performance.md

// Of the control group (version 2) that a container runs in; 0: no limit known.
uint32_t quota() {
  std::ifstream file("/sys/fs/cgroup/cpu.max");
  double time = 0, period = 0;
  if (!(file >> time >> period) || period <= 0) return 0;  // "max 100000" is no number either
  return static_cast<uint32_t>(std::min((time + period - 1) / period, 65536.0));
}

// Of the model's blocks together, for one token, image, slide or longest document.
uint64_t multiply_adds(const Model& model) {
  uint64_t all = 0;
  for (const Stage& stage : model.stages) {
    uint64_t rows = 1;
    if (const auto* patches = std::get_if<PatchStem>(&stage.stem))
      rows = uint64_t{patches->grid} * patches->grid;
    if (model.family == Family::kEncoder) rows = model.sequence.max_length;
    if (model.family == Family::kSlide) rows = kTilesOfSlide;
    for (const Block& block : stage.blocks) {
      const auto add = [&](const LinearView& layer) { all += rows * layer.outputs * layer.inputs; };
      std::visit([&](const auto& mixer) { mixer.for_each_linear(add); }, block.mixer);
      add(block.feed_forward.fc1), add(block.feed_forward.fc2);
    }
  }
  return all;
}

}  // namespace

uint32_t usable_cores() {
  cpu_set_t allowed;
  uint32_t cores = std::max(std::thread::hardware_concurrency(), 1u);
  if (sched_getaffinity(0, sizeof allowed, &allowed) == 0) {
    std::set<std::string> siblings;  // the list of a core's CPUs stands for the core
    for (int cpu = 0; cpu < CPU_SETSIZE; ++cpu) {
      if (!CPU_ISSET(cpu, &allowed)) continue;
      std::ifstream file("/sys/devices/system/cpu/cpu" + std::to_string(cpu) +
                         "/topology/thread_siblings_list");
      std::string list;
      siblings.insert(std::getline(file, list) ? list : "cpu" + std::to_string(cpu));
    }
    cores = static_cast<uint32_t>(std::max<size_t>(siblings.size(), 1));
  }
  const uint32_t limit = quota();
  return limit ? std::min(cores, limit) : cores;
}

uint32_t choose_threads(const Model& model, uint32_t asked) {
  if (asked > 0) return asked;
  uint64_t blocks = 0;
  for (const Stage& stage : model.stages) blocks += stage.blocks.size();
  const uint64_t threads = multiply_adds(model) / std::max<uint64_t>(blocks, 1) / kWorkOfThread;
  return static_cast<uint32_t>(std::clamp<uint64_t>(threads, 1, usable_cores()));
}

}  // namespace lsrt
