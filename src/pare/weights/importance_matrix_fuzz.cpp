// An importance matrix from any bytes, in either format; what reads is judged.
#include <cstddef>
#include <cstdint>
#include <vector>

#include "pare/base/error.h"
#include "pare/weights/importance_matrix.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  try {
    const auto matrix = pare::parse_importance_matrix({reinterpret_cast<const std::byte*>(data), size}, "fuzz");
    PARE_ASSERT(!matrix.entries.empty());
    std::vector<pare::WeighedTensor> model;
    for (const auto& [name, entry] : matrix.entries) {
      PARE_ASSERT(!entry.counts.empty() && !entry.sums.empty() && entry.sums.size() % entry.counts.size() == 0);
      PARE_ASSERT(entry.means().size() == entry.sums.size());
      model.push_back({name, entry.inputs(), static_cast<int64_t>(entry.counts.size())});
    }
    pare::check_importance(matrix, model);
  } catch (const pare::Error&) {
  }
  return 0;
}
