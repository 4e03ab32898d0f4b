#!/usr/bin/env bash
# The Debian packages that Pare builds and tests with. Does nothing, and needs no network, when all are there.
set -euo pipefail

packages=(
  g++ cmake ninja-build ccache pkg-config make git unzip ca-certificates python3 python3-pip python3-venv
  libcli11-dev nlohmann-json3-dev libyaml-cpp-dev libpcre2-dev libutf8proc-dev libxxhash-dev
  libgtest-dev libgmock-dev clang-14 libclang-rt-14-dev clang-format-14
)

if ! command -v dpkg-query >/dev/null; then
  missing=()
  for tool in g++ cmake ninja ccache pkg-config unzip python3; do command -v "$tool" >/dev/null || missing+=("$tool"); done
  [ ${#missing[@]} -eq 0 ] && exit 0
  echo "setup: this is not Debian or Ubuntu, and these are missing: ${missing[*]}" >&2
  echo "setup: install what your distribution calls the following, then run the same command again:" >&2
  echo "  ${packages[*]}" >&2
  exit 1
fi

missing=()
for package in "${packages[@]}"; do
  [ "$(dpkg-query -W -f='${db:Status-Status}' "$package" 2>/dev/null || true)" = installed ] || missing+=("$package")
done
[ ${#missing[@]} -eq 0 ] && exit 0

as_root=()
if [ "$(id -u)" -ne 0 ]; then
  if ! command -v sudo >/dev/null; then
    echo "setup: these packages are missing and neither root nor sudo is here to install them: ${missing[*]}" >&2
    echo "setup: as root: apt-get install ${missing[*]}" >&2
    exit 1
  fi
  as_root=(sudo)
fi

echo "setup: installing ${missing[*]}" >&2
export DEBIAN_FRONTEND=noninteractive
if ! "${as_root[@]}" apt-get update -qq >/dev/null; then
  echo "setup: apt-get update failed; is the network there and /etc/apt/sources.list right?" >&2
  exit 1
fi
if ! "${as_root[@]}" apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null; then
  echo "setup: apt-get could not install all of: ${missing[*]}" >&2
  echo "setup: run 'apt-get install ${missing[*]}' by hand to see why" >&2
  exit 1
fi
