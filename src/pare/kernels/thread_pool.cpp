#include "pare/kernels/thread_pool.h"

#include <sched.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <fstream>
#include <set>
#include <string>
#include <system_error>
#include <thread>
#include <vector>

#include "pare/base/error.h"

namespace pare {
namespace {

constexpr auto kLooking = std::chrono::microseconds(50);

void relax() {
#if defined(__x86_64__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  asm volatile("yield");
#endif
}

std::vector<int> allowed_cpus() {
  cpu_set_t set;
  CPU_ZERO(&set);
  std::vector<int> cpus;
  if (sched_getaffinity(0, sizeof(set), &set) == 0) {
    for (int cpu = 0; cpu < CPU_SETSIZE; ++cpu) {
      if (CPU_ISSET(cpu, &set)) cpus.push_back(cpu);
    }
  }
  if (cpus.empty()) cpus.push_back(0);
  return cpus;
}

// One CPU of each core, where the system tells.
std::vector<int> one_cpu_a_core() {
  std::vector<int> cpus;
  std::set<std::string> cores;
  for (int cpu : allowed_cpus()) {
    std::ifstream file("/sys/devices/system/cpu/cpu" + std::to_string(cpu) + "/topology/thread_siblings_list");
    std::string siblings;
    if (!std::getline(file, siblings) || cores.insert(siblings).second) cpus.push_back(cpu);
  }
  return cpus;
}

// Waits until done(value): looks for a while, then sleeps until it changes.
template <class T, class Done>
void wait_for(const std::atomic<T>& value, const Done& done) {
  const auto until = std::chrono::steady_clock::now() + kLooking;
  for (int i = 1;; ++i) {
    const T seen = value.load(std::memory_order_acquire);
    if (done(seen)) return;
    relax();
    if (i % 64 == 0 && std::chrono::steady_clock::now() > until) value.wait(seen, std::memory_order_acquire);
  }
}

}  // namespace

// Counters lie a cache line apart: a thread that reports does not take the line that others look at.
struct ThreadPool::Shared {
  alignas(128) std::atomic<uint32_t> round = 0;    // of work so far
  alignas(128) std::atomic<uint32_t> working = 0;  // workers that have not finished the round
  alignas(128) Function function = nullptr;
  const void* context = nullptr;
  bool stop = false;
  std::vector<std::thread> workers;
};

ThreadPool::ThreadPool() : ThreadPool(Options{}) {}

ThreadPool::ThreadPool(const Options& options) : shared_(std::make_unique<Shared>()) {
  if (options.threads < 0 || options.threads > 1024) {
    throw UsageError("--threads " + std::to_string(options.threads) + ": expected 1 to 1024, or 0 for all cores");
  }
  const std::vector<int> cpus = one_cpu_a_core();
  threads_ = options.threads != 0 ? options.threads : static_cast<int>(cpus.size());
  const auto pin = [cpus, wanted = options.pin](int thread) {
    if (!wanted) return;
    cpu_set_t set;
    CPU_ZERO(&set);
    CPU_SET(cpus[static_cast<size_t>(thread) % cpus.size()], &set);
    sched_setaffinity(0, sizeof(set), &set);  // refused in some containers: then it runs unpinned
  };
  const auto work = [this, pin](int thread) {
    pin(thread);
    Shared& shared = *shared_;
    for (uint32_t seen = 0;;) {
      wait_for(shared.round, [&](uint32_t round) { return round != seen; });
      ++seen;
      if (shared.stop) return;
      shared.function(shared.context, thread, threads_);
      if (shared.working.fetch_sub(1, std::memory_order_acq_rel) == 1) shared.working.notify_one();
    }
  };
  try {
    for (int thread = 1; thread < threads_; ++thread) shared_->workers.emplace_back(work, thread);
  } catch (const std::system_error& error) {
    shared_->stop = true;
    shared_->round.fetch_add(1, std::memory_order_release);
    shared_->round.notify_all();
    for (std::thread& worker : shared_->workers) worker.join();
    throw ResourceError("cannot start " + std::to_string(options.threads) + " threads: " + error.what() +
                        ". Give a smaller --threads");
  }
  pin(0);
}

ThreadPool::~ThreadPool() {
  shared_->stop = true;
  shared_->round.fetch_add(1, std::memory_order_release);
  shared_->round.notify_all();
  for (std::thread& worker : shared_->workers) worker.join();
}

void ThreadPool::run(Function function, const void* context) {
  if (threads_ == 1) return function(context, 0, 1);
  Shared& shared = *shared_;
  shared.function = function;
  shared.context = context;
  shared.working.store(static_cast<uint32_t>(threads_ - 1), std::memory_order_relaxed);
  shared.round.fetch_add(1, std::memory_order_release);
  shared.round.notify_all();  // no system call unless somebody sleeps
  function(context, 0, threads_);
  wait_for(shared.working, [](uint32_t working) { return working == 0; });
}

int physical_cores() {
  return static_cast<int>(one_cpu_a_core().size());
}

}  // namespace pare
