#!/usr/bin/env bash
# chat_templates.sh RENDER_TEMPLATE [CASES]: Pare's chat templates against PyPI `jinja2`, set up as transformers does.
# Exit code 77, skipped, where that environment could not be made (setup/venv.sh tokenizers).
# TEMPLATES=FOLDER: also the *.jinja there, for example what published models hold.
set -euo pipefail
cd "$(dirname "$0")/../.."
python=build/venvs/tokenizers/bin/python
if ! "$python" -c 'import jinja2' 2>/dev/null; then
  echo "no $python with jinja2: run setup/venv.sh tokenizers"
  exit 77
fi
shopt -s nullglob
real=()
for model in build/models/*/*.gguf; do
  file=build/oracles/chat_templates/$(basename "$model").jinja
  mkdir -p "$(dirname "$file")"
  "$1" --gguf "$model" >"$file"
  real+=("$file")
done
if [ -n "${TEMPLATES:-}" ]; then real+=("$TEMPLATES"/*.jinja); fi
"$python" -B tests/oracles/chat_templates.py --render "$1" --random "${2:-4000}" tests/oracles/chat_templates/*.jinja "${real[@]}"
