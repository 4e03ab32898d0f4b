// A GGUF model in several files, as llama.cpp's gguf-split cuts it, seen as one; a whole file is a model of one part.
//
//   NAME-00001-of-00003.gguf   all metadata of the model, and
//                              u16 split.no = 0 | u16 split.count = 3 | i32 split.tensors.count = those of all parts
//   NAME-00002-of-00003.gguf   split.no = 1, the other two again, and no more metadata
//   NAME-00003-of-00003.gguf   split.no = 2 ...
//
// Each part is a GGUF file with its own list of tensors; none is cut, and the first part may have none. A split.count
// of 0 (gguf-split --merge leaves it) or 1 is a whole file.
#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "pare/io/gguf.h"
#include "pare/io/gguf_writer.h"

namespace pare {

class GgufParts {
 public:
  // A whole file, or any part: the others are found beside it by their names. Only headers are read. InputError naming
  // the file when a part is missing, belongs to another model, has been renamed, or holds what another one holds too.
  static GgufParts open(const std::filesystem::path& path);

  const GgufFile& first() const { return parts_->front(); }  // that with the metadata
  const std::vector<GgufFile>& files() const { return *parts_; }
  const GgufFile* file_of(const std::string& tensor) const;  // nothing when no part has it
  const GgufTensor* find(const std::string& tensor) const;

 private:
  std::shared_ptr<const std::vector<GgufFile>> parts_;  // what refers to them outlives a copy of this
  std::map<std::string, size_t> part_of_;               // by tensor
};

// A file of a model to be written.
struct GgufPart {
  std::string file_name;
  GgufMetadata metadata;
  std::vector<GgufTensorSpec> tensors;
};

// `tensors`, in order, in NAME-00001-of-0000N.gguf and so on of at most `most_bytes` each, headers included; a tensor
// that does not fit even alone is alone. NAME.gguf where all fits into one, or where most_bytes is 0. UsageError when
// the metadata, which are all in the first, do not fit.
std::vector<GgufPart> split_gguf(const std::string& name, const GgufMetadata& metadata,
                                 std::vector<GgufTensorSpec> tensors, uint64_t most_bytes);

}  // namespace pare
