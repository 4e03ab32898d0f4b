#include "pare/runtime/sequence.h"

#include <gtest/gtest.h>
#include <sys/mman.h>

namespace pare {
namespace {

uint64_t resident_bytes(const std::vector<AlignedBuffer>& buffers) {
  uint64_t pages = 0;
  for (const AlignedBuffer& buffer : buffers) {
    std::vector<unsigned char> present(static_cast<size_t>((buffer.size() + 4095) / 4096));
    EXPECT_EQ(mincore(const_cast<uint8_t*>(buffer.data()), static_cast<size_t>(buffer.size()), present.data()), 0);
    for (unsigned char page : present) pages += page & 1;
  }
  return pages * 4096;
}

TEST(Sequence, CountsThePagesThatItsTokensTake) {
  for (CacheType type : {CacheType::f16, CacheType::int8}) {
    for (const CacheShape& base : {CacheShape{.layers = 2, .kv_heads = 3, .dim = 64, .capacity = 1000},
                                   CacheShape{.layers = 1, .kv_heads = 5, .dim = 24, .capacity = 70},
                                   CacheShape{.layers = 3, .kv_heads = 1, .dim = 128, .capacity = 4096}}) {
      CacheShape shape = base;
      shape.type = type;
      auto impl = std::make_unique<Sequence::Impl>(shape);
      impl->length = shape.capacity;
      Sequence whole(std::move(impl));
      for (int64_t tokens : {int64_t{0}, int64_t{1}, int64_t{15}, int64_t{33}, int64_t{64}, shape.capacity}) {
        SCOPED_TRACE("heads " + std::to_string(shape.kv_heads) + ", tokens " + std::to_string(tokens));
        const auto copy = whole.fork(tokens);  // writes what is written for so many tokens
        const auto& c = copy->impl();
        EXPECT_EQ(copy->bytes(), resident_bytes(c.keys) + resident_bytes(c.values) + resident_bytes(c.key_scales) +
                                     resident_bytes(c.value_scales));
        copy->truncate(0);  // the pages stay
        EXPECT_EQ(copy->bytes(), shape.bytes(tokens));
      }
    }
  }
}

}  // namespace
}  // namespace pare
