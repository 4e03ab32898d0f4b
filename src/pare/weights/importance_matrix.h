// llama.cpp's importance matrices: for each tensor the sum of the squares of its inputs over a calibration text.
//
// GGUF (llama-imatrix since 2025; what Pare writes):
//   general.type = "imatrix" | imatrix.datasets [text] | imatrix.chunk_count u32 | imatrix.chunk_size u32, in tokens
//   NAME.in_sum2 F32 [experts, in]   the sums        NAME.counts F32 [experts, 1]   tokens that each expert saw
// The older format (.dat; little-endian i32 and f32; which file it is shows in its first four bytes):
//   i32 entries | entries x {i32 length | name | i32 calls | i32 values | f32 values[]} | i32 chunks | i32 length |
//   dataset
// There values are means of the squares times `calls`: sums and counts all the same, in another unit. What follows the
// entries may be absent. Experts never seen have ones in it, and no sign of it.
// NAME is GGUF's ("blk.0.attn_q.weight"). Rows that GGUF permutes do not matter here: inputs are columns.
// Hostile-input rules: every count is compared with the bytes left before anything is allocated.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <map>
#include <span>
#include <string>
#include <vector>

namespace pare {

struct ImportanceMatrix {
  struct Entry {
    std::vector<float> sums;     // [experts, in]
    std::vector<double> counts;  // [experts]; as they stand in the file: check_importance() judges them
    int64_t inputs() const { return static_cast<int64_t>(sums.size() / counts.size()); }
    // Of an entry without problems: [experts, in], sums over counts.
    std::vector<float> means() const;
  };
  std::map<std::string, Entry> entries;  // at least one; each has values, the same number for each count
  std::vector<std::string> datasets;
  int64_t chunks = 0, chunk_tokens = 0;  // 0: the file does not say
};

// InputError with what is wrong where.
ImportanceMatrix parse_importance_matrix(std::span<const std::byte> file, const std::string& where);
ImportanceMatrix read_importance_matrix(const std::filesystem::path& path);
// Whole or not at all; the older format where the name ends in .dat.
void write_importance_matrix(const ImportanceMatrix& matrix, const std::filesystem::path& path);

// A tensor of the model that the matrix is for.
struct WeighedTensor {
  std::string name;  // GGUF's
  int64_t inputs = 0, experts = 1;
  bool needed = true;  // false: without an entry nothing is lost
};
struct ImportanceCheck {
  std::vector<std::string> problems;  // all there are, each naming its tensor
  std::vector<std::string> notes;     // what is as it may be
};
// Missing tensors, other lengths, values or counts that cannot be, tokens never seen, tensors of another model.
// `model`: all of its matrices, those that are not rounded too.
ImportanceCheck check_importance(const ImportanceMatrix& matrix, const std::vector<WeighedTensor>& model);

}  // namespace pare
