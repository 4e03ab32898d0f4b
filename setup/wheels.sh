#!/usr/bin/env bash
# Takes what Pare needs out of wheels from PyPI. Versions and SHA-256: setup/wheels.txt. Each download is done once.
#   wheels.sh torch   headers and CPU libraries of libtorch, into build/torch
#   wheels.sh model   the demo's model, into build/models
# Does nothing, and needs no network, when that is there.
set -euo pipefail
cd "$(dirname "$0")/.."
downloads=build/downloads

fail() {
  echo "setup: $*" >&2
  exit 1
}

is_whole() { echo "$2  $1" | sha256sum --check --status 2>/dev/null; }

# The first python3 that has pip: the one on the path may be somebody's environment without it.
python_with_pip() {
  local python
  for python in python3 /usr/bin/python3; do
    if "$python" -m pip --version >/dev/null 2>&1; then echo "$python" && return; fi
  done
  fail "no python3 with pip. On Debian: apt-get install python3-pip"
}

# The same wheels everywhere: libtorch's headers and C++ libraries do not depend on the version of Python.
platform=(--python-version 3.11 --implementation cp --platform manylinux_2_28_x86_64 --platform manylinux_2_25_x86_64
          --platform manylinux_2_17_x86_64 --platform manylinux2014_x86_64)

# wheel NAME VERSION SHA256: prints where the file is. A download has its final name only when it is whole.
wheel() {
  local name=$1 version=$2 hash=$3 python file partial
  file=$(find "$downloads" -maxdepth 1 -name "${name//-/_}-$version-*.whl" -print -quit)
  if [ -n "$file" ] && is_whole "$file" "$hash"; then echo "$file" && return; fi
  python=$(python_with_pip)
  partial=$downloads/partial-$name
  rm -rf "$partial"
  echo "setup: downloading $name $version" >&2
  "$python" -m pip download --quiet --disable-pip-version-check --no-deps --only-binary=:all: "${platform[@]}" \
    --dest "$partial" "$name==$version" >&2 || fail "pip could not download $name $version from PyPI. Is the network there, and room in $downloads?"
  file=$(find "$partial" -name '*.whl' -print -quit)
  is_whole "$file" "$hash" || fail "$file is not the $name $version that setup/wheels.txt pins: its SHA-256 is $(sha256sum <"$file" | cut -d' ' -f1), expected $hash. Run the same command again; if it stays so, do not use the file"
  mv "$partial"/*.whl "$downloads"
  rmdir "$partial"
  echo "$downloads/$(basename "$file")"
}

# unpack WHAT FOLDER PATTERN...: the files of WHAT's wheels that match, into FOLDER, which appears whole or not at all.
unpack() {
  local pins folder=$2 partial=$2.partial stamp name version hash file code
  pins=$(grep "^$1 " setup/wheels.txt)
  shift 2
  stamp=$folder/.unpacked-$(printf '%s\n' "$pins" "$@" | sha256sum | cut -c1-16)
  [ -e "$stamp" ] && return
  mkdir -p "$downloads"
  rm -rf "$partial"
  mkdir -p "$partial"
  while read -r _ name version hash; do
    file=$(wheel "$name" "$version" "$hash")
    code=0
    unzip -q -o "$file" "$@" -d "$partial" >"$downloads/unzip.log" 2>&1 || code=$?
    # 11: a pattern that this wheel has no file for
    [ "$code" -eq 0 ] || [ "$code" -eq 11 ] || fail "cannot unpack $file: $(tail -n 1 "$downloads/unzip.log")"
  done <<<"$pins"
  touch "$partial/$(basename "$stamp")"
  rm -rf "$folder"
  mv "$partial" "$folder"
}

case ${1:-} in
  torch)
    [ "$(uname -m)" = x86_64 ] || fail "the pinned torch wheel is for x86-64, this machine is $(uname -m). The parts without torch build: cmake --preset no-torch"
    unpack torch build/torch 'torch/include/*' 'torch/lib/libtorch_cpu.so' 'torch/lib/libc10.so' 'torch/lib/libgomp*' 'nvidia/*/lib/*'
    ;;
  model)
    unpack model build/models '*.gguf'
    ;;
  *)
    echo "usage: setup/wheels.sh torch|model" >&2
    exit 2
    ;;
esac
