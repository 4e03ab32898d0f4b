#include "pare/server/worker_threads.h"

#include <utility>

namespace pare {

WorkerThreads::WorkerThreads(int threads) {
  for (int i = 0; i < threads; ++i) {
    threads_.emplace_back([this] {
      while (true) {
        std::function<void()> work;
        {
          std::unique_lock lock(mutex_);
          changed_.wait(lock, [&] { return stopping_ || !waiting_.empty(); });
          if (stopping_) return;
          work = std::move(waiting_.front());
          waiting_.pop_front();
        }
        work();
      }
    });
  }
}

WorkerThreads::~WorkerThreads() {
  {
    std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  changed_.notify_all();
  for (std::thread& thread : threads_) thread.join();
}

void WorkerThreads::add(std::function<void()> work) {
  {
    std::lock_guard lock(mutex_);
    waiting_.push_back(std::move(work));
  }
  changed_.notify_one();
}

}  // namespace pare
