#include "pare/weights/importance_matrix.h"

#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>

#include "pare/base/error.h"
#include "pare/io/gguf.h"
#include "pare/io/gguf_writer.h"
#include "pare/io/output_folder.h"

namespace pare {
namespace {

constexpr const char* kSums = ".in_sum2";
constexpr const char* kCounts = ".counts";
constexpr const char* kChunkCount = "imatrix.chunk_count";
constexpr const char* kChunkSize = "imatrix.chunk_size";
constexpr const char* kDatasets = "imatrix.datasets";

// The older format, walked number by number.
class DatReader {
 public:
  DatReader(std::span<const std::byte> file, const std::string& where) : file_(file), where_(where) {}

  [[noreturn]] void fail(const std::string& what) const { throw InputError(where_ + ": " + what); }
  size_t left() const { return file_.size() - at_; }

  int32_t number(const std::string& what) {
    if (left() < sizeof(int32_t)) fail("the file ends within " + what + ". Cut short?");
    int32_t value;
    std::memcpy(&value, file_.data() + at_, sizeof value);
    at_ += sizeof value;
    return value;
  }
  // A count of things of `each` bytes, at least `least` of them, that the file can hold.
  size_t count(const std::string& what, int32_t least, size_t each) {
    const int32_t value = number(what);
    if (value < least || static_cast<size_t>(value) > left() / each) {
      fail(what + " is " + std::to_string(value) + "; expected " + std::to_string(least) +
           " or more, and no more than fit into the " + std::to_string(left()) +
           " bytes that are left. Cut short, or no importance matrix?");
    }
    return static_cast<size_t>(value);
  }
  std::string text(const std::string& what, int32_t least) {
    const size_t length = count("the length of " + what, least, 1);
    std::string value(reinterpret_cast<const char*>(file_.data() + at_), length);
    at_ += length;
    if (value.find('\0') != std::string::npos) fail(what + " holds a zero byte; expected text");
    return value;
  }
  std::vector<float> floats(size_t count) {
    std::vector<float> values(count);
    std::memcpy(values.data(), file_.data() + at_, count * sizeof(float));
    at_ += count * sizeof(float);
    return values;
  }

