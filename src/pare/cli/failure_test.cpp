#include "pare/cli/failure.h"

#include <gtest/gtest.h>

#include <new>
#include <stdexcept>

namespace pare {
namespace {

TEST(Failure, OutOfMemoryIsOneLineWhoeverNoticedIt) {
  const std::runtime_error torch(
      "[enforce fail at alloc_cpu.cpp:124] err == 0. DefaultCPUAllocator: can't allocate memory: you tried to allocate "
      "4000000000000 bytes. Error code 12 (Cannot allocate memory)\nException raised from alloc_cpu (most recent call "
      "first):\nframe #0: ...");
  const std::runtime_error other("[enforce fail at alloc_cpu.cpp:81] . DefaultCPUAllocator: not enough memory: ...");
  const std::bad_alloc standard;
  for (const std::exception* error :
       {static_cast<const std::exception*>(&torch), static_cast<const std::exception*>(&other),
        static_cast<const std::exception*>(&standard)}) {
    const Failure failure = describe_failure(*error, "compress");
    EXPECT_EQ(failure.message, "out of memory; give --memory or fewer --samples");
    EXPECT_EQ(failure.code, Exit::resources);
  }
  EXPECT_EQ(describe_failure(standard, "inspect").message, "out of memory");
}

TEST(Failure, OurOwnErrorsKeepTheirWordsAndCode) {
  const Failure failure = describe_failure(InputError("a.gguf: cut short, not enough memory card"), "eval");
  EXPECT_EQ(failure.message, "a.gguf: cut short, not enough memory card");
  EXPECT_EQ(failure.code, Exit::bad_input);
  EXPECT_EQ(describe_failure(std::runtime_error("odd"), "eval").code, Exit::failed);
}

}  // namespace
}  // namespace pare
