// Work cut into a fixed list of tasks, handed out to torch's threads as they become free.
//
// Each task runs on one thread, so a result that is made of tasks has the same bytes for any number of threads: what is
// in a task never depends on how many there are. Products inside tasks: matmul.h, not the BLAS, which may start
// threads.
#pragma once

#include <cstdint>
#include <functional>

namespace pare {

// Calls task(0) .. task(count - 1), each once, in any order. Put the longest first.
void parallel_tasks(int64_t count, const std::function<void(int64_t)>& task);

}  // namespace pare
