// pare inspect MODEL [--tensors] [--json]: what a model is and what Pare can do with it, from headers alone.

#include <CLI/CLI.hpp>
#include <cstdio>
#include <map>
#include <memory>
#include <nlohmann/json.hpp>

#include "pare/base/error.h"
#include "pare/base/units.h"
#include "pare/cli/commands.h"
#include "pare/weights/decoder_config.h"
#include "pare/weights/model_files.h"

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

json architecture(const ModelFiles& files) {
  json result;
  try {
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
              {"tied_embeddings", config.tied_embeddings}};
  } catch (const Error& error) {
    result = {{"supported", false}, {"why", error.what()}};
  }
  return result;
}

json tensor_list(const ModelFiles& files) {
  json list = json::array();
  for (const ParameterInfo& parameter : files.parameters()) {
    json entry{{"name", parameter.name},
               {"shape", parameter.shape},
               {"form", parameter.format},
               {"bytes", parameter.bytes},
               {"bits_per_weight", bits_per_weight(parameter.bytes, elements_of(parameter))},
               {"readable", parameter.readable}};
    if (!parameter.readable) entry["why_not"] = parameter.why_not;
    list.push_back(std::move(entry));
  }
  return list;
}

json inspect(const InspectArgs& args) {
  const ModelFiles files = ModelFiles::open(args.model);
  struct Form {
    int64_t count = 0, elements = 0;
    uint64_t bytes = 0;
  };
  std::map<std::string, Form> forms;
  int64_t parameters = 0, unreadable = 0;
  for (const ParameterInfo& parameter : files.parameters()) {
    Form& form = forms[parameter.format];
    ++form.count;
    form.elements += elements_of(parameter);
    form.bytes += parameter.bytes;
    parameters += elements_of(parameter);
    unreadable += parameter.readable ? 0 : 1;
  }
  json result{{"path", args.model.string()},
              {"format", files.format()},
              {"architecture", architecture(files)},
              {"parameters", parameters},
              {"bytes", files.bytes()},
              {"bits_per_weight", bits_per_weight(files.bytes(), parameters)},
              {"unreadable", unreadable},
              {"forms", json::array()}};
  for (const auto& [name, form] : forms) {
    result["forms"].push_back({{"form", name},
                               {"count", form.count},
                               {"parameters", form.elements},
                               {"bytes", form.bytes},
                               {"bits_per_weight", bits_per_weight(form.bytes, form.elements)}});
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
    std::printf("                context %ld%s\n", architecture["context"].get<long>(),
                architecture["tied_embeddings"].get<bool>() ? ", embedding and head in one" : "");
  } else {
    std::printf("  architecture  NOT SUPPORTED: %s\n", architecture["why"].get<std::string>().c_str());
  }
  std::printf("  parameters    %s, %s, %.2f bits a weight\n", count_text(model["parameters"].get<double>()).c_str(),
              format_bytes(model["bytes"]).c_str(), model["bits_per_weight"].get<double>());
  for (const json& form : model["forms"]) {
    std::printf("    %5ld x %-34s %10s  %6.2f bits a weight\n", form["count"].get<long>(),
                form["form"].get<std::string>().c_str(), format_bytes(form["bytes"]).c_str(),
                form["bits_per_weight"].get<double>());
  }
  if (model["unreadable"].get<long>() > 0)
    std::printf("  %ld tensors cannot be read; --tensors says which and why\n", model["unreadable"].get<long>());
}

void print_tensors(const json& tensors) {
  std::printf("\n  %-44s %-15s %-10s %8s\n", "tensor", "shape", "size", "bits");
  for (const json& tensor : tensors) {
    std::string shape;
    for (const json& dim : tensor["shape"]) shape += (shape.empty() ? "" : " x ") + dim.dump();
    std::printf(
        "  %-44s %-15s %-10s %8.2f  %s%s\n", tensor["name"].get<std::string>().c_str(), shape.c_str(),
        format_bytes(tensor["bytes"]).c_str(), tensor["bits_per_weight"].get<double>(),
        tensor["form"].get<std::string>().c_str(),
        tensor["readable"].get<bool>() ? "" : ("  NOT READABLE: " + tensor["why_not"].get<std::string>()).c_str());
  }
}

}  // namespace

void add_inspect(CLI::App& app, Console& console) {
  auto args = std::make_shared<InspectArgs>();
  CLI::App* command = app.add_subcommand("inspect", "Say what a model is, what is in it and whether Pare supports it");
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
