#include "pare/pipeline/exporter.h"

#include <gmock/gmock.h>

#include <map>
#include <regex>

#include "pare/base/error.h"
#include "pare/io/gguf_split.h"
#include "pare/io/hf_folder.h"
#include "pare/io/safetensors.h"
#include "pare/io/test_files.h"
#include "pare/pipeline/convert.h"
#include "pare/pipeline/export_config.h"
#include "pare/pipeline/small_model_for_tests.h"
#include "pare/text/tokenizer.h"
#include "pare/weights/encode/additive_fit.h"
#include "pare/weights/weights_for_tests.h"

namespace pare {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::Not;

json json_of(const fs::path& path) {
  return json::parse(read_whole(path));
}

bool is_block_linear(const std::string& name) {
  return name.find("_proj.") != std::string::npos;
}

// The weights that a run on the small model might have made, and the job that writes them.
struct SmallExport {
  ModelFiles source;
  std::map<std::string, Weight> weights;
  ExportJob job;

  SmallExport(const fs::path& folder, OutputFormat format) : source(ModelFiles::open(folder)) {
    job.source = &source;
    job.format = format;
    job.method = "gptq";
    for (const ParameterInfo& parameter : source.parameters()) weights[parameter.name] = source.read(parameter.name);
  }
  void replace_linears(const std::function<Weight(const std::string&, std::vector<int64_t>)>& make) {
    for (auto& [name, weight] : weights) {
      if (is_block_linear(name)) weight = make(name, weight.shape);
    }
  }
  // Bits and such for all linears of the blocks.
  void quantize(RandomInts wish) {
    replace_linears([&](const std::string&, const std::vector<int64_t>& shape) {
      wish.rows = shape[0];
      wish.cols = shape[1];
      ++wish.seed;
      return random_ints(wish);
    });
  }
  void prune(bool two_of_four) {
    uint64_t seed = 5;
    replace_linears([&](const std::string& name, const std::vector<int64_t>& shape) {
      Weight weight = source.read(name);
      weight.mask =
          two_of_four ? two_of_four_mask(shape[0], shape[1], ++seed) : random_mask(shape[0], shape[1], ++seed);
      return weight;
    });
  }

  ModelFiles write(const fs::path& out) {
    job.parameters.clear();
    for (const ParameterInfo& parameter : source.parameters()) {
      WeightForm form = form_of(weights.at(parameter.name));
      if (form.kind == WeightForm::Kind::grouped_ints) form.dtype = Dtype::bf16;  // of the model, for hf
      job.parameters.push_back({parameter.name, form, [this, name = parameter.name] { return weights.at(name); }});
    }
    const ExportSizes sizes = export_sizes(job);
    OutputFolder output(out);
    export_model(job, output);
    output.commit();
    uint64_t total = 0;
    for (size_t i = 0; i < sizes.file_names.size(); ++i) {
      EXPECT_EQ(fs::file_size(out / sizes.file_names[i]), sizes.file_bytes[i]) << sizes.file_names[i];
      total += sizes.file_bytes[i];
    }
    EXPECT_EQ(total, sizes.weight_bytes);
    return ModelFiles::open(job.format == OutputFormat::gguf ? out / sizes.file_names[0] : out);
  }
};

class ExporterTest : public testing::Test {
 protected:
  fs::path source() {
    const fs::path folder = scratch_.path() / "Small-1M";
    if (!fs::exists(folder)) make_small_model(folder, wish_);
    return folder;
  }
  fs::path out(const std::string& name = "out") const { return scratch_.path() / name; }

