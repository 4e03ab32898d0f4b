#include "pare/io/gguf_split.h"

#include <algorithm>

#include "pare/base/error.h"
#include "pare/base/part_name.h"
#include "pare/base/units.h"

namespace pare {
namespace {

namespace fs = std::filesystem;

constexpr const char* kNumber = "split.no";
constexpr const char* kCount = "split.count";
constexpr const char* kTensors = "split.tensors.count";
constexpr uint64_t kMostParts = 65535;  // split.no is a u16

std::string part_of(int64_t number, int64_t count) {
  return "part " + std::to_string(number) + " of " + std::to_string(count);
}

[[noreturn]] void fail(const GgufFile& file, const std::string& what) {
  throw InputError(file.path().string() + ": " + what);
}

// 1: a whole file.
int64_t parts_said_by(const GgufFile& file) {
  return file.has(kCount) ? std::max<int64_t>(file.integer(kCount), 1) : 1;
}

void check_number(const GgufFile& file, int64_t number, int64_t count) {
  if (const int64_t said = file.integer(kNumber); said != number - 1) {
    fail(file, "is named " + part_of(number, count) + ", and its split.no says part " + std::to_string(said + 1) +
                   ". Was it renamed?");
  }
}

// The name that the first part's metadata go with.
PartName checked_name(const GgufFile& first) {
  const int64_t count = parts_said_by(first);
  const auto name = part_name(first.path().stem().string());
  if (count == 1) {
    if (name && name->count > 1) {
      fail(first, "is named " + part_of(name->number, name->count) +
                      ", and has no split.count in its metadata. If it is the whole model, give it another name");
    }
    return {"", 1, 1};
  }
  if (!name) {
    fail(first, "is one of " + std::to_string(count) + " parts (split.count), which are found by their names: " +
                    part_stem("NAME", 1, count) + ".gguf and so on. Was it renamed?");
  }
  if (name->count != count) {
    fail(first, "is named " + part_of(name->number, name->count) + ", and its split.count is " + std::to_string(count) +
                    ". Was it renamed?");
  }
  check_number(first, name->number, count);
  return *name;
}

// That this part goes with the first one, as far as its metadata tell.
void check_same_model(const GgufFile& part, const GgufFile& first) {
  const std::string place = first.path().filename().string();
  const auto differs = [&](const std::string& key, const std::string& here, const std::string& there) {
    fail(part, key + " is " + here + ", in " + place + " it is " + there + ". Is it a part of another model?");
  };
  if (!part.has(kCount)) fail(part, "no split.count in its metadata: it is not a part of " + place);
  for (const char* key : {kCount, kTensors}) {
    const int64_t here = part.integer(key), there = first.integer(key);
    if (here != there) differs(key, std::to_string(here), std::to_string(there));
  }
  for (const char* key : {"general.architecture", "general.name"}) {
    if (!part.has(key) || !first.has(key)) continue;
    const std::string here = part.text(key), there = first.text(key);
    if (here != there) differs(key, here, there);
  }
}

}  // namespace

GgufParts GgufParts::open(const fs::path& path) {
  const fs::path first = first_part(path);
  std::error_code error;
  if (first != path && !fs::exists(first, error)) {
    throw InputError(first.string() + ": missing, the first part of the model that " + path.filename().string() +
                     " is named a part of. All parts must lie in one folder");
  }
  std::vector<GgufFile> files;
  files.push_back(GgufFile::open(first));
  const PartName name = checked_name(files[0]);
  for (int64_t number = 2; number <= name.count; ++number) {
    const fs::path place =
        first.parent_path() / (part_stem(name.name, number, name.count) + first.extension().string());
    if (!fs::exists(place, error)) {
      throw InputError(place.string() + ": missing, " + part_of(number, name.count) +
                       " of the model. All parts must lie in one folder. Download it again");
    }
    files.push_back(GgufFile::open(place));
    check_same_model(files.back(), files[0]);
    check_number(files.back(), number, name.count);
  }
  GgufParts result;
  for (size_t i = 0; i < files.size(); ++i) {
    for (const GgufTensor& tensor : files[i].header().tensors) {
      const auto [known, is_new] = result.part_of_.emplace(tensor.name, i);
      if (!is_new) {
        fail(files[i], "tensor " + tensor.name + " is in " + files[known->second].path().filename().string() +
                           ", too. Is it a part of another model?");
      }
    }
  }
  if (name.count > 1) {
    const int64_t said = files[0].integer(kTensors), found = static_cast<int64_t>(result.part_of_.size());
    if (said != found) {
      fail(files[0], "the model has " + std::to_string(said) + " tensors (split.tensors.count), its " +
                         std::to_string(name.count) + " parts hold " + std::to_string(found) +
                         ". Is one of another model?");
    }
  }
  result.parts_ = std::make_shared<const std::vector<GgufFile>>(std::move(files));
  return result;
}

const GgufFile* GgufParts::file_of(const std::string& tensor) const {
  const auto found = part_of_.find(tensor);
  return found == part_of_.end() ? nullptr : &(*parts_)[found->second];
}

const GgufTensor* GgufParts::find(const std::string& tensor) const {
  const GgufFile* file = file_of(tensor);
  return file == nullptr ? nullptr : file->find(tensor);
}

std::vector<GgufPart> split_gguf(const std::string& name, const GgufMetadata& metadata,
                                 std::vector<GgufTensorSpec> tensors, uint64_t most_bytes) {
  GgufSize whole(metadata);
  for (const GgufTensorSpec& tensor : tensors) whole.add(tensor);
  if (most_bytes == 0 || whole.bytes() <= most_bytes) return {{name + ".gguf", metadata, std::move(tensors)}};

  const GgufMetadata keys{
      {kNumber, uint64_t{0}}, {kCount, uint64_t{0}}, {kTensors, static_cast<int64_t>(tensors.size())}};
  GgufMetadata all = metadata;
  all.insert(all.end(), keys.begin(), keys.end());
  GgufSize size(all);
  if (size.bytes() > most_bytes) {
    throw UsageError("split: all metadata are in the first file, and they alone have " + std::to_string(size.bytes()) +
                     " bytes, more than " + format_bytes(most_bytes) + ". Give " +
                     format_bytes(size.bytes() + size.bytes() / 10) + " or more");
  }
  std::vector<GgufPart> parts{{"", std::move(all), {}}};
  for (GgufTensorSpec& tensor : tensors) {
    GgufSize with_it = size;
    with_it.add(tensor);
    const bool has_something = parts.size() == 1 || !parts.back().tensors.empty();
    if (with_it.bytes() > most_bytes && has_something) {
      parts.push_back({"", keys, {}});
      with_it = GgufSize(keys);
      with_it.add(tensor);
    }
    size = with_it;
    parts.back().tensors.push_back(std::move(tensor));
  }
  if (parts.size() > kMostParts) {
    throw UsageError("split: " + format_bytes(most_bytes) + " a file makes " + std::to_string(parts.size()) +
                     " files, more than the " + std::to_string(kMostParts) +
                     " that GGUF can number. Give a larger size");
  }
  const auto count = static_cast<int64_t>(parts.size());
  for (size_t i = 0; i < parts.size(); ++i) {
    parts[i].file_name = part_stem(name, static_cast<int64_t>(i) + 1, count) + ".gguf";
    for (auto& [key, value] : parts[i].metadata) {
      if (key == kNumber) value = uint64_t{i};
      if (key == kCount) value = static_cast<uint64_t>(count);
    }
  }
  return parts;
}

}  // namespace pare
