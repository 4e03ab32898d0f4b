#include "pare/kernels/matrix.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <cstdlib>
#include <cstring>
#include <limits>
#include <sstream>

#include "pare/base/random.h"
#include "pare/kernels/functions.h"
#include "pare/kernels/guarded_memory.h"
#include "pare/kernels/panel_pack.h"
#include "pare/kernels/sparse_rows.h"
#include "pare/kernels/test_weights.h"

namespace pare {
namespace {

std::vector<float> random_rows(int64_t tokens, int64_t cols, uint64_t seed) {
  const CounterRandom random(seed, "activations");
  std::vector<float> x(static_cast<size_t>(tokens * cols));
  for (size_t i = 0; i < x.size(); ++i) x[i] = static_cast<float>(random.uniform(i) * 4 - 2);
  return x;
}

struct Case {
  std::string kind;
  int64_t rows, cols, tokens;
  Isa isa;
  Precision precision;
  std::string line() const {
    return "PARE_KERNEL_CASE='" + kind + " " + std::to_string(rows) + " " + std::to_string(cols) + " " +
           std::to_string(tokens) + " " + name_of(isa) + (precision == Precision::int8 ? " int8'" : " f32'");
  }
};

// Weight and its definition, made once for many cases.
struct Subject {
  Subject(const std::string& kind, int64_t rows, int64_t cols)
      : weight(random_weight(kind, rows, cols, static_cast<uint64_t>(rows * 1000 + cols))), values(weight.unpack()) {
    ThreadPool one({.threads = 1});
    packed = pack_panels(weight, one);
    sparse = pack_sparse_rows(weight, one);
    if (!packed && !sparse && (weight.mask || !std::holds_alternative<Dense>(weight.base))) {
      weight = dense_weight({rows, cols}, Dtype::f32, values);  // as Matrix::prepare does
    }
  }
  Weight weight;
  std::vector<float> values;
  std::optional<PackedPanels> packed;
  std::optional<PackedSparseRows> sparse;
};

// Another way to go for every case, so that all of them are met.
cpu::Variant any_variant(const Case& c) {
  const CounterRandom random(static_cast<uint64_t>(c.rows * 7919 + c.cols * 31 + c.tokens), c.kind);
  const auto pick = [&](uint64_t which, std::initializer_list<int64_t> of) {
    return *(of.begin() + random.bits(which) % of.size());
  };
  return {static_cast<int32_t>(pick(0, {0, 512, 4096})), static_cast<int32_t>(pick(1, {1, 2})), pick(2, {0, 1}) == 1,
          static_cast<int32_t>(pick(3, {1, 4, 8})), pick(4, {1, 1 << 12, 1 << 20})};
}

// Nothing, or what is wrong: y of the kernel against sums in double of Weight::unpack().
std::string check(const Case& c, const Subject& subject) {
  ThreadPool one({.threads = 1});
  const std::vector<float> x = random_rows(c.tokens, c.cols, 7);
  std::vector<float> in_order = x;
  if (subject.packed && !subject.packed->order.empty()) {
    for (int64_t t = 0; t < c.tokens; ++t) {
      for (int64_t k = 0; k < c.cols; ++k) {
        in_order[static_cast<size_t>(t * c.cols + k)] =
            x[static_cast<size_t>(t * c.cols + subject.packed->order[static_cast<size_t>(k)])];
      }
    }
  }
  Activations activations(c.cols, c.precision);
  activations.assign(in_order.data(), c.tokens, c.cols, one);
  const cpu::Rows made = activations.rows();
  const auto padded = static_cast<size_t>(made.blocks * 32 * c.tokens),
             blocks = static_cast<size_t>(made.blocks * c.tokens);
  const cpu::FunctionTable& functions = functions_of(c.isa);
  const auto count = static_cast<size_t>(c.rows * c.tokens);
  Guarded values(padded * 4), codes(padded), facts(blocks * sizeof(cpu::BlockFacts)), out(count * 4);
  const cpu::Variant how = any_variant(c);
  float* y = out.as<float>();
  std::fill_n(y, count, std::numeric_limits<float>::quiet_NaN());
  cpu::Rows rows{c.tokens, made.blocks, guard(values, made.values, padded), nullptr, nullptr};
  std::vector<double> exact(in_order.begin(), in_order.end());  // what the kernel is told to multiply with
  if (c.precision == Precision::int8 && subject.packed) {
    rows.codes = guard(codes, made.codes, padded);
    rows.facts = guard(facts, made.facts, blocks);
    for (int64_t tile = 0; tile < c.tokens; tile += cpu::tile_width(c.tokens, tile)) {
      const int64_t width = cpu::tile_width(c.tokens, tile);
      for (int64_t t = 0; t < width; ++t) {
        for (int64_t k = 0; k < c.cols; ++k) {
          const int64_t block = tile * made.blocks + k / 32 * width + t;
          exact[static_cast<size_t>((tile + t) * c.cols + k)] =
              static_cast<double>(made.facts[block].scale) * made.codes[32 * block + k % 32];
        }
      }
    }
  }
  if (subject.packed) {
    cpu::Panels panels = subject.packed->panels;
    const int64_t panel_count = (c.rows + 15) / 16;
    const auto size = [&](int64_t bytes) { return static_cast<size_t>(bytes * panel_count); };
    const size_t code_bytes = size(panel_code_bytes(panels)), scale_bytes = size(panel_scale_bytes(panels)),
                 zero_bytes = size(panel_zero_bytes(panels));
    Guarded g1(code_bytes), g2(scale_bytes), g3(zero_bytes + 1), g4(static_cast<size_t>(subject.packed->kept.size()));
    if (panels.kept != nullptr) panels.kept = guard(g4, panels.kept, static_cast<size_t>(subject.packed->kept.size()));
    panels.codes = guard(g1, panels.codes, code_bytes);
    panels.scales = guard(g2, panels.scales, scale_bytes);
    panels.zeros = guard(g3, panels.zeros, zero_bytes);
    AlignedBuffer room(cpu::panel_room(panels.blocks));
    (c.precision == Precision::int8 ? functions.panels_int8 : functions.panels_f32)(panels, rows, how, 0, panel_count,
                                                                                    c.rows, y, c.rows, room.data());
  } else if (subject.sparse) {
    cpu::SparseRows sparse = subject.sparse->rows;
    const auto mask_bytes = static_cast<size_t>(c.rows * sparse.masks_per_row * 4),
               kept_bytes = static_cast<size_t>(subject.sparse->kept.size());
    Guarded masks(mask_bytes), kept(kept_bytes);
    sparse.masks = guard(masks, sparse.masks, mask_bytes / 4);
    sparse.kept = guard(kept, sparse.kept, kept_bytes);
    AlignedBuffer room(cpu::panel_room(rows.blocks));
    functions.sparse_rows(sparse, rows, how, 0, c.rows, y, c.rows, room.data());
  } else {
    const auto& dense = std::get<Dense>(subject.weight.base);
    const auto type = dense.dtype == Dtype::f16    ? cpu::DenseType::f16
                      : dense.dtype == Dtype::bf16 ? cpu::DenseType::bf16
                                                   : cpu::DenseType::f32;
    Guarded w(dense.data.size());
    functions.dense(type, guard(w, dense.data.span().data(), dense.data.size()), c.cols, rows, how, 0, c.rows, y,
                    c.rows);
  }
  for (int64_t t = 0; t < c.tokens; ++t) {
    for (int64_t r = 0; r < c.rows; ++r) {
      double want = 0, size = 0;
      for (int64_t k = 0; k < c.cols; ++k) {
        const int64_t column =
            subject.packed && !subject.packed->order.empty() ? subject.packed->order[static_cast<size_t>(k)] : k;
        const double term =
            exact[static_cast<size_t>(t * c.cols + k)] * subject.values[static_cast<size_t>(r * c.cols + column)];
        want += term;
        size += std::fabs(term);
      }
      // One rounding of 2^-24 for each block's sum and each scale; offsets (code and zero apart) can be 16 times the
      // weight itself.
      const double bound = (c.precision == Precision::int8 ? 4e-6 : 2e-6) * size + 1e-5;
      const double found = y[t * c.rows + r];
      if (!(std::fabs(found - want) <= bound)) {
        return c.line() + ": row " + std::to_string(r) + ", token " + std::to_string(t) + ": found " +
               std::to_string(found) + ", expected " + std::to_string(want) + " within " + std::to_string(bound);
      }
    }
  }
  return "";
}

// From the line that a failure prints.
Case case_of(const char* line) {
  std::istringstream words(line);
  Case c{};
  std::string isa, precision;
  words >> c.kind >> c.rows >> c.cols >> c.tokens >> isa >> precision;
  c.precision = precision == "f32" ? Precision::f32 : Precision::int8;
  for (Isa usable : usable_isas()) {
    if (isa == name_of(usable)) c.isa = usable;
  }
  return c;
}

TEST(Kernels, AgreeWithTheScalarReferenceInEveryShapeTypeAndInstructionSet) {
  if (const char* line = std::getenv("PARE_KERNEL_CASE"); line != nullptr) {  // that case alone
    const Case c = case_of(line);
    EXPECT_EQ(check(c, Subject(c.kind, c.rows, c.cols)), "");
    return;
  }
  int64_t cases = 0;
  int failures = 0;
  for (const std::string& kind : weight_kinds()) {
    const int64_t multiple = column_multiple(kind);
    for (int64_t rows : {1, 7, 16, 17, 33}) {
      for (int64_t wish : {1, 31, 64, 200, 513, 1100}) {
        if (wish == 1100 && !kind.starts_with("F16") && !kind.starts_with("BF16")) continue;  // dense rows go in pieces
        const int64_t cols = (wish + multiple - 1) / multiple * multiple;
        const Subject subject(kind, rows, cols);
        for (int64_t tokens : {1, 2, 3, 5, 8, 9, 13}) {
          for (Isa isa : usable_isas()) {
            for (Precision precision : {Precision::int8, Precision::f32}) {
              const std::string wrong = check({kind, rows, cols, tokens, isa, precision}, subject);
              ++cases;
              if (!wrong.empty() && ++failures <= 20) ADD_FAILURE() << wrong;
            }
          }
        }
      }
    }
  }
  RecordProperty("cases", std::to_string(cases));
  printf("%lld cases, %d wrong\n", static_cast<long long>(cases), failures);
  EXPECT_EQ(failures, 0);
  EXPECT_GE(cases, 20000);
}

TEST(Kernels, RoundActivationsToTheSameBytesOnEveryInstructionSet) {
  const int64_t blocks = 40;
  std::vector<float> x = random_rows(1, blocks * 32, 3);
  for (int64_t i = 0; i < 32; ++i) x[static_cast<size_t>(i)] = static_cast<float>(i) - 15.5f;  // ties among the codes
  std::fill_n(x.begin() + 32, 32, 0.0f);
  std::fill_n(x.begin() + 64, 32, 1e-40f);  // too small for 127 / largest
  x[100] = 3e38f;
  std::vector<int8_t> codes(x.size()), want(x.size());
  std::vector<cpu::BlockFacts> facts(blocks);
  std::vector<float> want_scales(blocks), want_sums(2 * blocks);
  for (int64_t b = 0; b < blocks; ++b) {
    float largest = 0;
    for (int64_t i = 32 * b; i < 32 * b + 32; ++i) largest = std::max(largest, std::fabs(x[static_cast<size_t>(i)]));
    const bool any = largest >= 0x1p-100f;
    want_scales[static_cast<size_t>(b)] = any ? largest / 127.0f : 0;
    for (int64_t i = 32 * b; i < 32 * b + 32; ++i) {
      const auto code = static_cast<int>(std::nearbyint(x[static_cast<size_t>(i)] * (any ? 127.0f / largest : 0.0f)));
      want[static_cast<size_t>(i)] = static_cast<int8_t>(code);
      want_sums[static_cast<size_t>(i / 16)] += static_cast<float>(code);
    }
  }
  for (Isa isa : usable_isas()) {
    SCOPED_TRACE(name_of(isa));
    functions_of(isa).quantize(x.data(), blocks, codes.data(), facts.data(), 1);
    EXPECT_EQ(codes, want);
    for (size_t b = 0; b < facts.size(); ++b) {
      EXPECT_EQ(facts[b].scale, want_scales[b]);
      EXPECT_EQ(facts[b].half_sum[0], want_sums[2 * b]);
      EXPECT_EQ(facts[b].half_sum[1], want_sums[2 * b + 1]);
      EXPECT_EQ(facts[b].sum, want_sums[2 * b] + want_sums[2 * b + 1]);
      EXPECT_EQ(facts[b].scaled_sum, want_scales[b] * facts[b].sum);
      EXPECT_EQ(facts[b].scaled_half_sum[1], want_scales[b] * want_sums[2 * b + 1]);
    }
  }
}

TEST(Matrix, GivesTheSameBytesForAnyNumberOfThreadsAndForATokenAloneOrAmongOthers) {
  for (const std::string& kind : weight_kinds()) {
    for (Precision precision : {Precision::int8, Precision::f32}) {
      SCOPED_TRACE(kind + (precision == Precision::int8 ? " int8" : " f32"));
      const int64_t rows = 83, cols = 512, tokens = 21;
      const Weight weight = random_weight(kind, rows, cols, 11);
      const std::vector<float> x = random_rows(tokens, cols, 5);
      std::vector<float> want(static_cast<size_t>(rows * tokens)), found(want.size());
      for (int threads : {1, 2, 3}) {
        ThreadPool pool({.threads = threads});
        const Matrix matrix = Matrix::prepare(weight, pool);
        Activations all(cols, precision), alone(cols, precision);
        all.assign(x.data(), tokens, cols, pool);
        multiply(matrix, all, found.data(), rows, pool);
        if (threads == 1) want = found;
        ASSERT_EQ(std::memcmp(found.data(), want.data(), want.size() * 4), 0) << threads << " threads";
        for (int64_t t = 0; t < tokens; ++t) {
          std::vector<float> y(static_cast<size_t>(rows));
          alone.assign(x.data() + t * cols, 1, cols, pool);
          multiply(matrix, alone, y.data(), rows, pool);
          ASSERT_EQ(std::memcmp(y.data(), want.data() + t * rows, y.size() * 4), 0) << "token " << t;
        }
      }
    }
  }
}

TEST(Matrix, HoldsTheBlocksOfGgufExactly) {
  ThreadPool one({.threads = 1});
  const int64_t rows = 19, cols = 512;
  std::vector<float> unit_vectors(static_cast<size_t>(cols * cols));
  for (int64_t c = 0; c < cols; ++c) unit_vectors[static_cast<size_t>(c * cols + c)] = 1;
  Activations x(cols, Precision::f32);
  x.assign(unit_vectors.data(), cols, cols, one);
  for (const std::string& kind : weight_kinds()) {
    if (const GgmlType* type = ggml_type_named(kind); type == nullptr || type->block_elements == 1) continue;
    const Weight weight = random_weight(kind, rows, cols, 3);
    const std::vector<float> want = weight.unpack();
    const Matrix matrix = Matrix::prepare(weight, one);
    EXPECT_TRUE(matrix.layout().starts_with("panels")) << kind << ": " << matrix.layout();
    std::vector<float> found(static_cast<size_t>(rows * cols));
    multiply(matrix, x, found.data(), rows, one);
    for (int64_t r = 0; r < rows; ++r) {
      for (int64_t c = 0; c < cols; ++c) {
        ASSERT_EQ(found[static_cast<size_t>(c * rows + r)], want[static_cast<size_t>(r * cols + c)])
            << kind << " row " << r << ", column " << c;
      }
    }
  }
}

TEST(Matrix, SaysHowItIsLaidOutAndWhatAProductReads) {
  ThreadPool pool({.threads = 2});
  EXPECT_EQ(Matrix::prepare(random_weight("int4-g128", 64, 512, 1), pool).layout(),
            "panels of 4-bit codes, groups of 128");
  EXPECT_EQ(Matrix::prepare(random_weight("Q6_K", 64, 512, 1), pool).layout(),
            "panels of 6-bit codes, groups of 16 in superblocks of 256");
  EXPECT_EQ(Matrix::prepare(random_weight("NVFP4", 64, 512, 1), pool).layout(), "panels of 4-bit codes, groups of 16");
  EXPECT_EQ(Matrix::prepare(random_weight("TQ1_0", 64, 512, 1), pool).layout(), "panels of 2-bit codes, groups of 256");
  EXPECT_EQ(Matrix::prepare(random_weight("F16", 64, 512, 1), pool).layout(), "rows of F16");
  const Matrix q4 = Matrix::prepare(random_weight("Q4_0", 64, 512, 1), pool);
  EXPECT_NEAR(static_cast<double>(q4.bytes()), 64 * 512 * 4.5 / 8, 128);
  const Matrix iq2 = Matrix::prepare(random_weight("IQ2_XXS", 64, 512, 1), pool);
  EXPECT_NEAR(static_cast<double>(iq2.bytes()), 64 * 512 * (4 + 8 / 32.0 + 16 / 256.0) / 8, 192);
}

TEST(Matrix, TakesNoMoreMemoryThanItSaysBeforehand) {
  ThreadPool pool({.threads = 1});
  for (const std::string& kind : weight_kinds()) {
    const Weight weight = random_weight(kind, 512, 2048, 1);
    const uint64_t said = prepared_bytes(form_of(weight)), taken = Matrix::prepare(weight, pool).bytes();
    EXPECT_LE(taken, said + said / 50) << kind;
    if (!weight.mask) {
      EXPECT_GE(taken, said / 2) << kind;
    }
  }
}

TEST(ThreadPool, RunsEveryShareOnceEachTime) {
  for (int threads : {1, 2, 5}) {
    ThreadPool pool({.threads = threads});
    std::vector<int> counts(1000, 0);
    for (int round = 0; round < 2000; ++round)
      pool.for_each(1000, [&](int64_t i) { ++counts[static_cast<size_t>(i)]; });
    EXPECT_THAT(counts, testing::Each(2000));
  }
}

}  // namespace
}  // namespace pare
