#include "pare/pipeline/run/calibration.h"

#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <span>

#include "pare/base/error.h"
#include "pare/base/fingerprint.h"
#include "pare/base/log.h"
#include "pare/base/paths.h"
#include "pare/base/random.h"
#include "pare/base/units.h"
#include "pare/io/output_folder.h"
#include "pare/io/safetensors.h"
#include "pare/io/safetensors_writer.h"
#include "pare/nn/generate.h"
#include "pare/pipeline/progress.h"
#include "pare/text/windows.h"

namespace pare {
namespace {

namespace fs = std::filesystem;
using Windows = std::vector<std::vector<int32_t>>;

std::string fingerprint_of(const Windows& windows) {
  Fingerprint fingerprint;
  for (const auto& window : windows) fingerprint.add(std::as_bytes(std::span(window)));
  return fingerprint.hex();
}

CalibrationTokens from_files(const Recipe& recipe, const Plan& plan, int64_t evaluation_length,
                             const Tokenizer& tokenizer) {
  const CalibrationWish& wish = recipe.calibration;
  const int64_t samples = plan.calibration_tokens / wish.length;
  CalibrationTokens result;
  const auto tokens = tokenizer.encode(read_text_files(wish.files), false);
  const auto count = static_cast<int64_t>(tokens.size());
  for (const fs::path& file : wish.files) result.source += (result.source.empty() ? "" : ", ") + file.string();
  result.source += " (" + std::to_string(count) + " tokens)";
  const int64_t kept = std::min(plan.held_out_tokens, count / 8);
  const std::span all(tokens);
  const auto part = [&](int64_t from, int64_t size) {
    return all.subspan(static_cast<size_t>(from), static_cast<size_t>(size));
  };
  if (samples > 0) result.calibration = sample_windows(part(0, count - kept), samples, wish.length, recipe.seed);
  const int64_t length = std::min(evaluation_length, kept);
  if (length >= 2) result.evaluation = evaluation_windows(part(count - kept, kept), length);
  if (kept < plan.held_out_tokens) {
    result.warnings.push_back("evaluation: at most an eighth of the text is held out for it, " + std::to_string(kept) +
                              " tokens instead of " + std::to_string(plan.held_out_tokens) +
                              "; give more text, or --eval-text");
  }
  const auto got = static_cast<int64_t>(result.calibration.size());
  if (got < samples) {
    result.warnings.push_back("calibration: the text holds " + std::to_string(got) + " windows of " +
                              std::to_string(wish.length) + " tokens, " + std::to_string(samples) +
                              " were asked for; give more text or fewer --samples");
  }
  return result;
}

Windows read_cached(const fs::path& path, int64_t samples, int64_t length) {
  try {
    const auto file = SafetensorsFile::open(path);
    const TensorInfo* tokens = file.find("tokens");
    if (tokens == nullptr || tokens->dtype != Dtype::i32 || tokens->shape != std::vector<int64_t>{samples, length})
      return {};
    Windows windows(static_cast<size_t>(samples), std::vector<int32_t>(static_cast<size_t>(length)));
    const std::byte* bytes = file.bytes(*tokens).data();
    for (auto& window : windows) {
      std::memcpy(window.data(), bytes, window.size() * sizeof(int32_t));
      bytes += window.size() * sizeof(int32_t);
    }
    const auto fingerprint = file.metadata().find("fingerprint");
    if (fingerprint == file.metadata().end() || fingerprint->second != fingerprint_of(windows)) return {};
    return windows;
  } catch (const Error&) {
    return {};  // a damaged cache is made anew
  }
}

void write_cached(const fs::path& path, const Windows& windows) {
  std::error_code error;
  fs::create_directories(path.parent_path(), error);
  try {
    const fs::path partial = path.string() + ".partial-" + std::to_string(::getpid());
    const auto length = static_cast<int64_t>(windows.front().size());
    SafetensorsWriter writer(partial, {{"tokens", Dtype::i32, {static_cast<int64_t>(windows.size()), length}}},
                             {{"fingerprint", fingerprint_of(windows)}});
    std::vector<int32_t> all;
    for (const auto& window : windows) all.insert(all.end(), window.begin(), window.end());
    writer.write("tokens", std::as_bytes(std::span(all)));
    writer.finish();
    fs::rename(partial, path);
  } catch (const std::exception& reason) {
    log_line(Level::warning, std::string("the model's own text is not cached: ") + reason.what());
  }
}

Windows write_text(const Decoder& decoder, const Tokenizer& tokenizer, int64_t samples, int64_t length, uint64_t seed) {
  const CounterRandom first(seed, "first token of own text");
  Windows prompts;
  for (int64_t i = 0; i < samples; ++i) {
    auto& prompt = prompts.emplace_back();
    if (tokenizer.bos()) prompt.push_back(*tokenizer.bos());
    int32_t token;
    uint64_t draw = 0;
    do {
      token = static_cast<int32_t>(
          first.below(static_cast<uint64_t>(i) * 1000 + draw++, static_cast<uint64_t>(tokenizer.vocab_size())));
    } while (tokenizer.is_special(token) && draw < 1000);
    prompt.push_back(token);
  }
  GenerateOptions options;
  options.seed = seed;
  options.temperature = 1.0;
  options.stop_at_end = false;
  options.at_once = static_cast<size_t>(kTextsAtOnce);
  Progress progress("the model writes its calibration text", length);
  options.on_token = [&](int64_t done) { progress.update(done, ""); };
  return generate(decoder, prompts, length, options);
}

// What says which tokens begin a text and which are special; a GGUF file's is in the model's own fingerprint.
std::string tokenizer_bytes(const ModelFiles& files) {
  std::ifstream file(files.path() / "tokenizer.json", std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

CalibrationTokens from_the_model(const Recipe& recipe, const Plan& plan, const ModelFiles& files,
                                 const Decoder& decoder, const Tokenizer& tokenizer) {
  const int64_t length = recipe.calibration.length;
  const int64_t samples = own_texts(length, plan.calibration_tokens, plan.held_out_tokens);
  const std::string key = Fingerprint()
                              .add(files.fingerprint())
                              .add(tokenizer_bytes(files))
                              .add("own text 1 " + std::to_string(recipe.seed) + " " + std::to_string(samples) + " " +
                                   std::to_string(length))
                              .hex();
  const fs::path cached = cache_folder() / ("own-text-" + key + ".safetensors");
  CalibrationTokens result;
  result.source = "written by the model itself";
  Windows windows = read_cached(cached, samples, length);
  if (windows.empty()) {
    if (plan.memory.own_text_bytes > plan.memory.limit_bytes) {
      throw ResourceError(
          "calibration: without --calib the model writes its own text, for which all of it must be in memory (" +
          format_bytes(plan.memory.own_text_bytes) + ", limit " + format_bytes(plan.memory.limit_bytes) +
          "). Give text of the kind that the model will see: --calib FILE");
    }
    windows = write_text(decoder, tokenizer, samples, length, recipe.seed);
    write_cached(cached, windows);
  }
  const int64_t calibrate = plan.calibration_tokens / length;
  result.evaluation.assign(windows.begin() + calibrate, windows.end());
  windows.resize(static_cast<size_t>(calibrate));
  result.calibration = std::move(windows);
  return result;
}

}  // namespace

CalibrationTokens calibration_tokens(const Recipe& recipe, const Plan& plan, int64_t evaluation_length,
                                     const ModelFiles& files, const Decoder& decoder, const Tokenizer& tokenizer) {
  CalibrationTokens result = recipe.calibration.files.empty() ? from_the_model(recipe, plan, files, decoder, tokenizer)
                                                              : from_files(recipe, plan, evaluation_length, tokenizer);
  result.fingerprint = fingerprint_of(result.calibration);
  return result;
}

void embed_windows(const Decoder& decoder, const Windows& windows, const MemoryPlan& memory, ActivationStore& states) {
  const auto length = static_cast<int64_t>(windows.front().size());
  const auto per_batch = static_cast<size_t>(std::max<int64_t>(1, memory.batch_tokens / length));
  for (size_t first = 0; first < windows.size(); first += per_batch) {
    const size_t count = std::min(per_batch, windows.size() - first);
    at::Tensor ids = at::empty({static_cast<int64_t>(count), length}, at::kLong);
    int64_t* id = ids.mutable_data_ptr<int64_t>();
    for (size_t i = first; i < first + count; ++i) id = std::copy(windows[i].begin(), windows[i].end(), id);
    states.push_back(decoder.embed(ids));
  }
}

}  // namespace pare
