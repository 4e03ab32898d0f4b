#!/usr/bin/env bash
# Peak memory at Llama-3-8B's shapes (random weights): 3 and 6 of its 32 layers, since the peak must not grow with them.
# Each is compressed to 4 bits with 16 x 512 calibration tokens under --memory 6GB; wants 12 GB of disk.
set -euo pipefail
cd "$(dirname "$0")/.."
work=${1:-build/bench-memory}
mkdir -p "$work"
head -c 400000 /dev/urandom | base64 >"$work/text.txt"
for layers in 3 6; do
  model=$work/llama8b-$layers
  [ -f "$model/config.json" ] || build/release/bin/make_model "$model" llama8b --layers "$layers"
  rm -rf "$work/out-$layers" "$work/out-$layers.journal"
  echo "== $layers layers"
  ./pare compress "$model" -o "$work/out-$layers" --bits 4 --calib "$work/text.txt" --samples 16 --length 512 \
    --memory 6GB --eval-tokens 0 --json >"$work/report-$layers.json"
  python3 - "$work/report-$layers.json" <<'P'
import json, sys
resources = json.load(open(sys.argv[1]))["resources"]
print(f"peak {resources['peak_rss_bytes'] / 1e9:.2f} GB (planned {resources['planned_peak_bytes'] / 1e9:.2f} GB), {resources['seconds']:.0f} s")
P
  rm -rf "$model" "$work/out-$layers"
done
