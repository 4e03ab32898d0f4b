#!/usr/bin/env bash
# fuzz.sh                 builds the fuzz targets and runs them all, as ctest
# fuzz.sh PROGRAM NAME    one libFuzzer target for FUZZ_SECONDS, from its seeds in tests/fuzz_seeds/NAME
#
# The inputs that reach new code stay in build/corpus/NAME for the next run. What we promise of a reader: no fault of
# memory, no undefined behaviour, no hang, no allocation over 64 MB for a file this small.
set -euo pipefail
cd "$(dirname "$0")/.."

if [ $# -eq 0 ]; then
  [ -f build/fuzz/build.ninja ] || cmake --preset fuzz
  cmake --build --preset fuzz
  exec ctest --test-dir build/fuzz --output-on-failure -j"$(nproc)"
fi

program=$1
name=$2
corpus=build/corpus/$name
mkdir -p "$corpus"
folders=("$corpus")
[ -d "tests/fuzz_seeds/$name" ] && folders+=("tests/fuzz_seeds/$name")
log=$corpus.log
if ! "$program" -max_total_time="${FUZZ_SECONDS:-5}" -timeout=5 -max_len=65536 -malloc_limit_mb=64 -rss_limit_mb=1024 \
     -artifact_prefix="$corpus-" "${folders[@]}" >"$log" 2>&1; then
  tail -n 60 "$log"
  echo "$name: to see it again: $program $(sed -n 's/.*Test unit written to //p' "$log" | tail -n 1)"
  exit 1
fi
tail -n 1 "$log"
