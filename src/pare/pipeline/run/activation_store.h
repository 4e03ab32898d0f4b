// The hidden states of all calibration windows between blocks: in memory, or in a file when the plan says so.
#pragma once

#include <ATen/ATen.h>

#include <filesystem>
#include <vector>

namespace pare {

class ActivationStore {
 public:
  // `spill_folder` empty: in memory. Otherwise an unlinked file in that folder; resident memory is one batch.
  explicit ActivationStore(const std::filesystem::path& spill_folder = {});
  ~ActivationStore();
  ActivationStore(const ActivationStore&) = delete;
  ActivationStore& operator=(const ActivationStore&) = delete;

  size_t batches() const { return shapes_.size(); }
  const std::filesystem::path& spill_folder() const { return folder_; }
  void push_back(const at::Tensor& values);          // f32, any shape; a copy is kept
  at::Tensor get(size_t batch) const;                // equal bytes; in memory the store's own tensor, not a copy
  void set(size_t batch, const at::Tensor& values);  // of the same shape; may be what get() gave, changed in place

 private:
  std::vector<at::Tensor> in_memory_;
  std::vector<std::vector<int64_t>> shapes_;
  std::vector<int64_t> offsets_;  // bytes in the file
  int64_t end_ = 0;
  int file_ = -1;
  std::filesystem::path folder_;
};

}  // namespace pare
