// The NEON kernels against the plain C++ ones, on an AArch64 (or qemu's user-mode emulation of one): random panels and
// rows of every form. The plain ones are checked against Weight::unpack() by src/pare/kernels/matrix_test.cpp; both are
// templates over the same source, so what can differ is what cpu/neon.cpp says.
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <vector>

#include "pare/kernels/cpu/function_table.h"

namespace {

using namespace pare::cpu;

uint64_t state = 1;
uint64_t random_bits() {  // xorshift64
  state ^= state << 13;
  state ^= state >> 7;
  state ^= state << 17;
  return state;
}

int failures = 0, cases = 0;
void expect(bool same, const char* what, const char* form) {
  ++cases;
  if (!same && ++failures <= 20) std::printf("wrong: %s, %s\n", what, form);
}

std::vector<uint8_t> random_bytes(int64_t count) {
  std::vector<uint8_t> bytes(static_cast<size_t>(count));
  for (uint8_t& byte : bytes) byte = static_cast<uint8_t>(random_bits() >> 20);
  return bytes;
}

// f16, bf16 and f32 alike: patterns of moderate size.
void calm(std::vector<uint8_t>& bytes, Scales kind) {
  const size_t size = kind == Scales::f32 ? 4 : 2;
  for (size_t i = size - 1; i < bytes.size(); i += size) {
    bytes[i] = static_cast<uint8_t>((kind == Scales::f16 || kind == Scales::f16_min || is_super(kind) ? 0x28 : 0x3c) |
                                    (bytes[i] & 0x83));
  }
}

struct Random {
  std::vector<float> values;
  std::vector<int8_t> codes;
  std::vector<BlockFacts> facts;
  Rows rows;
};
Random random_rows(int64_t tokens, int64_t blocks) {
  Random r;
  for (int64_t i = 0; i < tokens * blocks * 32; ++i) {
    r.values.push_back(static_cast<float>(static_cast<int32_t>(random_bits() >> 32)) * 0x1p-30f);
  }
  std::vector<int8_t> codes(r.values.size());
  std::vector<BlockFacts> facts(static_cast<size_t>(tokens * blocks));
  r.codes = codes;
  r.facts = facts;
  kBaseline.quantize(r.values.data(), tokens * blocks, codes.data(), facts.data(), 1);
  kNeon.quantize(r.values.data(), tokens * blocks, r.codes.data(), r.facts.data(), 1);
  expect(codes == r.codes && std::memcmp(facts.data(), r.facts.data(), facts.size() * sizeof(BlockFacts)) == 0,
         "8-bit activations", "");
  // In tiles the blocks would lie in another order: for products it is all the same which block is which.
  r.rows = {tokens, blocks, r.values.data(), r.codes.data(), r.facts.data()};
  return r;
}

bool close(const std::vector<float>& a, const std::vector<float>& b) {
  double size = 1e-6;
  for (float v : a) size = std::fmax(size, std::fabs(static_cast<double>(v)));
  for (size_t i = 0; i < a.size(); ++i) {
    if (!(std::fabs(static_cast<double>(a[i]) - b[i]) <= 1e-5 * size)) return false;
  }
  return true;
}

void check_panels(Codes codes_kind, Scales scales_kind, bool zeros_stored, int64_t rows, int64_t blocks,
                  int64_t tokens) {
  Panels p;
  p.codes_kind = codes_kind;
  p.scales_kind = scales_kind;
  p.zeros_stored = zeros_stored;
  p.zero = codes_kind == Codes::sparse8 || codes_kind == Codes::table4 || codes_kind == Codes::bits8 ? 128 : 2;
  p.blocks = blocks;
  p.group_blocks = is_super(scales_kind) ? 1 : 3;
  p.groups = (blocks + p.group_blocks - 1) / p.group_blocks;
  const int64_t count = (rows + 15) / 16;
  std::vector<uint8_t> codes = random_bytes(count * panel_code_bytes(p)),
                       scales = random_bytes(count * panel_scale_bytes(p)),
                       zeros = random_bytes(count * panel_zero_bytes(p) + 1);
  if (!is_super(scales_kind)) calm(scales, scales_kind);
  if (is_super(scales_kind) || scales_kind == Scales::f16_min) calm(zeros, scales_kind);
  std::vector<uint8_t> kept = random_bytes(count * blocks * 512 + 64);
  std::vector<int64_t> starts;
  for (int64_t i = 0; i <= count; ++i) starts.push_back(i * blocks * 512);
  for (uint8_t& v : p.table) v = static_cast<uint8_t>(random_bits() >> 9);
  p.codes = codes.data();
  p.scales = scales.data();
  p.zeros = zeros.data();
  p.kept = kept.data();
  p.kept_start = starts.data();
  const Random x = random_rows(tokens, blocks);
  std::vector<float> room(static_cast<size_t>(panel_room(blocks) / 4 + 64));
  char form[100];
  std::snprintf(form, sizeof form, "codes %d, scales %d, zeros %d, %lld rows, %lld blocks, %lld tokens",
                static_cast<int>(codes_kind), static_cast<int>(scales_kind), zeros_stored, static_cast<long long>(rows),
                static_cast<long long>(blocks), static_cast<long long>(tokens));
  for (const Variant& how : {Variant{}, Variant{0, 1, false, 1, 1}})
    for (bool int8 : {true, false}) {
      std::vector<float> want(static_cast<size_t>(rows * tokens)), found(want.size());
      const auto run = [&](const FunctionTable& table, std::vector<float>& y) {
        (int8 ? table.panels_int8 : table.panels_f32)(p, x.rows, how, 0, count, rows, y.data(), rows, room.data());
      };
      run(kBaseline, want);
      run(kNeon, found);
      expect(close(want, found), int8 ? "int8" : "f32", form);
    }
}

void check_dense(DenseType type, int64_t rows, int64_t cols, int64_t tokens) {
  const int64_t size = type == DenseType::f32 ? 4 : 2, blocks = (cols + 31) / 32;
  std::vector<uint8_t> w = random_bytes(rows * cols * size);
  calm(w, type == DenseType::f32 ? Scales::f32 : type == DenseType::f16 ? Scales::f16 : Scales::bf16);
  const Random x = random_rows(tokens, blocks);
  std::vector<float> want(static_cast<size_t>(rows * tokens)), found(want.size());
  kBaseline.dense(type, w.data(), cols, x.rows, {}, 0, rows, want.data(), rows);
  kNeon.dense(type, w.data(), cols, x.rows, {}, 0, rows, found.data(), rows);
  expect(close(want, found), "dense", "");
}

void check_sparse_rows(DenseType type, int64_t rows, int64_t blocks, int64_t tokens) {
  std::vector<uint32_t> masks;
  std::vector<int64_t> starts{0};
  for (int64_t r = 0; r < rows; ++r) {
    starts.push_back(starts.back());
    for (int64_t b = 0; b < blocks; ++b) {
      masks.push_back(static_cast<uint32_t>(random_bits()));
      starts.back() += __builtin_popcount(masks.back());
    }
  }
  std::vector<uint8_t> kept = random_bytes(2 * starts.back() + 64);
  calm(kept, type == DenseType::f16 ? Scales::f16 : Scales::bf16);
  const SparseRows w{type, blocks, masks.data(), kept.data(), starts.data()};
  const Random x = random_rows(tokens, blocks);
  std::vector<float> room(static_cast<size_t>(panel_room(blocks) / 4 + 64));
  std::vector<float> want(static_cast<size_t>(rows * tokens)), found(want.size());
  kBaseline.sparse_rows(w, x.rows, {}, 0, rows, want.data(), rows, room.data());
  kNeon.sparse_rows(w, x.rows, {}, 0, rows, found.data(), rows, room.data());
  expect(close(want, found), "sparse rows", "");
}

}  // namespace

