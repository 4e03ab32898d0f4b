#!/usr/bin/env bash
# Peak memory at Llama-3-8B's shapes (random weights): 3 and 6 of its 32 layers, since the peak must not grow with them.
# Each is compressed to 4 bits with 16 x 512 calibration tokens under --memory 6GB; wants 12 GB of disk. Exit code 1 when a
# peak is above 6 GB, or that of 6 layers more than 5 % above that of 3.
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
python3 - "$work" <<'P'
import json, sys
peak = {layers: json.load(open(f"{sys.argv[1]}/report-{layers}.json"))["resources"]["peak_rss_bytes"] for layers in (3, 6)}
faults = [f"{layers} layers: peak {bytes / 1e9:.2f} GB is above the 6 GB of --memory" for layers, bytes in peak.items() if bytes > 6e9]
if peak[6] > 1.05 * peak[3]:
    faults.append(f"the peak grows with the layers: {peak[3] / 1e9:.2f} GB with 3, {peak[6] / 1e9:.2f} GB with 6")
print(*faults or ["peaks within 6 GB, and 6 layers take no more than 3"], sep="\n")
sys.exit(1 if faults else 0)
P
