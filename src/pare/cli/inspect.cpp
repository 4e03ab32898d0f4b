// pare inspect MODEL [--tensors] [--json]: what a model is and what Pare can do with it, from headers and the tokenizer
// alone: no weight is read.
//
// "sparsity" is the share of values that a mask removes, as the headers say it. It is null where no mask is stored:
// zeros among dense or rounded values are not counted, since that would read them.

#include <CLI/CLI.hpp>
#include <cstdio>
#include <map>
#include <memory>
#include <nlohmann/json.hpp>

#include "pare/base/error.h"
#include "pare/base/units.h"
#include "pare/cli/commands.h"
#include "pare/text/tokenizer.h"
#include "pare/weights/decoder_config.h"
#include "pare/weights/encoder_config.h"
#include "pare/weights/model_files.h"
#include "pare/weights/sentence_modules.h"

namespace pare {
namespace {

using nlohmann::json;

struct InspectArgs {
  std::filesystem::path model;
  bool tensors = false;
};

int64_t elements_of(const ParameterInfo& parameter) {
  int64_t elements = 1;
  for (int64_t dim : parameter.shape) elements *= dim;
  return elements;
}

double bits_per_weight(uint64_t bytes, int64_t elements) {
  return elements == 0 ? 0 : 8 * static_cast<double>(bytes) / static_cast<double>(elements);
}

// Values of some tensors, and how many of them masks are known to have removed.
struct Tally {
  int64_t count = 0, elements = 0, removed = 0;
  uint64_t bytes = 0;
  bool masked = false;  // any of them