int main() {
  for (int64_t tokens : {1, 2, 5, 9}) {
    for (int64_t rows : {1, 16, 35}) {
      for (int c = 0; c <= static_cast<int>(Codes::sparse8); ++c) {
        const auto codes = static_cast<Codes>(c);
        for (Scales scales : {Scales::f16, Scales::bf16, Scales::f32, Scales::f16_min}) {
          if (scales == Scales::f16_min && (is_sparse(codes) || codes == Codes::table4)) continue;
          check_panels(codes, scales, false, rows, 7, tokens);
          if (scales != Scales::f16_min && !is_sparse(codes) && codes != Codes::table4)
            check_panels(codes, scales, true, rows, 1, tokens);
        }
        if (codes == Codes::bits4 || codes == Codes::bits5)
          check_panels(codes, Scales::super32_min, false, rows, 16, tokens);
        if (codes == Codes::bits2) check_panels(codes, Scales::super16_min, false, rows, 16, tokens);
        if (codes == Codes::bits3 || codes == Codes::bits6)
          check_panels(codes, Scales::super16, false, rows, 16, tokens);
        if (codes == Codes::table4) check_panels(codes, Scales::super32, false, rows, 16, tokens);
      }
      for (DenseType type : {DenseType::f16, DenseType::bf16, DenseType::f32}) {
        for (int64_t cols : {1, 16, 77, 1100}) check_dense(type, rows, cols, tokens);
        if (type != DenseType::f32) check_sparse_rows(type, rows, 3, tokens);
      }
    }
  }
  std::printf("%d comparisons, %d wrong\n", cases, failures);
  return failures == 0 && cases > 500 ? 0 : 1;
}
