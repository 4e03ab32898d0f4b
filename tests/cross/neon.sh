#!/usr/bin/env bash
# neon.sh BUILD: the NEON kernels, compiled for AArch64 and run by qemu. Exit code 77 (skipped) where either is missing.
set -euo pipefail
build=$1
source=$(cd "$(dirname "$0")/../.." && pwd)
compiler=aarch64-linux-gnu-g++
command -v "$compiler" >/dev/null && command -v qemu-aarch64 >/dev/null || {
  echo "neon: skipped, no $compiler or no qemu-aarch64 (Debian: g++-aarch64-linux-gnu, qemu-user)"
  exit 77
}
flags=(-std=c++20 -O2 -Wall -Wextra -Wconversion -Wno-sign-conversion -Werror -march=armv8.2-a+dotprod -static -I"$source/src")
mkdir -p "$build/neon"
for file in src/pare/kernels/cpu/baseline.cpp src/pare/kernels/cpu/neon.cpp tests/cross/neon_check.cpp; do
  object=$build/neon/$(basename "$file").o
  # compiled again only when something it is made of is newer
  if [ ! -f "$object" ] || [ -n "$(find "$source/$file" "$source/src/pare/kernels/cpu" -newer "$object" -print -quit)" ]; then
    "$compiler" "${flags[@]}" -c "$source/$file" -o "$object"
  fi
done
"$compiler" "${flags[@]}" "$build"/neon/*.o -o "$build/neon/check"
qemu-aarch64 "$build/neon/check"
