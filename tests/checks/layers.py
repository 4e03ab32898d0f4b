"""A folder of src/pare includes only itself and folders above it in ORDER; the torch-free ones reach no torch.

Prints each fault as file:line, and exits with 1 if there is one.
"""
import pathlib
import re
import sys

ORDER = ["base", "io", "hub", "text", "weights", "kernels", "runtime", "server", "nn", "curvature", "quantize",
         "prune", "budget", "pipeline", "pipeline/run", "train", "optim", "dist", "insight", "cli", "cli/torch"]
TORCH_FREE = {"base", "io", "hub", "text", "weights", "kernels", "runtime", "server", "budget", "pipeline", "cli"}
# folders for the eye: one library with the folder around them
PART_OF = {"text/jinja": "text", "weights/encode": "weights", "kernels/cpu": "kernels"}

root = pathlib.Path(__file__).resolve().parents[2] / "src" / "pare"


def fault_of(folder, line):
    """What is wrong with this line of a file in this folder; None if nothing is."""
    include = re.match(r'\s*#\s*include\s*(["<])([^">]+)', line)
    if not include:
        return None
    quote, name = include.groups()
    if quote == "<":
        torch = re.match(r"(ATen|torch|c10)/", name)
        return f"{folder} is torch-free" if torch and folder in TORCH_FREE else None
    if not name.startswith("pare/"):
        return f'our own headers are included as "pare/{folder}/{name}"'
    other = pathlib.PurePosixPath(name).parent.relative_to("pare").as_posix()
    other = PART_OF.get(other, other)
    if other not in ORDER:
        return f"no folder {other} in the list of tests/checks/layers.py"
    if ORDER.index(other) > ORDER.index(folder):
        return f"{folder} includes {other}, which is below it"
    if folder in TORCH_FREE and other not in TORCH_FREE:
        return f"{folder} is torch-free and includes {other}, which is not"
    return None


files = [path for path in sorted(root.rglob("*")) if path.suffix in (".h", ".cpp")]
faults = []
for path in files:
    folder = path.parent.relative_to(root).as_posix()
    folder = PART_OF.get(folder, folder)
    if folder not in ORDER:
        faults.append(f"{path.relative_to(root)}: no folder {folder} in the list of tests/checks/layers.py")
        continue
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        if fault := fault_of(folder, line):
            faults.append(f"{path.relative_to(root)}:{number}: {fault}")
print(*faults, f"{len(files)} files, {len(faults)} faults", sep="\n")
sys.exit(1 if faults or not files else 0)
