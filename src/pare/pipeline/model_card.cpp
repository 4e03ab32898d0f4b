// README.md of an output folder: the hub reads its front matter, people the rest.

#include <algorithm>
#include <cstdio>
#include <fstream>
#include <map>
#include <nlohmann/json.hpp>
#include <set>
#include <sstream>

#include "pare/base/part_name.h"
#include "pare/base/units.h"
#include "pare/io/ggml_type.h"
#include "pare/io/hf_folder.h"
#include "pare/pipeline/export_config.h"
#include "pare/weights/encoder_config.h"

namespace pare {
namespace {

struct SourceCard {
  std::map<std::string, std::string> blocks;  // key of the front matter -> its lines as they stand
  std::string body;
};

// Top-level keys only; a line that is indented or starts a list item belongs to the key above it.
SourceCard read_card(const std::string& text) {
  SourceCard card;
  std::istringstream lines(text);
  std::string line, key;
  if (!text.starts_with("---\n") && !text.starts_with("---\r\n")) {
    card.body = text;
    return card;
  }
  std::getline(lines, line);
  bool closed = false;
  while (std::getline(lines, line)) {
    if (!line.empty() && line.back() == '\r') line.pop_back();
    if (line == "---") {
      closed = true;
      break;
    }
    const bool continues = line.empty() || line[0] == ' ' || line[0] == '-' || line[0] == '#';
    if (!continues && line.find(':') != std::string::npos) key = line.substr(0, line.find(':'));
    if (!key.empty()) card.blocks[key] += line + "\n";
  }
  if (!closed) return {{}, text};
  std::ostringstream rest;
  rest << lines.rdbuf();
  card.body = rest.str();
  return card;
}

std::string read_text(const std::filesystem::path& path) {
  std::ifstream file(path, std::ios::binary);
  std::ostringstream text;
  text << file.rdbuf();
  return file ? text.str() : std::string();
}

// The values of a key that is a list, one a line: "tags:\n- a\n- b" or "tags: [a, b]".
std::vector<std::string> list_items(const std::string& block) {
  std::vector<std::string> items;
  std::istringstream lines(block);
  std::string line;
  while (std::getline(lines, line)) {
    const size_t dash = line.find_first_not_of(' ');
    if (dash != std::string::npos && line.compare(dash, 2, "- ") == 0) items.push_back(line.substr(dash + 2));
  }
  const size_t open = block.find('['), close = block.rfind(']');
  if (items.empty() && open != std::string::npos && close > open) {
    std::istringstream inside(block.substr(open + 1, close - open - 1));
    while (std::getline(inside, line, ',')) {
      const size_t first = line.find_first_not_of(" \n"), last = line.find_last_not_of(" \n");
      if (first != std::string::npos) items.push_back(line.substr(first, last - first + 1));
    }
  }
  return items;
}

// As a YAML scalar that stays one whatever the name holds.
std::string quoted(const std::string& text) {
  const bool plain = !text.empty() &&
                     text.find_first_not_of(
                         "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
                         "0123456789._/-") == std::string::npos &&
                     text[0] != '-' && text.find_first_not_of("0123456789.-") != std::string::npos;
  return plain ? text : nlohmann::json(text).dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
}

// "org/name" where the config knows it, otherwise the folder's name.
std::string base_model(const ModelFiles& source) {
  const auto& config = source.config();
  const auto found = config.find("_name_or_path");
  if (found != config.end() && found->is_string()) {
    const std::string name = *found;
    if (std::count(name.begin(), name.end(), '/') == 1 && name.front() != '/' && name.front() != '.') return name;
  }
  return model_base_name(source);
}

struct FormCount {
  std::string form;
  int layers = 0;
};

std::vector<FormCount> compressed_forms(const ExportJob& job) {
  std::vector<FormCount> forms;
  for (const ExportParameter& parameter : job.parameters) {
    const WeightForm& form = parameter.form;
    if (form.kind == WeightForm::Kind::dense && !form.masked) continue;
    const std::string words = form.describe();
    const auto known =
        std::find_if(forms.begin(), forms.end(), [&](const FormCount& one) { return one.form == words; });
    if (known == forms.end()) {
      forms.push_back({words, 1});
    } else {
      ++known->layers;
    }
  }
  std::stable_sort(forms.begin(), forms.end(),
                   [](const FormCount& a, const FormCount& b) { return a.layers > b.layers; });
  return forms;
}

std::vector<std::string> tags_for(const ExportJob& job, const SourceCard& card) {
  std::vector<std::string> tags;
  const auto add = [&](const std::string& tag) {
    if (std::find(tags.begin(), tags.end(), tag) == tags.end()) tags.push_back(tag);
  };
  add("pare");
  if (job.format != OutputFormat::hf) add(std::string(name_of(job.format)));
  if (!job.method.empty() && job.method != "none") add(job.method);
  for (const ExportParameter& parameter : job.parameters) {
    const WeightForm& form = parameter.form;
    if (form.kind == WeightForm::Kind::grouped_ints) add(form.ternary ? "ternary" : std::to_string(form.bits) + "-bit");
    if (form.masked) add("sparse");
  }
  const auto found = card.blocks.find("tags");
  if (found != card.blocks.end()) {
    for (const std::string& tag : list_items(found->second)) add(tag);
  }
  return tags;
}

std::string library_name(OutputFormat format) {
  return format == OutputFormat::gguf || format == OutputFormat::pare ? std::string(name_of(format)) : "transformers";
}

std::string how_to_load(const ExportJob& job, const ExportSizes& sizes) {
  const bool encoder = is_encoder(job.source->config());
  if (job.format == OutputFormat::gguf) {
    return std::string(encoder ? "```\nllama-embedding -p TEXT -m " : "```\nllama-cli -m ") +
           (sizes.file_names.empty() ? std::string("model.gguf") : sizes.file_names[0]) + "\n```\n";
  }
  if (job.format == OutputFormat::pare) return "```\npare run PATH\n```\n";
  std::string needs = "transformers";
  if (job.format == OutputFormat::aqlm) needs = "transformers and aqlm[cpu] or aqlm[gpu]";
  if (job.format == OutputFormat::gptq) needs = "transformers and gptqmodel";
  if (job.format == OutputFormat::compressed_tensors) needs = "transformers and compressed-tensors";
  const std::string kind = encoder ? "AutoModel" : "AutoModelForCausalLM";
  return "With " + needs + ":\n\n```python\nfrom transformers import " + kind + ", AutoTokenizer\n\nmodel = " + kind +
         ".from_pretrained(\"PATH\", dtype=\"auto\")\ntokenizer = "
         "AutoTokenizer.from_pretrained(\"PATH\")\n```\n";
}

}  // namespace

std::string model_base_name(const ModelFiles& source) {
  if (source.gguf() != nullptr) {
    std::string stem = without_part(source.path()).filename().string();
    // without the type at its end: "SmolLM2-135M-Instruct.Q4_1"
    const size_t cut = stem.find_last_of(".-");
    if (cut != std::string::npos && cut > 0) {
      const std::string end = stem.substr(cut + 1);
      if (ggml_type_named(end) != nullptr || end.starts_with("Q") || end.starts_with("IQ")) stem.resize(cut);
    }
    return stem;
  }
  std::filesystem::path path = std::filesystem::absolute(source.path()).lexically_normal();
  if (!path.has_filename()) path = path.parent_path();
  const std::string name = path.filename().string();
  return name.empty() ? "model" : name;
}

std::string model_card(const ExportJob& job, const ExportSizes& sizes) {
  SourceCard card;
  if (const HfFolder* folder = job.source->hf_folder()) card = read_card(read_text(folder->path() / "README.md"));

  std::string front = "---\n";
  front += "base_model: " + quoted(base_model(*job.source)) + "\nbase_model_relation: quantized\n";
  for (const char* key : {"license", "license_name", "license_link", "language", "datasets"}) {
    const auto found = card.blocks.find(key);
    if (found != card.blocks.end()) front += found->second;
  }
  front += std::string("library_name: ") + library_name(job.format) + "\n";
  const auto pipeline = card.blocks.find("pipeline_tag");
  front += pipeline != card.blocks.end()      ? pipeline->second
           : is_encoder(job.source->config()) ? "pipeline_tag: sentence-similarity\n"
                                              : "pipeline_tag: text-generation\n";
  if (!job.quantized_by.empty()) front += "quantized_by: " + quoted(job.quantized_by) + "\n";
  front += "tags:\n";
  for (const std::string& tag : tags_for(job, card)) {
    const bool as_it_stands = tag.find_first_of("\"'") == 0;
    front += "- " + (as_it_stands ? tag : quoted(tag)) + "\n";
  }
  front += "---\n\n";

  const std::string name = model_base_name(*job.source);
  std::string body = "# " + name + ", made smaller with Pare\n\n";
  body += "Weights: " + format_bytes(sizes.weight_bytes) + ", from " + format_bytes(job.source->bytes()) + ".";
  if (!job.method.empty() && job.method != "none") body += " Method: " + job.method + ".";
  body += "\n\n";
  const std::vector<FormCount> forms = compressed_forms(job);
  if (!forms.empty()) {
    body += "| layers | stored as |\n|---:|---|\n";
    for (const FormCount& form : forms) body += "| " + std::to_string(form.layers) + " | " + form.form + " |\n";
    body += "\n";
  }
  body +=
      "Everything else is as it was. What it cost in quality is in `report.html`, how to make it again in "
      "`recipe.yaml`, where they lie beside this file.\n\n" +
      how_to_load(job, sizes);
  for (const std::string& note : export_notes(job)) body += "\n> " + note + "\n";
  const size_t text = card.body.find_first_not_of(" \r\n");
  if (text != std::string::npos) body += "\n---\n\nThe card of the original model:\n\n" + card.body.substr(text);
  if (body.back() != '\n') body += "\n";
  return front + body;
}

}  // namespace pare
