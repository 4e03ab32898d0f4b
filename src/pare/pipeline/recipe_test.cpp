#include "pare/pipeline/recipe.h"

#include <gmock/gmock.h>

#include <filesystem>
#include <fstream>

#include "pare/base/error.h"

namespace pare {
namespace {

using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

Recipe read(const std::string& text) {
  return Recipe::from_yaml(text, "recipe.yaml");
}

// What the message of the UsageError says; empty when there was none.
std::string refusal(const std::string& text) {
  try {
    read(text);
  } catch (const UsageError& error) {
    return error.what();
  }
  return "";
}

constexpr const char* kEverything = R"(
method: sparsegpt
bits: 3
group: -1
symmetric: false
scale_dtype: bf16
search: no
sparsity: 4:8
damp: 0.05
act_order: false
static_groups: true
descent_sweeps: 2
refit_scales: true
shift: 0.25
block: 64
refine: 5
format: compressed-tensors
imatrix: "of: this.gguf"
true_sequential: false
seed: 18446744073709551615
calibration: {files: [a.txt, "with \"quotes\" and \\ and \t.txt"], samples: 16, length: 256}
layers:
  - match: "*.down_proj"
    bits: ternary
    group: auto
  - match: re:model\.layers\.(0|1)\.
    optional: true
    method: none
  - {match: model.layers.3.mlp.up_proj, sparsity: none, bits: none}
)";

TEST(Recipe, TakesATypeInsteadOfBits) {
  const Recipe r =
      read("type: Q4_K_M\nlayers:\n  - {match: \"*.v_proj\", type: Q8_0}\n  - {match: \"*.q_proj\", bits: 4}\n");
  EXPECT_EQ(r.wish_for("model.layers.0.mlp.up_proj").type, "Q4_K_M");
  EXPECT_EQ(r.wish_for("model.layers.0.mlp.up_proj").method, "gptq");
  EXPECT_EQ(r.wish_for("model.layers.0.self_attn.v_proj").type, "Q8_0");
  EXPECT_EQ(r.wish_for("model.layers.0.self_attn.q_proj").type, "");
  EXPECT_EQ(r.wish_for("model.layers.0.self_attn.q_proj").bits, 4);
  EXPECT_EQ(read(r.to_yaml()), r);
  EXPECT_THAT(refusal("type: Q4_X\n"), AllOf(HasSubstr("line 1"), HasSubstr("Q4_K_M")));
}

TEST(Recipe, TakesSizesOfTheFileAndOfItsParts) {
  const Recipe r = read("size: 90MB\nsplit: 2 GB\n");
  EXPECT_EQ(r.size, 90'000'000u);
  EXPECT_EQ(r.split, 2'000'000'000u);
  EXPECT_EQ(read(r.to_yaml()), r);
  EXPECT_THAT(read("type: Q4_0\n").to_yaml(), Not(HasSubstr("split")));
  EXPECT_THAT(refusal("split: many\n"), HasSubstr("not a size"));
}

TEST(Recipe, SearchesForScalesUnlessItOnlyRounds) {
  const auto searches = [](const char* text) { return read(text).wish_for("model.layers.0.mlp.up_proj").searches(); };
  EXPECT_TRUE(searches("bits: 3\n"));
  EXPECT_FALSE(searches("method: rtn\nbits: 3\n"));
  EXPECT_TRUE(searches("method: rtn\nbits: 3\nsearch: yes\n"));
  EXPECT_TRUE(searches("method: rtn\nbits: ternary\n"));
}

TEST(Recipe, ReadsEveryKey) {
  const Recipe r = read(kEverything);
  EXPECT_EQ(r.wish.method, "sparsegpt");
  EXPECT_EQ(r.wish.bits, 3);
  EXPECT_EQ(r.wish.ternary, false);
  EXPECT_EQ(r.wish.group, -1);
  EXPECT_EQ(r.wish.symmetric, false);
  EXPECT_EQ(r.wish.scale_dtype, Dtype::bf16);
  EXPECT_EQ(r.wish.search, false);
  EXPECT_EQ(r.wish.sparsity, Pattern::parse("4:8"));
  EXPECT_EQ(r.wish.damp, 0.05);
  EXPECT_EQ(r.wish.act_order, false);
  EXPECT_EQ(r.wish.static_groups, true);
  EXPECT_EQ(r.wish.descent_sweeps, 2);
  EXPECT_EQ(r.wish.refit_scales, true);
  EXPECT_EQ(r.wish.shift, 0.25);
  EXPECT_EQ(r.wish.block, 64);
  EXPECT_EQ(r.wish.refine, 5);
  EXPECT_EQ(r.format, "compressed-tensors");
  EXPECT_EQ(r.imatrix, "of: this.gguf");
  EXPECT_FALSE(r.true_sequential);
  EXPECT_EQ(r.seed, 18446744073709551615u);
  EXPECT_THAT(r.calibration.files, ElementsAre("a.txt", "with \"quotes\" and \\ and \t.txt"));
  EXPECT_EQ(r.calibration.samples, 16);
  EXPECT_EQ(r.calibration.length, 256);
  ASSERT_EQ(r.layers.size(), 3u);
  EXPECT_EQ(r.layers[0].patch.bits, 2);
  EXPECT_EQ(r.layers[0].patch.ternary, true);
  EXPECT_EQ(r.layers[0].patch.group, 0);
  EXPECT_TRUE(r.layers[1].optional);
}

TEST(Recipe, WritesWhatItReads) {
  for (const std::string& text : {std::string(kEverything), std::string(""), std::string("bits: 4"),
                                  std::string("sparsity: 0.3333333333333333\ndamp: 1e-5\nlayers: []")}) {
    const Recipe r = read(text);
    EXPECT_EQ(read(r.to_yaml()), r) << r.to_yaml();
  }
}

TEST(Recipe, NothingSaidIsNothingDone) {
  for (const char* text : {"", "# only a comment\n", "---\n", "~"}) EXPECT_EQ(read(text), Recipe{}) << text;
  EXPECT_EQ(read("").wish_for("model.layers.0.mlp.up_proj"), (LayerWish{.method = "none"}));
}

TEST(Recipe, TheMethodFollowsFromTheWish) {
  const auto method = [](const std::string& text) { return read(text).wish_for("a").method; };
  EXPECT_EQ(method("bits: 4"), "gptq");
  EXPECT_EQ(method("sparsity: 0.5"), "sparsegpt");
  EXPECT_EQ(method("{bits: 4, sparsity: 2:4}"), "sparsegpt");
  EXPECT_EQ(method("{bits: 4, method: rtn}"), "rtn");
  EXPECT_EQ(method("{sparsity: 0.5, method: wanda}"), "wanda");
  EXPECT_EQ(method("{bits: 4, sparsity: none}"), "gptq");
}

TEST(Recipe, LaterOverridesWin) {
  const Recipe r = read(R"(
bits: 4
group: 64
layers:
  - {match: "*.down_proj", bits: 3}
  - {match: "model.layers.0.*", bits: 8, group: -1}
  - {match: "re:.*[qk]_proj", method: none}
  - {match: "*.v_proj", sparsity: 2:4}
  - {match: "*.o_proj", bits: ternary}
  - {match: "model.layers.1.self_attn.o_proj", bits: 2}
  - {match: "*.up_proj", bits: none, sparsity: 0.5, refine: 0}
)");
  const auto wish = [&](const std::string& name) { return r.wish_for("model.layers." + name); };
  EXPECT_EQ(wish("5.mlp.gate_proj"), (LayerWish{.method = "gptq", .bits = 4, .group = 64}));
  EXPECT_EQ(wish("5.mlp.down_proj").bits, 3);
  EXPECT_EQ(wish("0.mlp.down_proj").bits, 8);
  EXPECT_EQ(wish("0.mlp.down_proj").group, -1);
  EXPECT_EQ(wish("10.mlp.down_proj").bits, 3);
  EXPECT_EQ(wish("3.self_attn.k_proj"), (LayerWish{.method = "none", .group = 64}));
  EXPECT_EQ(wish("3.self_attn.v_proj").method, "sparsegpt");
  EXPECT_EQ(wish("3.self_attn.v_proj").bits, 4);
  EXPECT_TRUE(wish("3.self_attn.o_proj").ternary);
  EXPECT_EQ(wish("1.self_attn.o_proj").bits, 2);
  EXPECT_FALSE(wish("1.self_attn.o_proj").ternary);
  EXPECT_EQ(wish("3.mlp.up_proj").method, "sparsegpt");
  EXPECT_EQ(wish("3.mlp.up_proj").bits, 0);
  EXPECT_EQ(wish("3.mlp.up_proj").refine, 0);
}

TEST(Recipe, ListsOverridesThatMatchNothing) {
  const Recipe r = read(R"(
layers:
  - {match: "*.down_proj", bits: 3}
  - {match: "*.dwon_proj", bits: 3}
  - {match: "*.router", optional: true, method: none}
)");
  EXPECT_THAT(r.unmatched({"model.layers.0.mlp.down_proj"}), ElementsAre("*.dwon_proj"));
  EXPECT_THAT(r.unmatched({}), ElementsAre("*.down_proj", "*.dwon_proj"));
}

TEST(Recipe, NamesFileLineAndTheNearestKey) {
  EXPECT_THAT(refusal("bits: 4\n\ngruop: 64\n"),
              AllOf(HasSubstr("recipe.yaml: line 3"), HasSubstr("\"gruop\""), HasSubstr("did you mean group?")));
  EXPECT_THAT(refusal("layers:\n  - match: a\n    sparsty: 0.5\n"),
              AllOf(HasSubstr("line 3"), HasSubstr("did you mean sparsity?")));
  EXPECT_THAT(refusal("calibration:\n  sample: 4\n"), AllOf(HasSubstr("line 2"), HasSubstr("did you mean samples?")));
  EXPECT_THAT(refusal("bits: 4\nbits: 3\n"), AllOf(HasSubstr("line 2"), HasSubstr("\"bits\" is there twice")));
  EXPECT_THAT(refusal("a: [1, 2\n"), AllOf(HasSubstr("recipe.yaml: line"), HasSubstr("not YAML")));
}

TEST(Recipe, RefusesWrongTypesAndRangesQuotingThem) {
  for (const auto& [text, quoted] : std::initializer_list<std::pair<const char*, const char*>>{
           {"bits: four", "\"four\""},
           {"bits: 1", "\"1\""},
           {"bits: 9", "\"9\""},
           {"bits: 4.0", "\"4.0\""},
           {"bits: [4]", "a list"},
           {"bits:", "nothing"},
           {"group: 0", "\"0\""},
           {"group: -2", "\"-2\""},
           {"method: gtpq", "\"gtpq\""},
           {"symmetric: 1", "\"1\""},
           {"scale_dtype: f8", "\"f8\""},
           {"sparsity: 1.5", "\"1.5\""},
           {"sparsity: 4:2", "\"4:2\""},
           {"damp: -1", "\"-1\""},
           {"damp: nan", "\"nan\""},
           {"damp: {a: 1}", "a map"},
           {"shift: 2", "\"2\""},
           {"block: 0", "\"0\""},
           {"refine: -1", "\"-1\""},
           {"descent_sweeps: 1e9", "\"1e9\""},
           {"format: pickle", "\"pickle\""},
           {"imatrix: [a.gguf]", "a word"},
           {"seed: -1", "\"-1\""},
           {"true_sequential: maybe", "\"maybe\""},
           {"calibration: text.txt", "\"text.txt\""},
           {"calibration: {length: 4}", "\"4\""},
           {"calibration: {files: {a: b}}", "a map"},
           {"layers: {a: b}", "a map"},
           {"layers: [a]", "\"a\""},
           {"layers: [{bits: 4}]", "match"},
           {"layers: [{match: 're:('}]", "re:("},
           {"{seed: 1, calibration: {seed: 2}}", "keep one"},
           {"just words", "\"just words\""},
           {"- bits: 4", "a list"},
           {"? [a]\n: b", "a key"},
           {"a: &x [1]\nb: *x", "aliases"},
           {"bits: !!int 4", "tags"},
           {"bits: 4\n---\nbits: 3", "more than one document"},
       }) {
    EXPECT_THAT(refusal(text), AllOf(HasSubstr("recipe.yaml"), HasSubstr(quoted))) << text;
  }
}

TEST(Recipe, SurvivesHostileFiles) {
  EXPECT_THAT(refusal(std::string((1 << 20) + 1, ' ')), HasSubstr("1 MB"));
  EXPECT_THAT(refusal(std::string(100'000, '[')), HasSubstr("recipe.yaml"));
  EXPECT_THAT(refusal(std::string(40, '[') + std::string(40, ']')), HasSubstr("nested deeper"));
  std::string list = "layers: [";
  for (int i = 0; i < 200'000; ++i) list += "a,";
  EXPECT_THAT(refusal(list + "]"), HasSubstr("more than 100000 values"));
  std::string keys;
  for (int i = 0; i < 2'000; ++i) keys.append("k").append(std::to_string(i)).append(": 1\n");
  EXPECT_THAT(refusal(keys), HasSubstr("more than 1000 keys"));
  EXPECT_THAT(refusal(std::string(500'000, 'k') + ": 1"), HasSubstr("recipe.yaml"));
}

TEST(Recipe, FilesAreReadWithTheirNameInMessages) {
  const auto folder = std::filesystem::temp_directory_path() / "pare_recipe_test";
  std::filesystem::create_directories(folder);
  std::ofstream(folder / "r.yaml") << "bits: 4\n";
  std::ofstream(folder / "wrong.yaml") << "bit: 4\n";
  EXPECT_EQ(Recipe::from_file(folder / "r.yaml").wish.bits, 4);
  for (const char* name : {"wrong.yaml", "absent.yaml", "."}) {
    try {
      Recipe::from_file(folder / name);
      ADD_FAILURE() << name;
    } catch (const UsageError& error) {
      EXPECT_THAT(error.what(), HasSubstr((folder / name).string()));
    }
  }
  std::filesystem::remove_all(folder);
}

TEST(LlmCompressorRecipe, GptqWithAScheme) {
  const Recipe r = read(R"(
quant_stage:
  quant_modifiers:
    GPTQModifier:
      targets: Linear
      ignore: [lm_head, "re:.*mlp.gate$", "model.layers.0.mlp.down_proj"]
      scheme: W4A16
      dampening_frac: 0.05
      block_size: 64
      offload_hessians: true
)");
  const LayerWish wish = r.wish_for("model.layers.1.mlp.up_proj");
  EXPECT_EQ(wish, (LayerWish{.method = "gptq", .bits = 4, .group = 128, .damp = 0.05, .block = 64}));
  EXPECT_EQ(r.wish_for("model.layers.0.mlp.down_proj").method, "none");
  EXPECT_EQ(r.wish_for("model.layers.0.mlp.gate").method, "none");
  EXPECT_EQ(r.wish_for("model.layers.0.mlp.gate_proj").method, "gptq");
  EXPECT_THAT(r.unmatched({"model.layers.1.mlp.up_proj"}), IsEmpty());
  EXPECT_EQ(read(r.to_yaml()), r);
}

TEST(LlmCompressorRecipe, RoundingWithConfigGroups) {
  const Recipe r = read(R"(
default_stage:
  default_modifiers:
    QuantizationModifier:
      config_groups:
        group_0:
          targets: ["re:.*down_proj"]
          weights: {num_bits: 3, type: int, symmetric: false, strategy: group, group_size: 32, dynamic: false,
                    observer: mse}
          input_activations: null
          output_activations: ~
)");
  EXPECT_EQ(r.wish_for("model.layers.1.mlp.down_proj"),
            (LayerWish{.method = "rtn", .bits = 3, .group = 32, .symmetric = false, .search = true}));
  EXPECT_EQ(r.wish_for("model.layers.1.mlp.up_proj").method, "none");
}

TEST(LlmCompressorRecipe, PruningAndRoundingBecomeOne) {
  const std::string sparse = R"(
sparsity_stage:
  run_type: oneshot
  sparsity_modifiers:
    SparseGPTModifier: {sparsity: 0.75, mask_structure: "3:4", targets: ['re:model.layers.\d*$'], dampening_frac: 0.1}
)";
  const std::string rounding = R"(
quantization_stage:
  quantization_modifiers:
    - GPTQModifier: {ignore: [lm_head], scheme: W8A16}
)";
  EXPECT_EQ(read(sparse).wish_for("a"),
            (LayerWish{.method = "sparsegpt", .sparsity = Pattern::parse("1:4"), .damp = 0.1}));
  for (const Recipe& r : {read(sparse + rounding), read(rounding + sparse)}) {
    const LayerWish wish = r.wish_for("a");
    EXPECT_EQ(wish.method, "sparsegpt");
    EXPECT_EQ(wish.bits, 8);
    EXPECT_EQ(wish.group, -1);
    EXPECT_EQ(wish.sparsity, Pattern::parse("1:4"));
    EXPECT_EQ(wish.damp, 0.1);
  }
  const Recipe wanda = read("WandaPruningModifier: {sparsity: 0.5, mask_structure: '0:0', targets: [Linear]}");
  EXPECT_EQ(wanda.wish_for("a").method, "wanda");
  EXPECT_EQ(wanda.wish_for("a").sparsity, Pattern::parse("0.5"));
}

TEST(LlmCompressorRecipe, RefusesByNameWhatItCannotKeep) {
  for (const auto& [text, named] : std::initializer_list<std::pair<const char*, const char*>>{
           {"s_stage:\n  m_modifiers:\n    AWQModifier: {}", "\"AWQModifier\""},
           {"s_stage: {m_modifiers: {SmoothQuantModifier: {}}}", "\"SmoothQuantModifier\""},
           {"GPTQModifier: {scheme: W8A8}", "\"W8A8\""},
           {"GPTQModifier: {scheme: W4A16, kv_cache_scheme: {num_bits: 8}}", "\"kv_cache_scheme\""},
           {"GPTQModifier: {scheme: W4A16, actorder: group}", "actorder"},
           {"GPTQModifier: {targets: Linear}", "scheme"},
           {"GPTQModifier: {config_groups: {a: {weights: {num_bits: 4, type: float}}}}", "type"},
           {"GPTQModifier: {config_groups: {a: {weights: {num_bits: 4}, input_activations: {num_bits: 8}}}}",
            "\"input_activations\""},
           {"GPTQModifier: {config_groups: {a: {weights: {num_bits: 4}}, b: {weights: {num_bits: 8}}}}", "2 groups"},
           {"SparseGPTModifier: {sparsity: 0.5, sparsity_profile: owl}", "\"sparsity_profile\""},
           {"SparseGPTModifier: {sparsity: 0.6, mask_structure: '2:4'}", "mask_structure"},
           {"SparseGPTModifier: {mask_structure: '2:4'}", "sparsity"},
           {"{GPTQModifier: {scheme: W4A16}, WandaPruningModifier: {sparsity: 0.5}}", "wanda"},
           {"{GPTQModifier: {scheme: W4A16}, bits: 4}", "\"bits\""},
           {"a_stage: {}", "without a modifier"},
       }) {
    EXPECT_THAT(refusal(text), AllOf(HasSubstr("recipe.yaml: line "), HasSubstr(named))) << text;
  }
}

TEST(GptqModelRecipe, QuantizeConfigWithRules) {
  const Recipe r = read(R"({
  "bits": 4, "group_size": 64, "desc_act": true, "sym": false, "damp_percent": 0.05, "lm_head": false, "mse": 0.0,
  "quant_method": "gptq", "checkpoint_format": "gptq_v2", "pack_dtype": "int32", "true_sequential": true,
  "meta": {"quantizer": ["gptqmodel:7.7.0"]},
  "dynamic": {"+:.*down_proj": {"bits": 8, "group_size": 32}, "-:.*\\.0\\.": {}, ".*\\.0\\..*q_proj": {"bits": 3}}
})");
  EXPECT_EQ(r.format, "gptq");
  EXPECT_EQ(r.wish_for("model.layers.1.mlp.up_proj"),
            (LayerWish{.method = "gptq", .bits = 4, .group = 64, .symmetric = false, .search = false, .damp = 0.05}));
  EXPECT_EQ(r.wish_for("model.layers.1.mlp.down_proj").bits, 8);
  EXPECT_EQ(r.wish_for("model.layers.1.mlp.down_proj").group, 32);
  EXPECT_EQ(r.wish_for("model.layers.0.self_attn.q_proj").method, "none") << "the first rule that matches is theirs";
  EXPECT_EQ(r.wish_for("model.layers.0.mlp.down_proj").bits, 8) << "the first rule that matches is theirs";
  EXPECT_EQ(read(r.to_yaml()), r);
}

TEST(GptqModelRecipe, RefusesByNameWhatItCannotKeep) {
  for (const auto& [text, named] : std::initializer_list<std::pair<const char*, const char*>>{
           {R"({"bits": 4, "desc_act": false, "rotation": "hadamard"})", "\"rotation\""},
           {R"({"bits": 4, "desc_act": false, "lm_head": true})", "\"lm_head\""},
           {R"({"bits": 4, "desc_act": false, "quant_method": "awq"})", "awq"},
           {R"({"desc_act": false, "group_size": 128})", "without bits"},
           {R"({"bits": 9, "desc_act": false})", "bits"},
           {R"({"bits": 4, "desc_act": false, "dynamic": {"+:(": {"bits": 8}}})", "regular expression"},
           {R"({"bits": 4, "desc_act": false, "dynamic": {"+:a": {"adapter": "lora"}}})", "\"adapter\""},
       }) {
    EXPECT_THAT(refusal(text), AllOf(HasSubstr("recipe.yaml: line "), HasSubstr(named))) << text;
  }
}

}  // namespace
}  // namespace pare
