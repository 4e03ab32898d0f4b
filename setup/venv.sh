#!/usr/bin/env bash
# venv.sh NAME: a Python environment with what setup/NAME.txt pins, in build/venvs/NAME. Made once.
# For tests that compare Pare with other people's software; Pare itself needs none of it.
set -euo pipefail
cd "$(dirname "$0")/.."
pins=setup/$1.txt
folder=build/venvs/$1

stamp=$folder/.made-from-$(sha256sum <"$pins" | cut -c1-16)
[ -e "$stamp" ] && exit 0
rm -rf "$folder"
mkdir -p build/venvs build/downloads
echo "setup: making $folder" >&2
if ! python3 -m venv "$folder"; then
  echo "setup: python3 could not make $folder. On Debian: apt-get install python3-venv" >&2
  exit 1
fi
# --no-deps: pip must not add the 5 GB that torch's metadata asks for. --find-links: the wheels that wheels.sh fetched.
if ! "$folder/bin/python" -m pip install --quiet --disable-pip-version-check --no-deps --only-binary=:all: \
     --find-links build/downloads --requirement "$pins"; then
  echo "setup: pip could not install what $pins names into $folder. Is the network there?" >&2
  exit 1
fi
touch "$stamp"