  // What was read back has the values of what was written, bit for bit.
  static void expect_values(const SmallExport& run, const ModelFiles& written) {
    EXPECT_EQ(written.parameters().size(), run.weights.size());
    for (const auto& [name, weight] : run.weights) {
      ASSERT_NE(written.find(name), nullptr) << name;
      const Weight found = written.read(name);
      EXPECT_EQ(found.shape, weight.shape) << name;
      EXPECT_EQ(found.unpack(), weight.unpack()) << name;
    }
  }
  static void expect_codes(const SmallExport& run, const ModelFiles& written) {
    for (const auto& [name, weight] : run.weights) {
      const auto* ints = std::get_if<GroupedInts>(&weight.base);
      if (ints == nullptr) continue;
      const Weight found = written.read(name);
      const auto& back = std::get<GroupedInts>(found.base);
      EXPECT_EQ(back.codes, ints->codes) << name;
      EXPECT_EQ(back.scales, ints->scales) << name;
      EXPECT_EQ(back.zeros, ints->zeros) << name;
      EXPECT_EQ(back.group, std::min(ints->group, weight.cols())) << name;
    }
  }

  SmallModel wish_;
  TemporaryFolder scratch_;
};

TEST_F(ExporterTest, HfKeepsADenseModelAndEverythingBesideIt) {
  SmallExport run(source(), OutputFormat::hf);
  run.job.method = "";
  expect_values(run, run.write(out()));
  EXPECT_EQ(read_whole(out() / "strange.dat"), "carried along");
  EXPECT_EQ(json_of(out() / "tokenizer.json"), small_tokenizer());
  EXPECT_EQ(json_of(out() / "config.json"), json_of(source() / "config.json"));
  EXPECT_TRUE(fs::exists(out() / "generation_config.json"));
  EXPECT_FALSE(fs::exists(out() / "report.json"));  // of an earlier run, about other weights
}

TEST_F(ExporterTest, HfWritesPrunedValuesAndDequantizedOnesInTheModelsType) {
  SmallExport run(source(), OutputFormat::hf);
  run.prune(false);
  expect_values(run, run.write(out("pruned")));

  run.quantize({.group = 32, .symmetric = false});
  const ModelFiles written = run.write(out("rounded"));
  for (const auto& [name, weight] : run.weights) {
    const Weight expected = dense_weight(weight.shape, Dtype::bf16, weight.unpack());
    EXPECT_EQ(written.read(name).unpack(), expected.unpack()) << name;
    EXPECT_EQ(written.find(name)->format, "BF16");
  }
}

TEST_F(ExporterTest, ParesOwnContainerHoldsEveryFormAtItsSize) {
  SmallExport run(source(), OutputFormat::pare);
  run.job.shard_bytes = 20'000;  // each file speaks of its own weights
  int number = 0;
  run.replace_linears([&](const std::string& name, const std::vector<int64_t>& shape) {
    switch (number++ % 4) {
      case 0:
        return random_ints({.rows = shape[0], .cols = shape[1], .bits = 5, .symmetric = false, .masked = true});
      case 1:
        return random_ints({.rows = shape[0], .cols = shape[1], .shuffled_groups = true});
      case 2: {
        Weight weight = run.source.read(name);
        weight.mask = random_mask(shape[0], shape[1], 3);
        return weight;
      }
      default:
        return additive_codes(run.source.read(name), {.bits = 3, .books = 2, .out_group = 1, .in_group = 8}, name);
    }
  });
  const ModelFiles written = run.write(out());
  expect_values(run, written);
  EXPECT_TRUE(fs::exists(out() / "model.safetensors.index.json"));
  EXPECT_EQ(json_of(out() / "config.json")["quantization_config"], json({{"quant_method", "pare"}}));
  for (const auto& [name, weight] : run.weights) {
    EXPECT_EQ(written.find(name)->format, weight.describe());
    EXPECT_EQ(written.find(name)->bytes, weight.bytes()) << name;
  }
  check_export(run.job, written);
}

TEST_F(ExporterTest, AqlmHasOneSchemeForAllLayers) {
  SmallExport run(source(), OutputFormat::aqlm);
  AqlmScheme scheme{.bits = 3, .books = 2, .out_group = 1, .in_group = 8};
  run.replace_linears([&](const std::string& name, const std::vector<int64_t>&) {
    return additive_codes(run.source.read(name), scheme, name);
  });
  expect_values(run, run.write(out()));
  const json config = json_of(out() / "config.json")["quantization_config"];
  EXPECT_EQ(config["nbits_per_codebook"], 3);
  EXPECT_EQ(config["linear_weights_not_to_quantize"], json({"lm_head", "lm_head.weight"}));
  const std::string last = "model.layers.1.mlp.down_proj.weight";
  scheme.books = 1;
  run.weights.at(last) = additive_codes(run.source.read(last), scheme, last);
  EXPECT_THROW(run.write(out("mixed")), UnsupportedError);
}

TEST_F(ExporterTest, ShardsAreWithinTheLimitAndIndexed) {
  SmallExport run(source(), OutputFormat::hf);
  run.job.shard_bytes = 20'000;
  expect_values(run, run.write(out()));
  const json index = json_of(out() / "model.safetensors.index.json");
  uint64_t total = 0;
  for (const ParameterInfo& parameter : run.source.parameters()) {
    EXPECT_TRUE(fs::exists(out() / index["weight_map"][parameter.name].get<std::string>()));
    total += parameter.bytes;
  }
  EXPECT_EQ(index["metadata"]["total_size"], total);
  EXPECT_EQ(index["weight_map"]["model.embed_tokens.weight"], "model-00001-of-00011.safetensors");
  for (const auto& entry : fs::directory_iterator(out())) {
    // the embedding is larger than the limit and stands alone
    if (entry.path().extension() == ".safetensors" && entry.path().string().find("00001-of") == std::string::npos) {
      EXPECT_LT(entry.file_size(), 22'000u) << entry.path();
    }
  }
}

TEST_F(ExporterTest, GptqReadsBackWithTheSameCodes) {
  for (const int bits : {2, 3, 4, 8}) {
    for (const bool symmetric : {true, false}) {
      SCOPED_TRACE(std::to_string(bits) + (symmetric ? " symmetric" : " asymmetric"));
      SmallExport run(source(), OutputFormat::gptq);
      run.quantize({.bits = bits, .group = 32, .symmetric = symmetric, .seed = static_cast<uint64_t>(bits)});
      const fs::path folder = out(std::to_string(bits) + (symmetric ? "s" : "a"));
      const ModelFiles written = run.write(folder);
      EXPECT_EQ(written.format(), "gptq");
      expect_values(run, written);
      expect_codes(run, written);
      const json config = json_of(folder / "config.json")["quantization_config"];
      EXPECT_EQ(config["bits"], bits);
      EXPECT_EQ(config["group_size"], 32);
      EXPECT_EQ(config["sym"], symmetric);
      EXPECT_EQ(config["desc_act"], false);
      EXPECT_EQ(config["checkpoint_format"], symmetric ? "gptq" : "gptq_v2");
      EXPECT_FALSE(config.contains("dynamic"));
      EXPECT_EQ(config, json_of(folder / "quantize_config.json"));
    }
  }
}

TEST_F(ExporterTest, GptqSaysWhichLayersAreOtherwise) {
  SmallExport run(source(), OutputFormat::gptq);
  run.replace_linears([&](const std::string& name, const std::vector<int64_t>& shape) {
    if (name.find("v_proj") != std::string::npos) return run.source.read(name);  // left alone
    const bool down = name.find("down_proj") != std::string::npos;
    return random_ints(
        {.rows = shape[0], .cols = shape[1], .bits = down ? 8 : 4, .group = down ? 96 : 32, .symmetric = true});
  });
  const ModelFiles written = run.write(out());
  expect_values(run, written);
  expect_codes(run, written);
  const json dynamic = json_of(out() / "config.json")["quantization_config"]["dynamic"];
  EXPECT_EQ(dynamic,
            (json{{"+:^model\\.layers\\.(0|1)\\.mlp\\.down_proj$", {{"bits", 8}, {"group_size", -1}, {"sym", true}}},
                  {"-:^model\\.layers\\.(0|1)\\.self_attn\\.v_proj$", json::object()}}));
}

TEST_F(ExporterTest, RowsAsLongAsTheGroupOfOtherLayersAreOneSchemeWithThem) {
  for (const OutputFormat format : {OutputFormat::gptq, OutputFormat::compressed_tensors}) {
    SmallExport run(source(), format);
    run.quantize({.group = 64});  // 64 inputs, but down_proj's 96
    expect_codes(run, run.write(out(std::string(name_of(format)))));
    const json config = json_of(out(std::string(name_of(format))) / "config.json")["quantization_config"];
    if (format == OutputFormat::gptq) {
      EXPECT_EQ(config["group_size"], 64);
      EXPECT_FALSE(config.contains("dynamic"));
    } else {
      EXPECT_EQ(config["config_groups"].size(), 1u);
    }
  }
}

TEST_F(ExporterTest, NotesSayWhichLoadersRefuse) {
  SmallExport packed(source(), OutputFormat::compressed_tensors);
  packed.quantize({.group = 32, .symmetric = false});
  packed.write(out("packed"));
  EXPECT_THAT(export_notes(packed.job), testing::Contains(HasSubstr("0.18 to 0.20 refuses")));
  SmallExport symmetric(source(), OutputFormat::gptq);
  symmetric.quantize({.group = 32});
  symmetric.write(out("symmetric"));
  EXPECT_THAT(export_notes(symmetric.job), testing::Not(testing::Contains(HasSubstr("GPTQModel"))));
  SmallExport mixed(source(), OutputFormat::gptq);
  mixed.replace_linears([&](const std::string& name, const std::vector<int64_t>& shape) {
    const int bits = name.find("down_proj") != std::string::npos ? 8 : 4;
    return random_ints({.rows = shape[0], .cols = shape[1], .bits = bits, .group = 32});
  });
  mixed.write(out("mixed"));
  EXPECT_THAT(export_notes(mixed.job), testing::Contains(HasSubstr("GPTQModel.load")));
}

// GPTQModel adds 1 to words of v1 zeros at once: a field that holds the largest value carries into its neighbour.
TEST_F(ExporterTest, NoZeroOfAnAsymmetricGptqFolderWraps) {
  SmallExport run(source(), OutputFormat::gptq);
  run.replace_linears([&](const std::string&, const std::vector<int64_t>& shape) {
    Weight weight = random_ints({.rows = shape[0], .cols = shape[1], .bits = 2, .group = 32, .symmetric = false});
    auto& zeros = std::get<GroupedInts>(weight.base).zeros;
    std::fill(zeros.begin(), zeros.end(), uint8_t{0});
    return weight;
  });
  expect_codes(run, run.write(out()));
  const SafetensorsFile file = SafetensorsFile::open(out() / "model.safetensors");
  const auto bytes = file.bytes(*file.find("model.layers.0.self_attn.q_proj.qzeros"));
  EXPECT_TRUE(std::all_of(bytes.begin(), bytes.end(), [](std::byte byte) { return byte == std::byte{0}; }));
}

TEST_F(ExporterTest, PackQuantizedReadsBackWithTheSameCodes) {
  for (const int bits : {2, 3, 4, 5, 8}) {
    for (const bool symmetric : {true, false}) {
      SCOPED_TRACE(std::to_string(bits) + (symmetric ? " symmetric" : " asymmetric"));
      SmallExport run(source(), OutputFormat::compressed_tensors);
      run.quantize(
          {.bits = bits, .group = 32, .symmetric = symmetric, .scale_dtype = bits == 8 ? Dtype::bf16 : Dtype::f16});
      const fs::path folder = out(std::to_string(bits) + (symmetric ? "s" : "a"));
      const ModelFiles written = run.write(folder);
      EXPECT_EQ(written.format(), "compressed-tensors");
      expect_values(run, written);
      expect_codes(run, written);
      const json config = json_of(folder / "config.json")["quantization_config"];
      EXPECT_EQ(config["format"], "pack-quantized");
      EXPECT_EQ(config["ignore"], json({"lm_head"}));
      const json group = config["config_groups"]["group_0"];
      EXPECT_EQ(group["targets"], json({"Linear"}));
      EXPECT_EQ(group["weights"]["num_bits"], bits);
      EXPECT_EQ(group["weights"]["strategy"], "group");
      EXPECT_EQ(group["weights"]["symmetric"], symmetric);
    }
  }
}

TEST_F(ExporterTest, EachSchemeIsAConfigGroupThatNamesItsLayers) {
  SmallExport run(source(), OutputFormat::compressed_tensors);
  run.replace_linears([&](const std::string& name, const std::vector<int64_t>& shape) {
    const bool down = name.find("0.mlp.down_proj") != std::string::npos;
    return random_ints({.rows = shape[0], .cols = shape[1], .bits = down ? 8 : 4, .group = down ? 96 : 32});
  });
  expect_values(run, run.write(out()));
  const json groups = json_of(out() / "config.json")["quantization_config"]["config_groups"];
  ASSERT_EQ(groups.size(), 2u);
  for (const auto& [name, weight] : run.weights) {
    if (!is_block_linear(name)) continue;
    int matches = 0;
    for (const json& group : groups) {
      for (const std::string target : group["targets"]) {
        ASSERT_TRUE(target.starts_with("re:"));
        const std::string module = name.substr(0, name.size() - 7);
        if (!std::regex_match(module, std::regex(target.substr(3)))) continue;
        ++matches;
        EXPECT_EQ(group["weights"]["num_bits"], form_of(weight).bits) << name;
        EXPECT_EQ(group["weights"]["strategy"], form_of(weight).bits == 8 ? "channel" : "group") << name;
      }
    }
    EXPECT_EQ(matches, 1) << name;
  }
}

TEST_F(ExporterTest, PrunedLayersBecomeBitmasks) {
  for (const bool two_of_four : {true, false}) {
    SmallExport run(source(), OutputFormat::compressed_tensors);
    run.prune(two_of_four);
    const fs::path folder = out(two_of_four ? "24" : "free");
    const ModelFiles written = run.write(folder);
    expect_values(run, written);
    EXPECT_TRUE(written.find("model.layers.0.mlp.up_proj.weight")->form.masked);
    EXPECT_LT(written.bytes(), run.source.bytes());
    const json config = json_of(folder / "config.json")["quantization_config"];
    EXPECT_EQ(config["sparsity_config"]["format"], two_of_four ? "sparse-24-bitmask" : "sparse-bitmask");
    EXPECT_THAT(export_notes(run.job), ElementsAre(HasSubstr("fills these layers with random values")));
  }
}

TEST_F(ExporterTest, PrunedAndQuantizedIsPackedWithTheCodeOfZero) {
  for (const OutputFormat format : {OutputFormat::compressed_tensors, OutputFormat::gptq, OutputFormat::gguf}) {
    SmallExport run(source(), format);
    run.quantize({.group = 32, .masked = true});
    expect_values(run, run.write(out(std::string(name_of(format)))));
  }
  SmallExport ternary(source(), OutputFormat::compressed_tensors);
  ternary.quantize({.bits = 2, .group = 32, .ternary = true});
  expect_values(ternary, ternary.write(out("ternary")));
}

TEST_F(ExporterTest, GgufHoldsGridsOf32Exactly) {
  struct Case {
    int bits;
    bool symmetric;
    const char* type;
  };
  for (const Case& one : {Case{4, true, "Q4_0"}, Case{4, false, "Q4_1"}, Case{8, true, "Q8_0"}}) {
    SCOPED_TRACE(one.type);
    SmallExport run(source(), OutputFormat::gguf);
    run.quantize({.bits = one.bits, .group = 32, .symmetric = one.symmetric});
    for (auto& [name, weight] : run.weights) {
      if (auto* ints = std::get_if<GroupedInts>(&weight.base)) {
        for (float& scale : ints->scales) scale = std::ldexp(std::round(std::ldexp(scale, 7)), -7);  // 7 bits
        for (float& scale : ints->scales) scale = std::max(scale, 0.0078125f);
      }
    }
    const ModelFiles written = run.write(out(one.type));
    EXPECT_EQ(written.format(), "gguf");
    EXPECT_EQ(written.path().filename(), std::string("Small-1M-") + one.type + ".gguf");
    expect_values(run, written);
    EXPECT_EQ(written.find("model.layers.1.self_attn.q_proj.weight")->format, one.type);
    EXPECT_EQ(written.find("model.norm.weight")->format, "F32");
    EXPECT_EQ(written.config()["num_key_value_heads"], 2);
    EXPECT_EQ(written.gguf()->first().integer("general.quantization_version"), 2);
    EXPECT_EQ(written.gguf()->first().text("general.quantized_by"), "Pare");
    // padded to the rows of the embedding, and the same ids
    EXPECT_EQ(written.gguf()->first().texts("tokenizer.ggml.tokens").size(), static_cast<size_t>(kVocabulary));
    const std::string words = "the hen, <|end|> \xc3\xa9";
    EXPECT_EQ(Tokenizer::open(written.path()).encode(words), Tokenizer::open(source()).encode(words));
  }
}

TEST_F(ExporterTest, GgufRefusesAZeroPointThatF16DoesNotHold) {
  SmallExport run(source(), OutputFormat::gguf);
  run.quantize({.group = 32, .symmetric = false});  // scales with all eleven bits
  try {
    run.write(out());
    FAIL();
  } catch (const UnsupportedError& error) {
    EXPECT_THAT(error.what(), HasSubstr("Q4_1 would change the weights"));
  }
  EXPECT_FALSE(fs::exists(out()));
}

TEST_F(ExporterTest, SaysWhyAFormDoesNotFit) {
  const WeightForm three = form_of(random_ints({.bits = 3, .group = 32}));
  const WeightForm five = form_of(random_ints({.bits = 5, .group = 32}));
  const WeightForm wide = form_of(random_ints({.group = 64}));
  EXPECT_THAT(why_not(three, OutputFormat::gguf), HasSubstr("3-bit"));
  EXPECT_THAT(why_not(wide, OutputFormat::gguf), HasSubstr("groups of 32"));
  EXPECT_THAT(why_not(five, OutputFormat::gptq), HasSubstr("5-bit"));
  EXPECT_EQ(why_not(five, OutputFormat::compressed_tensors), "");
  EXPECT_EQ(why_not(five, OutputFormat::hf), "");
}

TEST_F(ExporterTest, KeepsTheGenerationOfTheConfig) {
  wish_.new_config = true;
  SmallExport run(source(), OutputFormat::gptq);
  run.quantize({.group = 32});
  run.write(out());
  const json config = json_of(out() / "config.json");
  EXPECT_EQ(config["dtype"], "bfloat16");
  EXPECT_FALSE(config.contains("torch_dtype"));
  EXPECT_TRUE(config.contains("rope_parameters"));
}

TEST_F(ExporterTest, TheCardInheritsTheLicenceAndKeepsTheText) {
  SmallExport run(source(), OutputFormat::compressed_tensors);
  run.quantize({.group = 32});
  run.write(out());
  const std::string card = read_whole(out() / "README.md");
  EXPECT_TRUE(card.starts_with("---\nbase_model: Small-1M\nbase_model_relation: quantized\nlicense: apache-2.0\n"));
  for (const char* words :
       {"language:\n- en\n- de\n", "- compressed-tensors\n", "- 4-bit\n", "- gptq\n", "- small\n", "- \"two words\"\n",
        "quantized_by: Pare\n", "| 14 | 4-bit, groups of 32, symmetric |", "# The original\n\nIts card."}) {
    EXPECT_THAT(card, HasSubstr(words));
  }
  EXPECT_THAT(card, Not(HasSubstr("someone/else")));
}

TEST_F(ExporterTest, APromiseThatIsNotKeptIsNoticed) {
  SmallExport run(source(), OutputFormat::compressed_tensors);
  run.quantize({.group = 32});
  run.job.parameters.clear();
  for (const ParameterInfo& parameter : run.source.parameters()) {
    WeightForm form = form_of(run.weights.at(parameter.name));
    if (is_block_linear(parameter.name)) form.group = 16;
    run.job.parameters.push_back(
        {parameter.name, form, [&run, name = parameter.name] { return run.weights.at(name); }});
  }
  OutputFolder output(out());
  EXPECT_THROW(export_model(run.job, output), Error);
}

TEST_F(ExporterTest, FormatNamesHaveTheirNearestWord) {
  EXPECT_EQ(parse_output_format("compressed-tensors"), OutputFormat::compressed_tensors);
  try {
    parse_output_format("gguff");
    FAIL();
  } catch (const UsageError& error) {
    EXPECT_THAT(error.what(), HasSubstr("did you mean gguf?"));
  }
}

TEST(ModulePatterns, JoinTheBlocksOfAKindAndMatchNothingElse) {
  EXPECT_THAT(
      module_patterns({"model.layers.0.mlp.up_proj", "model.layers.12.mlp.up_proj", "lm_head", "model.layers.3.a"}),
      ElementsAre("^model\\.layers\\.(0|12)\\.mlp\\.up_proj$", "^lm_head$", "^model\\.layers\\.3\\.a$"));
}

// --- convert

TEST_F(ExporterTest, ConvertsBothWaysWhereItIsExact) {
  SmallExport run(source(), OutputFormat::gptq);
  run.quantize({.group = 32});
  run.write(out("gptq"));
  const auto convert = [&](const std::string& from, const std::string& to, OutputFormat format) {
    fs::path path = out(from);
    for (const auto& entry : fs::directory_iterator(out(from))) {
      if (entry.path().extension() == ".gguf") path = entry.path();
    }
    const ModelFiles files = ModelFiles::open(path);
    const Conversion conversion = plan_conversion(files, {.format = format});
    OutputFolder output(out(to));
    export_model(conversion.job, output);
    const ExportSizes sizes = export_sizes(conversion.job);
    output.commit();
    const ModelFiles written = ModelFiles::open(format == OutputFormat::gguf ? out(to) / sizes.file_names[0] : out(to));
    check_export(conversion.job, written);
    expect_values(run, written);
    return written;
  };
  expect_codes(run, convert("gptq", "packed", OutputFormat::compressed_tensors));
  expect_codes(run, convert("packed", "gptq again", OutputFormat::gptq));
  EXPECT_EQ(convert("gptq again", "gguf", OutputFormat::gguf).find("model.layers.0.mlp.up_proj.weight")->format,
            "Q4_0");
  expect_codes(run, convert("gguf", "packed again", OutputFormat::compressed_tensors));
  convert("packed again", "dense", OutputFormat::hf);
  convert("gguf", "dense of gguf", OutputFormat::hf);
  convert("gguf", "gguf again", OutputFormat::gguf);
  EXPECT_EQ(fs::file_size(out("gptq") / "model.safetensors"), fs::file_size(out("gptq again") / "model.safetensors"));
}

std::string refusal_of(const ModelFiles& files, const ConvertOptions& options) {
  try {
    plan_conversion(files, options);
  } catch (const UnsupportedError& error) {
    return error.what();
  }
  return "(no error)";
}

TEST_F(ExporterTest, ConvertRefusesWhatWouldChangeValues) {
  SmallExport run(source(), OutputFormat::compressed_tensors);
  run.quantize({.bits = 4, .group = 32, .symmetric = false, .scale_dtype = Dtype::f32});
  const ModelFiles files = run.write(out("asymmetric"));
  const std::string refusal = refusal_of(files, {.format = OutputFormat::gguf});
  EXPECT_THAT(refusal, testing::AllOf(HasSubstr("14 x 4-bit, groups of 32, asymmetric rounded to Q4_1"),
                                      HasSubstr("(model.layers.0.self_attn.q_proj.weight ...)"), HasSubstr("--lossy"),
                                      HasSubstr("--dequantize")));
  const Conversion dense = plan_conversion(files, {.format = OutputFormat::gguf, .dequantize = true});
  EXPECT_THAT(dense.changes, ElementsAre("14 x 4-bit, groups of 32, asymmetric dequantized to F32, exactly"));
  EXPECT_THAT(refusal_of(files, {.format = OutputFormat::hf, .dtype = Dtype::f16}), HasSubstr("dequantized to F16"));
  EXPECT_THAT(refusal_of(files, {.format = OutputFormat::gguf, .type = "Q8_0"}),
              testing::AllOf(HasSubstr("as gguf of type Q8_0 values would change"),
                             HasSubstr("1 x BF16 rounded to Q8_0"), HasSubstr("pare compress --type Q8_0")));
  EXPECT_THAT(refusal_of(files, {.format = OutputFormat::compressed_tensors, .bits = 3}),
              HasSubstr("2 x 4-bit, groups of 32, asymmetric rounded to 3-bit, groups of 32, symmetric"));
  const Conversion lossy = plan_conversion(files, {.format = OutputFormat::gguf, .lossy = true});
  EXPECT_THAT(lossy.changes, ElementsAre("14 x 4-bit, groups of 32, asymmetric rounded to Q4_1"));
}

TEST_F(ExporterTest, ConvertFindsABlockTypeForZeroPoints) {
  SmallExport run(source(), OutputFormat::gptq);
  run.quantize({.bits = 4, .group = 32, .symmetric = false});
  const Conversion conversion = plan_conversion(run.write(out("asymmetric")), {.format = OutputFormat::gguf});
  EXPECT_THAT(conversion.changes, ElementsAre("14 x 4-bit, groups of 32, asymmetric as Q5_0"))
      << "code less zero has five bits";
}

TEST_F(ExporterTest, ConvertKeepsGridsThatAFormatHoldsInMoreBits) {
  SmallExport run(source(), OutputFormat::compressed_tensors);
  run.quantize({.bits = 5, .group = 64, .scale_dtype = Dtype::bf16});
  const ModelFiles files = run.write(out("five"));
  const auto converted = [&](const std::string& to, const ConvertOptions& options) {
    const Conversion conversion = plan_conversion(files, options);
    OutputFolder output(out(to));
    export_model(conversion.job, output);
    const ExportSizes sizes = export_sizes(conversion.job);
    output.commit();
    const ModelFiles written =
        ModelFiles::open(options.format == OutputFormat::gguf ? out(to) / sizes.file_names[0] : out(to));
    check_export(conversion.job, written);
    expect_values(run, written);
    return written.find("model.layers.0.self_attn.k_proj.weight")->format;
  };
  EXPECT_EQ(converted("gguf", {.format = OutputFormat::gguf}), "Q5_0");
  EXPECT_EQ(converted("gptq", {.format = OutputFormat::gptq}), "8-bit, one group a row, symmetric");
  EXPECT_EQ(converted("v2", {.format = OutputFormat::gptq, .gptq_version = GptqVersion::v2}),
            "8-bit, one group a row, symmetric");
  EXPECT_EQ(json_of(out("v2") / "config.json")["quantization_config"]["checkpoint_format"], "gptq_v2");
  EXPECT_EQ(json_of(out("gptq") / "config.json")["quantization_config"]["checkpoint_format"], "gptq");
}

TEST_F(ExporterTest, ConvertRoundsOnlyWhenAskedAndNotPastF16) {
  const ModelFiles files = ModelFiles::open(source());
  const ConvertOptions f32{.format = OutputFormat::hf, .dtype = Dtype::f32};
  EXPECT_THAT(plan_conversion(files, f32).changes, ElementsAre("20 x BF16 as F32, exactly"));
  EXPECT_THAT(refusal_of(files, {.format = OutputFormat::hf, .dtype = Dtype::f16}), HasSubstr("BF16 rounded to F16"));
  const Conversion conversion =
      plan_conversion(files, {.format = OutputFormat::hf, .dtype = Dtype::f16, .lossy = true});
  int changed = 0;
  for (const std::string& change : conversion.changes) changed += std::stoi(change);
  EXPECT_EQ(changed, 20) << "some are exact, by chance";

  const Weight large = dense_weight({1, 2}, Dtype::bf16, std::vector<float>{1, 70000});
  ExportJob job = conversion.job;
  job.parameters = {{"w", form_of(large), [&] { return large; }}};
  job.parameters[0].form.dtype = Dtype::f16;
  OutputFolder output(out());
  try {
    export_model(job, output);
    FAIL();
  } catch (const UnsupportedError& error) {
    EXPECT_THAT(error.what(), HasSubstr("F16 cannot"));
  }
}

}  // namespace
}  // namespace pare
