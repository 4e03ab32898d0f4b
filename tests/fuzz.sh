#!/usr/bin/env bash
# Each libFuzzer target for FUZZ_SECONDS, from its seeds in tests/fuzz_seeds/NAME; what it finds grows in build/corpus.
# Limits as we promise them: no hang over 5 s, no allocation over 64 MB for small files.
set -euo pipefail
cd "$(dirname "$0")/.."
test -f build/fuzz/build.ninja || cmake --preset fuzz >/dev/null
cmake --build --preset fuzz
shopt -s nullglob
count=0
for target in build/fuzz/bin/fuzz_*; do
  name=$(basename "$target")
  corpus="build/corpus/$name"
  mkdir -p "$corpus"
  seeds=(tests/fuzz_seeds/"${name#fuzz_}")
  [ -d "${seeds[0]}" ] || seeds=()
  log="build/corpus/$name.log"
  if ! "$target" -max_total_time="${FUZZ_SECONDS:-5}" -timeout=5 -max_len=65536 -malloc_limit_mb=64 -rss_limit_mb=1024 \
       -artifact_prefix="build/corpus/$name-" "$corpus" "${seeds[@]}" >"$log" 2>&1; then
    tail -n 40 "$log"
    echo "$name failed; the input is build/corpus/$name-*: run $target on it" >&2
    exit 1
  fi
  echo "$name: $(grep -oE 'Done [0-9]+ runs' "$log" || true)"
  count=$((count + 1))
done
echo "$count readers fuzzed"
