#!/usr/bin/env bash
# make test: all of the tests, in the order in which a fault is cheapest to find. Needs what setup/ installs.
set -euo pipefail
cd "$(dirname "$0")/.."
step() { printf '\n== %s\n' "$1"; }

step "release: tests"
nice -n 5 ctest --test-dir build/release --output-on-failure -j2

step "AddressSanitizer and UndefinedBehaviorSanitizer: the parts that need no torch"
test -f build/asan-ubsan/build.ninja || cmake --preset asan-ubsan >/dev/null
cmake --build --preset asan-ubsan
ctest --test-dir build/asan-ubsan --output-on-failure -j2

step "fuzzing each reader for ${FUZZ_SECONDS:-5} s"
tests/fuzz.sh

printf '\nAll tests passed.\n'