  void add(const ParameterInfo& parameter) {
    ++count;
    elements += elements_of(parameter);
    bytes += parameter.bytes;
    if (!parameter.form.masked) return;
    masked = true;
    removed += parameter.form.elements() - parameter.form.kept;
  }
  json sparsity() const {
    if (!masked || elements == 0) return nullptr;
    return static_cast<double>(removed) / static_cast<double>(elements);
  }
};

json encoder(const ModelFiles& files) {
  const EncoderConfig config = EncoderConfig::from_hf(files.config());
  const auto pooling = sentence_modules(files).pooling;
  return {{"supported", true},
          {"model_type", files.config()["model_type"]},
          {"encoder", true},
          {"layers", config.layers},
          {"hidden", config.hidden},
          {"intermediate", config.intermediate},
          {"heads", config.heads},
          {"kv_heads", config.heads},
          {"head_dim", config.hidden / config.heads},
          {"vocab", config.vocab_size},
          {"context", config.max_positions},
          {"pooling", pooling ? json(name_of(*pooling)) : json(nullptr)}};
}

json architecture(const ModelFiles& files) {
  json result;
  try {
    if (is_encoder(files.config())) return encoder(files);
    const DecoderConfig config = DecoderConfig::from_hf(files.config());
    result = {{"supported", true},
              {"model_type", config.model_type},
              {"layers", config.layers},
              {"hidden", config.hidden},
              {"intermediate", config.intermediate},
              {"heads", config.heads},
              {"kv_heads", config.kv_heads},
              {"head_dim", config.head_dim},
              {"vocab", config.vocab_size},
              {"context", config.max_positions},
              {"tied_embeddings", config.tied_embeddings},
              {"encoder", false}};
  } catch (const Error& error) {
    result = {{"supported", false}, {"why", error.what()}};
  }
  return result;
}

json tokenizer(const std::filesystem::path& model) {
  try {
    const Tokenizer tokenizer = Tokenizer::open(model);
    return {{"supported", true}, {"kind", tokenizer.kind()}, {"tokens", tokenizer.vocab_size()}};
  } catch (const Error& error) {
    return {{"supported", false}, {"why", error.what()}};
  }
}

json tensor_list(const ModelFiles& files) {
  json list = json::array();
  for (const ParameterInfo& parameter : files.parameters()) {
    Tally tally;
    tally.add(parameter);
    json entry{{"name", parameter.name},
               {"shape", parameter.shape},
               {"form", parameter.format},
               {"bytes", parameter.bytes},
               {"bits_per_weight", bits_per_weight(parameter.bytes, elements_of(parameter))},
               {"sparsity", tally.sparsity()},
               {"readable", parameter.readable}};
    if (!parameter.readable) entry["why_not"] = parameter.why_not;
    list.push_back(std::move(entry));
  }
  return list;
}

json inspect(const InspectArgs& args) {
  const ModelFiles files = ModelFiles::open(args.model);
  std::map<std::string, Tally> forms;
  Tally all;
  int64_t unreadable = 0;
  for (const ParameterInfo& parameter : files.parameters()) {
    forms[parameter.format].add(parameter);
    all.add(parameter);
    unreadable += parameter.readable ? 0 : 1;
  }
  json result{{"path", args.model.string()},
              {"format", files.format()},
              {"architecture", architecture(files)},
              {"tokenizer", tokenizer(args.model)},
              {"parameters", all.elements},
              {"bytes", files.bytes()},
              {"bits_per_weight", bits_per_weight(files.bytes(), all.elements)},
              {"sparsity", all.sparsity()},
              {"unreadable", unreadable},
              {"notes", files.notes()},
              {"forms", json::array()}};
  for (const auto& [name, form] : forms) {
    result["forms"].push_back({{"form", name},
                               {"count", form.count},
                               {"parameters", form.elements},
                               {"bytes", form.bytes},
                               {"bits_per_weight", bits_per_weight(form.bytes, form.elements)},
                               {"sparsity", form.sparsity()}});
  }
  if (args.tensors) result["tensors"] = tensor_list(files);
  return result;
}

std::string count_text(double count) {
  char text[32];
  if (count >= 1e9) {
    std::snprintf(text, sizeof text, "%.2f billion", count / 1e9);
  } else {
    std::snprintf(text, sizeof text, "%.1f million", count / 1e6);
  }
  return text;
}

// ", 50.0 % removed", or nothing where no mask says it.
std::string removed_text(const json& sparsity) {
  if (sparsity.is_null()) return "";
  char text[32];
  std::snprintf(text, sizeof text, ", %.1f %% removed", 100 * sparsity.get<double>());
  return text;
}

std::string ending(const json& architecture) {
  if (!architecture["encoder"].get<bool>()) {
    return architecture["tied_embeddings"].get<bool>() ? ", embedding and head in one" : "";
  }
  const json& pooling = architecture["pooling"];
  return ", pooling " + (pooling.is_null() ? std::string("not said") : pooling.get<std::string>()) +
         "; an encoder: Pare converts it and does not run it";
}

void print_model(const json& model) {
  const json& architecture = model["architecture"];
  std::printf("%s\n", model["path"].get<std::string>().c_str());
  std::printf("  format        %s\n", model["format"].get<std::string>().c_str());
  if (architecture["supported"].get<bool>()) {
    std::printf("  architecture  %s: %ld layers, hidden %ld, intermediate %ld,\n",
                architecture["model_type"].get<std::string>().c_str(), architecture["layers"].get<long>(),
                architecture["hidden"].get<long>(), architecture["intermediate"].get<long>());
    std::printf("                %ld heads (%ld for keys and values) of %ld, vocabulary %ld,\n",
                architecture["heads"].get<long>(), architecture["kv_heads"].get<long>(),
                architecture["head_dim"].get<long>(), architecture["vocab"].get<long>());
    std::printf("                context %ld%s\n", architecture["context"].get<long>(), ending(architecture).c_str());
  } else {
    std::printf("  architecture  NOT SUPPORTED: %s\n", architecture["why"].get<std::string>().c_str());
  }
  const json& tokenizer = model["tokenizer"];
  if (tokenizer["supported"].get<bool>()) {
    std::printf("  tokenizer     %s, %ld tokens\n", tokenizer["kind"].get<std::string>().c_str(),
                tokenizer["tokens"].get<long>());
  } else {
    std::printf("  tokenizer     NOT SUPPORTED: %s\n", tokenizer["why"].get<std::string>().c_str());
  }
  std::printf("  parameters    %s, %s, %.2f bits a weight%s\n", count_text(model["parameters"].get<double>()).c_str(),
              format_bytes(model["bytes"]).c_str(), model["bits_per_weight"].get<double>(),
              removed_text(model["sparsity"]).c_str());
  for (const json& form : model["forms"]) {
    std::printf("    %5ld x %-34s %10s  %6.2f bits a weight%s\n", form["count"].get<long>(),
                form["form"].get<std::string>().c_str(), format_bytes(form["bytes"]).c_str(),
                form["bits_per_weight"].get<double>(), removed_text(form["sparsity"]).c_str());
  }
  for (const json& note : model["notes"]) std::printf("  %s\n", note.get<std::string>().c_str());
  if (model["unreadable"].get<long>() > 0)
    std::printf("  %ld tensors cannot be read; --tensors says which and why\n", model["unreadable"].get<long>());
}

void print_tensors(const json& tensors) {
  std::printf("\n  %-44s %-15s %-10s %8s\n", "tensor", "shape", "size", "bits");
  for (const json& tensor : tensors) {
    std::string shape;
    for (const json& dim : tensor["shape"]) shape += (shape.empty() ? "" : " x ") + dim.dump();
    std::printf(
        "  %-44s %-15s %-10s %8.2f  %s%s%s\n", tensor["name"].get<std::string>().c_str(), shape.c_str(),
        format_bytes(tensor["bytes"]).c_str(), tensor["bits_per_weight"].get<double>(),
        tensor["form"].get<std::string>().c_str(), removed_text(tensor["sparsity"]).c_str(),
        tensor["readable"].get<bool>() ? "" : ("  NOT READABLE: " + tensor["why_not"].get<std::string>()).c_str());
  }
}

}  // namespace

void add_inspect(CLI::App& app, Console& console) {
  auto args = std::make_shared<InspectArgs>();
  CLI::App* command = add_command(app, "inspect", "Say what a model is, what is in it and whether Pare supports it");
  command->add_option("model", args->model, "Hugging Face folder or .gguf file")->required();
  command->add_flag("--tensors", args->tensors, "List every tensor");
  command->add_flag("--json", console.json, "One JSON object on stdout");
  command->footer(
      "Examples:\n  pare inspect SmolLM2-135M-Instruct.Q4_1.gguf\n  pare inspect Llama-3-8B --tensors --json");
  command->callback([args, &console] {
    const json model = inspect(*args);
    if (console.json) {
      std::printf("%s\n", model.dump(1, ' ', false, json::error_handler_t::replace).c_str());
      return;
    }
    print_model(model);
    if (args->tensors) print_tensors(model["tensors"]);
  });
}

}  // namespace pare
