#!/usr/bin/env bash
# The Debian packages that Pare builds and tests with. Does nothing, and needs no network, when all are there.
set -euo pipefail

packages=(
  g++ cmake ninja-build ccache pkg-config make unzip ca-certificates python3 python3-pip python3-venv
  libcli11-dev nlohmann-json3-dev libyaml-cpp-dev libpcre2-dev libutf8proc-dev libxxhash-dev libmicrohttpd-dev
  libcurl4-openssl-dev libssl-dev
  libgtest-dev libgmock-dev clang-14 libclang-rt-14-dev clang-format-14
  g++-aarch64-linux-gnu qemu-user
)

fail() {
  printf 'setup: %s\n' "$@" >&2
  exit 1
}

if ! command -v dpkg-query >/dev/null || ! command -v apt-get >/dev/null; then
  # What the build itself starts with; CMake names a library that is not there.
  missing=()
  for tool in g++ cmake ninja pkg-config unzip python3; do command -v "$tool" >/dev/null || missing+=("$tool"); done
  [ ${#missing[@]} -eq 0 ] && exit 0
  fail "this is not Debian or Ubuntu, and these are missing: ${missing[*]}" \
       "install what your distribution calls the following (Debian 12's names), then run the same command again:" "  ${packages[*]}"
fi

missing=()
for package in "${packages[@]}"; do
  [ "$(dpkg-query -W -f='${db:Status-Status}' "$package" 2>/dev/null || true)" = installed ] || missing+=("$package")
done
[ ${#missing[@]} -eq 0 ] && exit 0

as_root=(env DEBIAN_FRONTEND=noninteractive)
if [ "$(id -u)" -ne 0 ]; then
  command -v sudo >/dev/null || fail "these packages are missing, and neither root nor sudo is here to install them: ${missing[*]}" \
                                     "as root: apt-get install ${missing[*]}"
  as_root=(sudo "${as_root[@]}")
fi

log=$(mktemp)
trap 'rm -f "$log"' EXIT
run() { "${as_root[@]}" apt-get -qq "$@" >"$log" 2>&1 </dev/null; }

echo "setup: installing ${missing[*]}" >&2
# Failing to update is not the end: the lists that are there may do.
run update || echo "setup: apt-get update failed, going on with the lists that are there: $(tail -n 1 "$log")" >&2
if ! run install -y --no-install-recommends "${missing[@]}"; then
  tail -n 15 "$log" >&2
  unknown=()
  for package in "${missing[@]}"; do apt-cache show "$package" >/dev/null 2>&1 || unknown+=("$package"); done
  [ ${#unknown[@]} -eq 0 ] || fail "apt-get knows no package ${unknown[*]}" "Is this Debian 12, is 'main' in its sources, and is the network there?"
  fail "apt-get could not install: ${missing[*]}" "The lines above say why. 'apt-get install ${missing[*]}' shows the whole of it"
fi
