// For tests: the tiny random models of tests/oracles/decoder (made by decoder_oracle.py) as model folders, with the
// token ids and the logits that transformers gives for them.
#pragma once

#include <cstring>
#include <filesystem>
#include <fstream>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "pare/io/safetensors.h"
#include "pare/io/safetensors_writer.h"
#include "pare/io/test_files.h"
#include "pare/weights/model_files.h"

namespace pare {

// What a test may spoil before the model is opened.
struct Spoil {
  std::string leave_out = {};          // a tensor
  std::string poison = {};             // a tensor whose first element becomes NaN
  nlohmann::json config_changes = {};  // merged into config.json
};

// An oracle file as a model folder, with its ids and logits beside.
class OracleFiles {
 public:
  explicit OracleFiles(const std::string& name, const std::string& config_key = "config", const Spoil& spoil = {})
      : file_(SafetensorsFile::open(std::filesystem::path(PARE_SOURCE_DIR) / "tests/oracles/decoder" /
                                    (name + ".safetensors"))) {
    nlohmann::json config = nlohmann::json::parse(file_.metadata().at(config_key));
    if (!spoil.config_changes.is_null()) config.merge_patch(spoil.config_changes);
    std::ofstream(folder_.path() / "config.json") << config;
    std::vector<TensorSpec> specs;
    for (const TensorInfo& tensor : file_.tensors()) {
      if (!tensor.name.starts_with("oracle.") && tensor.name != spoil.leave_out) {
        specs.push_back({tensor.name, *tensor.dtype, tensor.shape});
      }
    }
    SafetensorsWriter writer(folder_.path() / "model.safetensors", specs);
    for (const TensorSpec& spec : specs) {
      const auto bytes = file_.bytes(*file_.find(spec.name));
      std::vector<std::byte> data(bytes.begin(), bytes.end());
      if (spec.name == spoil.poison) data[0] = data[1] = std::byte{0x7e};  // f16 NaN
      writer.write(spec.name, data);
    }
    writer.finish();
    files = std::make_unique<ModelFiles>(ModelFiles::open(folder_.path()));
    ids = values<int64_t>("oracle.ids");
    logits = values<float>("oracle.logits");
    ids_shape = file_.find("oracle.ids")->shape;
    logits_shape = file_.find("oracle.logits")->shape;
  }

  std::unique_ptr<ModelFiles> files;
  std::vector<int64_t> ids, ids_shape;  // [batch, length]
  std::vector<float> logits;
  std::vector<int64_t> logits_shape;  // [batch, length, vocab]

 private:
  template <class T>
  std::vector<T> values(const std::string& name) const {
    const auto bytes = file_.bytes(*file_.find(name));
    std::vector<T> result(bytes.size() / sizeof(T));
    std::memcpy(result.data(), bytes.data(), bytes.size());
    return result;
  }

  TemporaryFolder folder_;
  SafetensorsFile file_;
};

}  // namespace pare
