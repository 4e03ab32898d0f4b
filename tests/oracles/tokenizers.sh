#!/usr/bin/env bash
# tokenizers.sh PARE [LINES]: Pare's tokenizers against PyPI `tokenizers`, for each family and the demo's model.
# Exit code 77, skipped, where that environment could not be made (setup/venv.sh tokenizers).
set -euo pipefail
cd "$(dirname "$0")/../.."
python=build/venvs/tokenizers/bin/python
if ! "$python" -c 'import tokenizers' 2>/dev/null; then
  echo "no $python with tokenizers: run setup/venv.sh tokenizers"
  exit 77
fi
shopt -s nullglob
families=build/oracles/tokenizers
"$python" -B tests/oracles/tokenizer_families.py "$families" >/dev/null
"$python" -B tests/oracles/compare_tokenizers.py --pare "$1" --lines "${2:-2000}" "$families"/* build/models/*/*.gguf
