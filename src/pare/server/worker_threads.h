// A few threads that take pieces of work in order.
#pragma once

#include <condition_variable>
#include <deque>
#include <functional>
#include <mutex>
#include <thread>
#include <vector>

namespace pare {

class WorkerThreads {
 public:
  explicit WorkerThreads(int threads);
  ~WorkerThreads();  // what has not begun is dropped
  void add(std::function<void()> work);

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<std::function<void()>> waiting_;
  bool stopping_ = false;
  std::vector<std::thread> threads_;
};

}  // namespace pare
