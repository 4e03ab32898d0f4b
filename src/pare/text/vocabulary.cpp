#include "pare/text/vocabulary.h"

#include <algorithm>
#include <limits>

#include "pare/base/error.h"

namespace pare {

Vocabulary::Vocabulary(std::vector<std::pair<std::string, int64_t>> pieces, const std::string& where) {
  pieces_.reserve(pieces.size());
  ids_.reserve(pieces.size());
  int64_t end = 0;
  for (const auto& [piece, id] : pieces) {
    if (id < 0 || id >= kMostTokens) {
      throw InputError(where + ": piece \"" + piece + "\" has id " + std::to_string(id) + "; expected 0 to " +
                       std::to_string(kMostTokens - 1));
    }
    end = std::max(end, id + 1);
  }
  index_.assign(static_cast<size_t>(end), -1);
  for (auto& [piece, id] : pieces) {
    int32_t& slot = index_[static_cast<size_t>(id)];
    if (slot >= 0) {
      throw InputError(where + ": id " + std::to_string(id) + " is given twice, to \"" +
                       pieces_[static_cast<size_t>(slot)] + "\" and to \"" + piece + "\"");
    }
    slot = static_cast<int32_t>(pieces_.size());
    pieces_.push_back(std::move(piece));
    const auto [other, fresh] = ids_.emplace(pieces_.back(), static_cast<int32_t>(id));
    if (!fresh) {
      throw InputError(where + ": piece \"" + pieces_.back() + "\" appears twice, with ids " +
                       std::to_string(other->second) + " and " + std::to_string(id));
    }
  }
}

}  // namespace pare
