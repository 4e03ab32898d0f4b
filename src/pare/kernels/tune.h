// Finds the fastest variants of a product on this machine: the cost model says which are worth a try, a clock decides.
#pragma once

#include <cstdint>
#include <vector>

#include "pare/kernels/cost_model.h"
#include "pare/kernels/matrix.h"

namespace pare {

struct TuneOptions {
  int best = 4;          // variants measured for each number of tokens, beside the one built in; 0: all
  double seconds = 0.2;  // of measuring for each number of tokens
};

struct Trial {
  int64_t tokens = 0;
  cpu::Variant how;
  double predicted = 0, measured = 0;  // seconds; measured 0: not tried
  bool built_in = false, taken = false;
};

// `copies` of one matrix, enough that their bytes leave the caches. Sets the winners in all of them.
std::vector<Trial> tune(std::vector<Matrix>& copies, const MachineSpeed& speed, const TuneOptions& options,
                        ThreadPool& pool);

// Seconds of one product: the median of calls for at least `seconds`, each with the next of the copies.
double time_product(const std::vector<Matrix>& copies, const Activations& x, std::vector<float>& y, double seconds,
                    ThreadPool& pool);
std::vector<Matrix> copies_beyond_cache(const Weight& weight, const TuningTable* tuning, ThreadPool& pool);
int64_t bytes_beyond_cache();  // twice the last-level cache, within a quarter of the free memory

}  // namespace pare
