#!/usr/bin/env bash
# Every source file is as the pinned clang-format lays it out. `make format` does it.
cd "$(dirname "$0")/../.."
find src bench tests \( -name '*.h' -o -name '*.cpp' \) -print0 | xargs -0 clang-format-14 --dry-run -Werror
