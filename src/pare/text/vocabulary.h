// Pieces and their ids, both ways. Ids may have holes.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

namespace pare {

// Above any model's; a file that names a larger id would make us allocate for every id below it.
inline constexpr int64_t kMostTokens = int64_t{1} << 22;

class Vocabulary {
 public:
  // InputError naming `where` for an id or a piece that appears twice, or an id that is negative or too large.
  Vocabulary(std::vector<std::pair<std::string, int64_t>> pieces, const std::string& where);

  std::optional<int32_t> id(std::string_view piece) const {
    const auto found = ids_.find(piece);
    return found == ids_.end() ? std::nullopt : std::optional(found->second);
  }
  const std::string* piece(int32_t id) const {  // nothing for a hole and for what is out of range
    if (id < 0 || static_cast<size_t>(id) >= index_.size() || index_[static_cast<size_t>(id)] < 0) return nullptr;
    return &pieces_[static_cast<size_t>(index_[static_cast<size_t>(id)])];
  }
  int64_t end() const { return static_cast<int64_t>(index_.size()); }  // one past the largest id
  int64_t count() const { return static_cast<int64_t>(pieces_.size()); }

  Vocabulary(const Vocabulary&) = delete;
  Vocabulary& operator=(const Vocabulary&) = delete;

 private:
  std::vector<std::string> pieces_;
  std::unordered_map<std::string_view, int32_t> ids_;  // into pieces_
  std::vector<int32_t> index_;                         // by id; -1: a hole
};

}  // namespace pare
