// Threads that stay, for work of microseconds: the matrices of one token are each a few of them.
//
// run() gives every thread its share of one piece of work and returns when all are done; the calling thread is thread
// 0. Workers wait for the next piece by looking (some 50 microseconds), then asleep. Shares go by thread number alone
// (share_of), so results that depend on no order between shares have the same bytes for any number of threads.
#pragma once

#include <cstdint>
#include <memory>
#include <utility>

namespace pare {

class ThreadPool {
 public:
  struct Options {
    int threads = 0;   // 0: as many as physical cores, within what this process may use
    bool pin = false;  // each thread to one core
  };
  explicit ThreadPool(const Options& options);
  ThreadPool();
  ~ThreadPool();
  ThreadPool(const ThreadPool&) = delete;
  ThreadPool& operator=(const ThreadPool&) = delete;

  int threads() const { return threads_; }

  // work(thread, threads) on every thread. One caller at a time; work must not throw and must not call run().
  template <class Work>
  void run(const Work& work) {
    run([](const void* context, int thread, int threads) { (*static_cast<const Work*>(context))(thread, threads); },
        &work);
  }
  // work(item) for 0 <= item < count, an equal run of neighbours for each thread.
  template <class Work>
  void for_each(int64_t count, const Work& work) {
    run([&](int thread, int threads) {
      const auto [begin, end] = share_of(count, thread, threads);
      for (int64_t i = begin; i < end; ++i) work(i);
    });
  }

  static std::pair<int64_t, int64_t> share_of(int64_t count, int thread, int threads) {
    return {count * thread / threads, count * (thread + 1) / threads};
  }

 private:
  using Function = void (*)(const void* context, int thread, int threads);
  void run(Function function, const void* context);

  struct Shared;
  std::unique_ptr<Shared> shared_;
  int threads_ = 1;
};

int physical_cores();  // that this process may use

}  // namespace pare
