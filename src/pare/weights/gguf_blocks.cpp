#include "pare/weights/gguf_blocks.h"

#include "pare/base/error.h"
#include "pare/io/dtype.h"
#include "pare/weights/gguf_block_codecs.h"

namespace pare {
namespace {

template <Dtype dtype>
void decode_floats(const uint8_t* src, int64_t count, float* dst) {
  to_float(dtype, reinterpret_cast<const std::byte*>(src), count, dst);
}
template <Dtype dtype>
void encode_floats(const float* src, int64_t count, uint8_t* dst) {
  from_float(dtype, src, count, reinterpret_cast<std::byte*>(dst));
}

struct Codec {
  uint32_t id;
  void (*decode)(const uint8_t* src, int64_t blocks, float* dst);
  void (*encode)(const float* src, int64_t blocks, uint8_t* dst);  // nothing: read only
};
constexpr Codec kCodecs[] = {
    {0, decode_floats<Dtype::f32>, encode_floats<Dtype::f32>},
    {1, decode_floats<Dtype::f16>, encode_floats<Dtype::f16>},
    {30, decode_floats<Dtype::bf16>, encode_floats<Dtype::bf16>},
    {2, gguf::decode_q4_0, gguf::encode_q4_0},
    {3, gguf::decode_q4_1, gguf::encode_q4_1},
    {6, gguf::decode_q5_0, nullptr},
    {7, gguf::decode_q5_1, nullptr},
    {8, gguf::decode_q8_0, gguf::encode_q8_0},
    {10, gguf::decode_q2_k, nullptr},
    {11, gguf::decode_q3_k, nullptr},
    {12, gguf::decode_q4_k, nullptr},
    {13, gguf::decode_q5_k, nullptr},
    {14, gguf::decode_q6_k, nullptr},
    {20, gguf::decode_iq4_nl, nullptr},
    {23, gguf::decode_iq4_xs, nullptr},
    {16, gguf::decode_lattice<16>, nullptr},  // IQ2_XXS
    {17, gguf::decode_lattice<17>, nullptr},  // IQ2_XS
    {18, gguf::decode_lattice<18>, nullptr},  // IQ3_XXS
    {19, gguf::decode_lattice<19>, nullptr},  // IQ1_S
    {21, gguf::decode_lattice<21>, nullptr},  // IQ3_S
    {22, gguf::decode_lattice<22>, nullptr},  // IQ2_S
    {29, gguf::decode_lattice<29>, nullptr},  // IQ1_M
    {34, gguf::decode_tq1_0, nullptr},
    {35, gguf::decode_tq2_0, nullptr},
    {39, gguf::decode_mxfp4, nullptr},
    {40, gguf::decode_nvfp4, nullptr},
    {41, gguf::decode_q1_0, nullptr},
    {42, gguf::decode_q2_0, nullptr},
};

const Codec* codec_of(const GgmlType& type) {
  for (const Codec& codec : kCodecs) {
    if (codec.id == type.id) return &codec;
  }
  return nullptr;
}

int64_t block_count(const GgmlType& type, size_t elements, size_t bytes) {
  const auto count = static_cast<int64_t>(elements);
  PARE_ASSERT(count % type.block_elements == 0);
  const int64_t blocks = count / type.block_elements;
  PARE_ASSERT(static_cast<int64_t>(bytes) == blocks * type.block_bytes);
  return blocks;
}

}  // namespace

bool can_decode(const GgmlType& type) {
  return codec_of(type) != nullptr;
}

bool can_encode(const GgmlType& type) {
  const Codec* codec = codec_of(type);
  return codec != nullptr && codec->encode != nullptr;
}

void decode_blocks(const GgmlType& type, std::span<const std::byte> src, std::span<float> dst) {
  const Codec* codec = codec_of(type);
  PARE_ASSERT(codec != nullptr);
  codec->decode(reinterpret_cast<const uint8_t*>(src.data()), block_count(type, dst.size(), src.size()), dst.data());
}

void encode_blocks(const GgmlType& type, std::span<const float> src, std::span<std::byte> dst) {
  const Codec* codec = codec_of(type);
  PARE_ASSERT(codec != nullptr && codec->encode != nullptr);
  codec->encode(src.data(), block_count(type, src.size(), dst.size()), reinterpret_cast<uint8_t*>(dst.data()));
}

}  // namespace pare
