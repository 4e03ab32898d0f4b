#include "pare/pipeline/report.h"

#include <gmock/gmock.h>
#include <unistd.h>

#include <cmath>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <regex>
#include <string>

#include "pare/base/error.h"
#include "pare/base/random.h"
#include "pare/pipeline/report_values.h"

namespace pare {
namespace {

using nlohmann::json;
using testing::HasSubstr;
using testing::Not;

// A report as a run on SmolLM2-135M would leave it; the errors are made up, larger at the ends as they are in life.
json sample_report(int bits, uint64_t seed) {
  const CounterRandom random(seed, "sample report");
  uint64_t draw = 0;
  json layers = json::array();
  struct Kind {
    const char* name;
    int64_t out, in;
    double error;
  };
  const Kind kinds[] = {{"q_proj", 576, 576, 0.9},    {"k_proj", 192, 576, 0.5},     {"v_proj", 192, 576, 1.9},
                        {"o_proj", 576, 576, 2.2},    {"gate_proj", 1536, 576, 1.1}, {"up_proj", 1536, 576, 1.6},
                        {"down_proj", 576, 1536, 2.9}};
  double compressed = 0;
  for (int block = 0; block < 30; ++block) {
    for (const Kind& kind : kinds) {
      const bool attention = std::string(kind.name).size() == 6;
      const double edge = 1 + 1.5 * std::exp(-block / 2.0) - 0.4 * std::exp((block - 29) / 3.0);
      const double relative = kind.error * edge * 1e-3 * std::pow(4, 4 - bits) * std::exp(random.uniform(draw++) - 0.5);
      const double after = static_cast<double>(kind.out * kind.in) * (bits + 0.25) / 8;
      compressed += after;
      layers.push_back(
          {{"name", "model.layers." + std::to_string(block) + (attention ? ".self_attn." : ".mlp.") + kind.name},
           {"kind", kind.name},
           {"block", block},
           {"shape", {kind.out, kind.in}},
           {"method", "gptq"},
           {"form", std::to_string(bits) + "-bit, groups of 64"},
           {"loss", relative * 812},
           {"relative_loss", relative},
           {"rtn_loss", relative * 812 * (2.2 + random.uniform(draw++))},
           {"damp", block == 0 && attention ? 0.1 : 0.01},
           {"dead_inputs", block == 29 && !attention ? 3 : 0},
           {"rows_kept_rtn", draw % 11 == 0 ? 2 : 0},
           {"sparsity", 0.0},
           {"bytes_before", kind.out * kind.in * 2},
           {"bytes_after", after},
           {"seconds", 0.2 + random.uniform(draw++) * 0.4},
           {"warnings", json::array()}});
    }
  }
  layers[3]["warnings"].push_back("damping was raised from 0.01 to 0.1: the curvature was not positive definite");
  json left_alone = json::array({{{"name", "model.embed_tokens.weight"},
                                  {"why", "embeddings are looked up, not multiplied"},
                                  {"bytes", 56623104}}});
  for (int norm = 0; norm < 61; ++norm) {
    left_alone.push_back({{"name", "model.layers." + std::to_string(norm / 2) + ".input_layernorm.weight"},
                          {"why", "not a matrix"},
                          {"bytes", 1152}});
  }
  const double bytes = std::floor(compressed) + 56623104 + 61 * 1152 + 41234;
  const double perplexity = 15.21 * (1 + 0.06 * std::pow(4.1, 4 - bits));
  return {
      {"pare", {{"version", "0.1.0"}, {"git", "4cb1aff"}, {"compiler", "g++ 12.2.0"}}},
      {"command", "pare compress SmolLM2-135M-Instruct -o out-" + std::to_string(bits) + " --bits " +
                      std::to_string(bits) + " --group 64 --calib wikitext-2-train.txt"},
      {"recipe",
       {{"method", "gptq"},
        {"bits", bits},
        {"group", 64},
        {"symmetric", bits == 4},
        {"format", "compressed-tensors"},
        {"seed", 0},
        {"calibration", {{"files", {"wikitext-2-train.txt"}}, {"samples", 128}, {"length", 512}}},
        {"layers", {{{"match", "*.down_proj"}, {"damp", 0.05}}}}}},
      {"model",
       {{"path", "models/SmolLM2-135M-Instruct/"},
        {"architecture", "llama"},
        {"parameters", 134515008},
        {"bytes", 269060552},
        {"format", "safetensors"},
        {"fingerprint", "9f1c2d3e4a5b6c7d8e9f00112233aabb"}}},
      {"result",
       {{"path", "out-" + std::to_string(bits)},
        {"format", "compressed-tensors"},
        {"bytes", bytes},
        {"planned_bytes", bytes},
        {"bits_per_weight", bits + 0.25},
        {"sparsity", 0.0}}},
      {"layers", layers},
      {"left_alone", left_alone},
      {"calibration",
       {{"source", "wikitext-2-train.txt, lines 1-2500"},
        {"samples", 128},
        {"length", 512},
        {"tokens", 65536},
        {"seed", 0},
        {"fingerprint", "00aa11bb22cc33dd44ee55ff66778899"}}},
      {"evaluation",
       {{"text", "wikitext-2-test.txt"},
        {"length", 2048},
        {"tokens", 65536},
        {"before", {{"perplexity", 15.21}, {"perplexity_stderr", 0.14}}},
        {"after", {{"perplexity", perplexity}, {"perplexity_stderr", 0.0098 * perplexity}}},
        {"kl", 0.0612 * std::pow(4.1, 4 - bits)},
        {"kl_stderr", 0.0011 * std::pow(4, 4 - bits)},
        {"top1", bits == 4 ? 0.872 : 0.741},
        {"top1_stderr", 0.0013}}},
      {"goal",
       {{"met", bits == 4},
        {"why", bits == 4 ? "KL divergence 0.0612 is within 0.5" : "KL divergence 0.251 is past 0.2"}}},
      {"resources",
       {{"seconds", 231.4},
        {"phases", {{"calibrate", 61.5}, {"solve", 118.2}, {"evaluate", 44.1}, {"write", 1.2}}},
        {"peak_rss_bytes", 891000000},
        {"planned_peak_bytes", 934000000},
        {"threads", 2},
        {"cpu", "AMD EPYC 9R14, AVX-512"}}},
      {"sample",
       {{"prompt", "The lighthouse at the end of the pier"},
        {"before",
         " was built in 1873 and has been a beacon for ships ever since. It stands forty metres above the sea."},
        {"after", " was built in 1871 and has been a landmark for sailors ever since. It rises above the harbour."}}},
      {"warnings", bits == 4 ? json::array()
                             : json::array({"4 layers needed more damping than asked for: see the table",
                                            "the calibration text has only 65 536 tokens"})}};
}

// Where PARE_REPORT_PAGES names a folder, the pages are left there to be looked at.
void keep(const std::string& name, const std::string& page) {
  if (const char* folder = std::getenv("PARE_REPORT_PAGES")) std::ofstream(std::string(folder) + "/" + name) << page;
}

// Every string of the report, replaced.
void poison(json& value, const std::string& with) {
  if (value.is_string()) value = with;
  if (value.is_structured()) {
    for (json& item : value) poison(item, with);
  }
}

// Every tag that opens is closed in order: what a browser would otherwise guess at.
std::string first_unbalanced_tag(const std::string& page) {
  static const std::regex kTag("<(/?)([a-zA-Z0-9]+)[^>]*?(/?)>");
  std::vector<std::string> open;
  for (std::sregex_iterator it(page.begin(), page.end(), kTag), end; it != end; ++it) {
    const std::string name = (*it)[2];
    if (name == "meta" || (*it)[3] == "/") continue;
    if ((*it)[1].length() == 0) {
      open.push_back(name);
    } else {
      if (open.empty() || open.back() != name)
        return "</" + name + "> after <" + (open.empty() ? "" : open.back()) + ">";
      open.pop_back();
    }
  }
  return open.empty() ? "" : "<" + open.back() + "> stays open";
}

TEST(Report, OneRunShowsEveryFigure) {
  const std::string page = report_html({sample_report(4, 1)});
  keep("one.html", page);
  keep("one-missed.html", report_html({sample_report(3, 2)}));
  for (const char* words : {"SmolLM2-135M-Instruct", "210 layers: gptq, 4-bit, groups of 64", "Goal met", "from 15.21",
                            "planned size to the byte", "embeddings are looked up", "and 58 more", "The lighthouse",
                            "damping was raised", "method: gptq", "down_proj", "g++ 12.2.0", "9f1c2d3e"}) {
    EXPECT_THAT(page, HasSubstr(words));
  }
  EXPECT_EQ(first_unbalanced_tag(page), "");
}

TEST(Report, IsOneFileWithoutScriptOrNetwork) {
  for (const std::string& page :
       {report_html({sample_report(4, 1)}), report_html({sample_report(4, 1), sample_report(3, 2)})}) {
    for (const char* words : {"<script", "http:", "https:", "url(", "@import", "<link", "<img"}) {
      EXPECT_THAT(page, Not(HasSubstr(words)));
    }
    EXPECT_THAT(page, HasSubstr("prefers-color-scheme: dark"));
    EXPECT_THAT(page, HasSubstr("width=device-width"));
  }
}

TEST(Report, HostileStringsAreText) {
  json report = sample_report(4, 1);
  poison(report, "\"><script>alert('x')</script><b onload=\"y\">& \\u0000");
  json recipe_key = report;
  recipe_key["recipe"]["<img src=x>"] = {{"</pre><script>", "</style>"}};
  for (const std::string& page :
       {report_html({report}), report_html({recipe_key, report}), report_html({recipe_key})}) {
    EXPECT_THAT(page, Not(HasSubstr("<script")));
    EXPECT_THAT(page, Not(HasSubstr("<img")));
    EXPECT_THAT(page, Not(HasSubstr("<b onload")));
    EXPECT_EQ(first_unbalanced_tag(page), "");
  }
}

TEST(Report, ASeriesOfRunsStartsWithWhatDiffers) {
  const std::vector<json> reports = {sample_report(4, 1), sample_report(3, 2), sample_report(2, 3)};
  const std::string page = report_html(reports);
  keep("compared.html", page);
  EXPECT_EQ(first_unbalanced_tag(page), "");
  EXPECT_LT(page.find("<th>bits</th>"), page.find("Perplexity</th>"));
  EXPECT_THAT(page, Not(HasSubstr("<th>group</th>")));  // the same in all
  EXPECT_THAT(page, HasSubstr("group: 64"));
  EXPECT_THAT(page, Not(HasSubstr("Not on equal terms")));
  EXPECT_THAT(report_text(reports), HasSubstr("out-3"));
}

TEST(Report, SaysWhenRunsDoNotCompare) {
  json other = sample_report(3, 2);
  other["evaluation"]["tokens"] = 1000;
  EXPECT_THAT(report_html({sample_report(4, 1), other}), HasSubstr("the number of tokens"));
}

// A run that stopped early, or a report by another version: any key may be missing or of another type.
TEST(Report, DrawsWhateverIsThere) {
  const json whole = sample_report(4, 1);
  EXPECT_EQ(first_unbalanced_tag(report_html({json::object()})), "");
  EXPECT_EQ(first_unbalanced_tag(report_html({json::object(), json::array()})), "");
  for (const auto& [key, value] : whole.items()) {
    SCOPED_TRACE(key);
    json without = whole;
    without.erase(key);
    EXPECT_EQ(first_unbalanced_tag(report_html({without})), "");
    for (const json& odd :
         {json(nullptr), json("words"), json(-1e308), json::array({1, "x", nullptr}), json{{"a", {1}}}}) {
      json strange = whole;
      strange[key] = odd;
      EXPECT_EQ(first_unbalanced_tag(report_html({strange})), "");
      EXPECT_EQ(first_unbalanced_tag(report_html({whole, strange})), "");
      report_text({strange});
    }
  }
}

TEST(Report, FiguresThatAreNotFiniteAreNamed) {
  json report = sample_report(2, 1);
  report["evaluation"]["after"]["perplexity"] = nullptr;  // what JSON makes of NaN
  report["layers"][5]["relative_loss"] = nullptr;
  EXPECT_THAT(report_html({report}), HasSubstr("not finite"));
}

TEST(Report, ReadsAFolderOrTheFileAndNamesWhatIsMissing) {
  const auto folder = std::filesystem::temp_directory_path() / ("pare_report_test_" + std::to_string(getpid()));
  std::filesystem::create_directories(folder);
  try {
    read_report(folder);
    FAIL();
  } catch (const InputError& error) {
    EXPECT_THAT(error.what(), HasSubstr(folder.string()));
  }
  std::ofstream(folder / "report.json") << sample_report(4, 1).dump();
  EXPECT_EQ(read_report(folder), sample_report(4, 1));
  EXPECT_EQ(read_report(folder / "report.json"), sample_report(4, 1));
  std::ofstream(folder / "report.json") << "[1]";
  EXPECT_THROW(read_report(folder), InputError);
  EXPECT_THROW(read_report(folder / "nothing"), InputError);
  std::filesystem::remove_all(folder);
}

TEST(ReportValues, WritesNumbersAsPeopleReadThem) {
  EXPECT_EQ(significant(15.214, 4), "15.21");
  EXPECT_EQ(significant(0.0041234, 2), "0.0041");
  EXPECT_EQ(significant(0, 3), "0");
  EXPECT_EQ(significant(1.25e-7, 2), "1.2e-07");
  EXPECT_EQ(significant(INFINITY, 2), "not finite");
  EXPECT_EQ(signed_percent(-0.0312, 2), "\u22123.1\u00a0%");
  EXPECT_EQ(count_words(134515008), "134.5\u00a0million");
  EXPECT_EQ(grouped_digits(65536), "65\u202f536");
  EXPECT_EQ(last_component("/a/b//"), "b");
  EXPECT_EQ(last_component("/"), "/");
  EXPECT_EQ(last_component("b"), "b");
}

TEST(ReportValues, AnEvaluationTextKeepsWhatItWasKeptApartFrom) {
  EXPECT_EQ(text_name("/texts/test.txt"), "test.txt");
  EXPECT_EQ(text_name("kept apart from: /a/b.txt (900 tokens)"), "text kept apart from b.txt (900 tokens)");
  EXPECT_EQ(text_name("kept apart from: /a/b.txt, /c/d.txt (9 tokens)"),
            "text kept apart from b.txt, d.txt (9 tokens)");
  EXPECT_EQ(text_name("kept apart from: written by the model itself"),
            "text written by the model itself, kept apart from calibration");
}

TEST(ReportValues, YamlHasTheRecipesOrder) {
  const json recipe = {
      {"bits", 4}, {"method", "gptq"}, {"sparsity", "2:4"}, {"layers", {{{"match", "*.q_proj"}, {"bits", 3}}}}};
  EXPECT_EQ(yaml_text(Field(recipe)),
            "method: gptq\nbits: 4\nsparsity: \"2:4\"\nlayers:\n  - bits: 3\n    match: \"*.q_proj\"\n");
}

}  // namespace
}  // namespace pare
