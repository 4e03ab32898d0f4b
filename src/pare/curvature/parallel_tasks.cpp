#include "pare/curvature/parallel_tasks.h"

#include <ATen/Parallel.h>
#include <c10/core/InferenceMode.h>

#include <algorithm>
#include <atomic>

namespace pare {

void parallel_tasks(int64_t count, const std::function<void(int64_t)>& task) {
  if (count <= 1) {
    const c10::InferenceMode guard;
    if (count == 1) task(0);
    return;
  }
  std::atomic<int64_t> next{0};
  at::parallel_for(0, std::min<int64_t>(count, at::get_num_threads()), 1, [&](int64_t begin, int64_t end) {
    const c10::InferenceMode guard;  // the caller's mode does not reach the other threads
    for (int64_t thread = begin; thread < end; ++thread) {
      for (int64_t i = next++; i < count; i = next++) task(i);
    }
  });
}

}  // namespace pare