 private:
  std::span<const std::byte> file_;
  const std::string& where_;
  size_t at_ = 0;
};

constexpr size_t kSmallestEntry = 4 + 1 + 4 + 4 + 4;  // a name of one letter, one value

ImportanceMatrix parse_dat(std::span<const std::byte> file, const std::string& where) {
  DatReader reader(file, where);
  ImportanceMatrix matrix;
  const size_t entries = reader.count("the number of entries", 1, kSmallestEntry);
  for (size_t i = 0; i < entries; ++i) {
    const std::string place = "entry " + std::to_string(i + 1) + " of " + std::to_string(entries);
    const std::string name = reader.text("the name of " + place, 1);
    if (matrix.entries.contains(name)) reader.fail(place + ": " + name + " appears twice");
    const int32_t calls = reader.number("the calls of " + name);
    if (calls < 0) reader.fail(name + ": seen by " + std::to_string(calls) + " calls; expected none or more");
    ImportanceMatrix::Entry entry;
    entry.sums = reader.floats(reader.count("the number of values of " + name, 1, sizeof(float)));
    entry.counts = {calls == 0 ? 1.0 : calls};  // the oldest files have no calls, and means
    matrix.entries.emplace(name, std::move(entry));
  }
  if (reader.left() == 0) return matrix;
  matrix.chunks = reader.number("the number of chunks");
  if (matrix.chunks < 0) reader.fail("made of " + std::to_string(matrix.chunks) + " chunks; expected none or more");
  if (reader.left() == 0) return matrix;
  const std::string dataset = reader.text("the dataset's name", 0);
  if (!dataset.empty()) matrix.datasets.push_back(dataset);
  if (reader.left() != 0) {
    reader.fail(std::to_string(reader.left()) + " bytes follow the dataset's name; expected the end of the file");
  }
  return matrix;
}

int64_t chunk_key(const GgufHeader& header, const char* key, const std::string& where) {
  const auto found = header.metadata.find(key);
  if (found == header.metadata.end()) return 0;
  uint64_t value = 0;
  if (const auto* plain = std::get_if<uint64_t>(&found->second)) {
    value = *plain;
  } else if (const auto* with_sign = std::get_if<int64_t>(&found->second); with_sign != nullptr && *with_sign >= 0) {
    value = static_cast<uint64_t>(*with_sign);
  } else {
    throw InputError(where + ": " + key + " is no whole number");
  }
  if (value > std::numeric_limits<uint32_t>::max()) {
    throw InputError(where + ": " + key + " is " + std::to_string(value) + "; expected at most 4294967295");
  }
  return static_cast<int64_t>(value);
}

std::vector<std::string> datasets_of(const GgufHeader& header, const std::string& where) {
  const auto found = header.metadata.find(kDatasets);
  if (found == header.metadata.end()) return {};
  if (const auto* array = std::get_if<GgufArray>(&found->second)) {
    if (const auto* texts = std::get_if<std::vector<std::string>>(&array->items)) return *texts;
  }
  throw InputError(where + ": " + kDatasets + " is no list of texts");
}

std::vector<float> floats_of(const GgufTensor& tensor, const GgufHeader& header, std::span<const std::byte> file,
                             const std::string& where) {
  if (tensor.type == nullptr || tensor.type->name != "F32") {
    throw InputError(
        where + ": " + tensor.name + " is " +
        (tensor.type == nullptr ? "of type " + std::to_string(tensor.type_id) : std::string(tensor.type->name)) +
        "; expected F32");
  }
  std::vector<float> values(tensor.bytes / sizeof(float));
  std::memcpy(values.data(), file.data() + header.data_begin + tensor.offset, values.size() * sizeof(float));
  return values;
}

bool take_suffix(std::string& name, std::string_view suffix) {
  if (!name.ends_with(suffix)) return false;
  name.resize(name.size() - suffix.size());
  return true;
}

ImportanceMatrix parse_gguf(std::span<const std::byte> file, const std::string& where) {
  const GgufHeader header = parse_gguf_header(file, where);
  std::map<std::string, std::pair<const GgufTensor*, const GgufTensor*>> pairs;
  std::string other;
  for (const GgufTensor& tensor : header.tensors) {
    std::string name = tensor.name;
    if (take_suffix(name, kSums)) {
      pairs[name].first = &tensor;
    } else if (take_suffix(name, kCounts)) {
      pairs[name].second = &tensor;
    } else if (other.empty()) {
      other = tensor.name;
    }
  }
  const auto kind = header.metadata.find("general.type");
  const auto* type = kind == header.metadata.end() ? nullptr : std::get_if<std::string>(&kind->second);
  if (pairs.empty() || !other.empty() || (type != nullptr && *type != "imatrix")) {
    throw InputError(where + ": a GGUF file, but no importance matrix (" +
                     (!other.empty()                          ? "it holds the tensor " + other
                      : type != nullptr && *type != "imatrix" ? "general.type is " + *type
                                                              : "no tensors") +
                     "); expected one that pare calibrate or llama-imatrix made");
  }
  ImportanceMatrix matrix;
  for (const auto& [name, pair] : pairs) {
    const auto& [sums, counts] = pair;
    if (name.empty()) throw InputError(where + ": a tensor is called only " + (sums ? kSums : kCounts));
    if (sums == nullptr || counts == nullptr) {
      throw InputError(where + ": " + name + " has no " + (sums == nullptr ? kSums : kCounts) +
                       "; expected both for each tensor");
    }
    ImportanceMatrix::Entry entry;
    entry.sums = floats_of(*sums, header, file, where);
    for (const float count : floats_of(*counts, header, file, where)) entry.counts.push_back(count);
    if (entry.sums.size() % entry.counts.size() != 0) {
      throw InputError(where + ": " + name + ": " + std::to_string(entry.sums.size()) + " values for " +
                       std::to_string(entry.counts.size()) + " experts; expected the same number for each");
    }
    matrix.entries.emplace(name, std::move(entry));
  }
  matrix.chunks = chunk_key(header, kChunkCount, where);
  matrix.chunk_tokens = chunk_key(header, kChunkSize, where);
  matrix.datasets = datasets_of(header, where);
  return matrix;
}

void append(std::string& bytes, int64_t value) {
  const auto narrow = static_cast<int32_t>(value);
  bytes.append(reinterpret_cast<const char*>(&narrow), sizeof narrow);
}

void append(std::string& bytes, const std::string& text) {
  append(bytes, static_cast<int64_t>(text.size()));
  bytes += text;
}

// Means times the calls of an entry, which are its chunks, rounded up so that there is one.
std::string as_dat(const ImportanceMatrix& matrix) {
  std::string bytes;
  append(bytes, static_cast<int64_t>(matrix.entries.size()));
  const auto chunk = static_cast<double>(std::max<int64_t>(1, matrix.chunk_tokens));
  for (const auto& [name, entry] : matrix.entries) {
    const double seen = *std::max_element(entry.counts.begin(), entry.counts.end());
    const auto calls = static_cast<float>(std::clamp(std::ceil(seen / chunk), 1.0, 16777216.0));
    append(bytes, name);
    append(bytes, static_cast<int64_t>(calls));
    append(bytes, static_cast<int64_t>(entry.sums.size()));
    for (const float mean : entry.means()) {
      const float value = mean * calls;
      bytes.append(reinterpret_cast<const char*>(&value), sizeof value);
    }
  }
  append(bytes, matrix.chunks);
  append(bytes, matrix.datasets.empty() ? std::string() : matrix.datasets.back());
  return bytes;
}

void write_gguf(const ImportanceMatrix& matrix, const std::filesystem::path& path) {
  const GgufMetadata metadata{{"general.type", std::string("imatrix")},
                              {kDatasets, GgufArray{matrix.datasets}},
                              {kChunkCount, static_cast<uint64_t>(matrix.chunks)},
                              {kChunkSize, static_cast<uint64_t>(matrix.chunk_tokens)}};
  const GgmlType* f32 = ggml_type_named("F32");
  std::vector<GgufTensorSpec> tensors;
  for (const auto& [name, entry] : matrix.entries) {
    const auto experts = static_cast<int64_t>(entry.counts.size());
    tensors.push_back({name + kSums, f32, {experts, entry.inputs()}});
    tensors.push_back({name + kCounts, f32, {experts, 1}});
  }
  GgufWriter writer(path, metadata, std::move(tensors));
  for (const auto& [name, entry] : matrix.entries) {
    writer.write(name + kSums, std::as_bytes(std::span(entry.sums)));
    const std::vector<float> counts(entry.counts.begin(), entry.counts.end());
    writer.write(name + kCounts, std::as_bytes(std::span(counts)));
  }
  writer.finish();
}

}  // namespace

std::vector<float> ImportanceMatrix::Entry::means() const {
  std::vector<float> result(sums.size(), 1.0f);
  const size_t width = sums.size() / counts.size();
  for (size_t i = 0; i < sums.size(); ++i) {
    const double count = counts[i / width];
    if (count > 0) result[i] = static_cast<float>(sums[i] / count);  // never seen: as if all inputs were alike
  }
  return result;
}

ImportanceMatrix parse_importance_matrix(std::span<const std::byte> file, const std::string& where) {
  if (file.empty()) throw InputError(where + ": is empty; expected an importance matrix. Download cut short?");
  const bool gguf = file.size() >= 4 && std::memcmp(file.data(), "GGUF", 4) == 0;
  return gguf ? parse_gguf(file, where) : parse_dat(file, where);
}

ImportanceMatrix read_importance_matrix(const std::filesystem::path& path) {
  const auto file = MappedFile::open(path);
  file->check_not_shrunk();
  return parse_importance_matrix(file->bytes(), path.string());
}

void write_importance_matrix(const ImportanceMatrix& matrix, const std::filesystem::path& path) {
  if (path.extension() == ".dat") {
    write_file_atomically(path, as_dat(matrix));
    return;
  }
  std::filesystem::path partial = path;
  partial += ".partial-" + std::to_string(::getpid());
  write_gguf(matrix, partial);
  std::error_code error;
  std::filesystem::rename(partial, path, error);
  if (error) {
    std::filesystem::remove(partial);
    throw ResourceError(path.string() + ": cannot rename a new file to it: " + error.message());
  }
}

}  // namespace pare
