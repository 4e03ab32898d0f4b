"""No folder includes one below it (CONTRIBUTING.md draws the list), and the torch-free ones never include torch."""
import pathlib
import re
import sys

ORDER = ["base", "io", "text", "weights", "kernels", "runtime", "nn", "curvature", "quantize", "prune", "budget",
         "pipeline", "pipeline/run", "train", "optim", "dist", "insight", "cli", "cli/torch"]
TORCH_FREE = {"base", "io", "text", "weights", "kernels", "runtime", "pipeline", "cli"}

root = pathlib.Path(__file__).resolve().parents[2] / "src" / "pare"
faults = 0
files = 0
for path in sorted(root.rglob("*")):
    if path.suffix not in (".h", ".cpp"):
        continue
    files += 1
    folder = path.parent.relative_to(root).as_posix()
    if folder not in ORDER:
        print(f"{path.relative_to(root)}: folder {folder} is not in the list of tests/checks/layers.py")
        faults += 1
        continue
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        ours = re.match(r'#include "pare/([a-z_/]+)/[a-z0-9_]+\.h"', line)
        if ours and ORDER.index(ours[1]) > ORDER.index(folder):
            print(f"{path.relative_to(root)}:{number}: {folder} includes {ours[1]}, which is below it")
            faults += 1
        if folder in TORCH_FREE and re.match(r"#include <(ATen|torch|c10)/", line):
            print(f"{path.relative_to(root)}:{number}: {folder} is torch-free")
            faults += 1
print(f"{files} files, {faults} faults")
sys.exit(1 if faults or files == 0 else 0)
