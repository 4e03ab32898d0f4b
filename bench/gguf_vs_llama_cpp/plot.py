#!/usr/bin/env python3
"""KL divergence over bytes of ours, llama.cpp's and llama.cpp's with its importance matrix, as an SVG that reads on light and dark pages.

    python3 bench/gguf_vs_llama_cpp/plot.py results.json docs/images/gguf.svg
"""
import json
import math
import sys

WIDTH, HEIGHT, LEFT, RIGHT, TOP, BOTTOM = 780, 520, 64, 44, 20, 52
SERIES = [  # name in the results, class, sign, what the legend says
    ("llama.cpp", "plain", "square", "llama.cpp"),
    ("llama.cpp+imatrix", "matrix", "triangle", "llama.cpp, importance matrix"),
    ("pare", "ours", "circle", "Pare"),
    ("pare --size", "ours", "ring", "Pare, at the size of llama.cpp's"),
]
STYLE = """
text { font: 13px sans-serif; fill: #333d44 } text.type { font-size: 11px; fill: #56626b }
.paper { fill: #ffffff } .grid { stroke: #e0e0dc }
.plain { fill: #68747c; stroke: #68747c } .matrix { fill: #b25a00; stroke: #b25a00 } .ours { fill: #0b6bcb; stroke: #0b6bcb }
.line { fill: none; stroke-width: 1.6 } .ring { fill: none; stroke-width: 2 }
@media (prefers-color-scheme: dark) {
  text { fill: #dfe4e7 } text.type { fill: #a3aeb5 } .paper { fill: #14181b } .grid { stroke: #333b41 }
  .plain { fill: #a3aeb5; stroke: #a3aeb5 } .matrix { fill: #f0a04e; stroke: #f0a04e } .ours { fill: #7fb0f5; stroke: #7fb0f5 }
  .line, .ring { fill: none }
}
"""


def sign(kind, colour, x, y, title=""):
    shape = {
        "circle": f'<circle cx="{x:.1f}" cy="{y:.1f}" r="4.2"',
        "ring": f'<circle cx="{x:.1f}" cy="{y:.1f}" r="5"',
        "square": f'<rect x="{x - 3.6:.1f}" y="{y - 3.6:.1f}" width="7.2" height="7.2"',
        "triangle": f'<path d="M{x:.1f} {y - 4.8:.1f}l4.6 8h-9.2z"',
    }[kind]
    return f'{shape} class="{colour}{" ring" if kind == "ring" else ""}"><title>{title}</title>{shape.split()[0].replace("<", "</")}>'


def steps(low, high):
    """1, 2 and 5 times powers of ten between the two."""
    return [digit * 10.0 ** power for power in range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1) for digit in (1, 2, 5)
            if low <= digit * 10.0 ** power <= high]


def drawn(rows):
    shown = {name for name, *_ in SERIES}
    points = [row for row in rows if row["series"] in shown and row.get("kl", 0) > 0]
    if not points:
        sys.exit("plot: no row has a KL divergence yet: nothing to draw")
    megabytes = [row["bytes"] / 1e6 for row in points]
    left, right = min(megabytes) - 0.04 * (max(megabytes) - min(megabytes) + 1), max(megabytes) + 0.04 * (max(megabytes) - min(megabytes) + 1)
    low, high = min(row["kl"] for row in points) / 1.3, max(row["kl"] for row in points) * 1.4

    def x(size):
        return LEFT + (size / 1e6 - left) / (right - left) * (WIDTH - LEFT - RIGHT)

    def y(kl):
        return HEIGHT - BOTTOM - math.log(kl / low) / math.log(high / low) * (HEIGHT - BOTTOM - TOP)

    out = [f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="KL divergence over bytes">',
           f"<style>{STYLE}</style>", f'<rect class="paper" width="{WIDTH}" height="{HEIGHT}"/>']
    for value in steps(low, high):
        out.append(f'<path class="grid" d="M{LEFT} {y(value):.1f}H{WIDTH - RIGHT}"/>')
        out.append(f'<text x="{LEFT - 8}" y="{y(value) + 4:.1f}" text-anchor="end">{value:g}</text>')
    step = next(width for width in (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000, 10000, 10 ** 9) if (right - left) / width <= 9)
    for value in range(math.ceil(left / step) * step, math.floor(right) + 1, step):
        out.append(f'<path class="grid" d="M{x(value * 1e6):.1f} {TOP}V{HEIGHT - BOTTOM}"/>')
        out.append(f'<text x="{x(value * 1e6):.1f}" y="{HEIGHT - BOTTOM + 18}" text-anchor="middle">{value}</text>')
    for name, colour, kind, _ in SERIES:
        mine = sorted((row for row in points if row["series"] == name), key=lambda row: (row["bytes"], -row["kl"]))
        if len(mine) > 1 and kind != "ring":
            out.append(f'<path class="{colour} line" stroke-opacity="0.4" d="M' + "L".join(f'{x(row["bytes"]):.1f} {y(row["kl"]):.1f}' for row in mine) + '"/>')
        for row in mine:
            out.append(sign(kind, colour, x(row["bytes"]), y(row["kl"]), f"{row['type']}, {row['bytes'] / 1e6:.1f} MB, KL {row['kl']:.4f}"))
            if kind == "circle":
                out.append(f'<text class="type" x="{x(row["bytes"]) + 5:.1f}" y="{y(row["kl"]) - 7:.1f}">{row["type"]}</text>')
    present = [entry for entry in SERIES if any(row["series"] == entry[0] for row in points)]
    for i, (_, colour, kind, words) in enumerate(present):
        out.append(sign(kind, colour, WIDTH - 250, TOP + 16 + 20 * i))
        out.append(f'<text x="{WIDTH - 238}" y="{TOP + 20.5 + 20 * i}">{words}</text>')
    out.append(f'<text x="{(WIDTH + LEFT) / 2}" y="{HEIGHT - 10}" text-anchor="middle">file, MB</text>')
    out.append(f'<text x="16" y="{HEIGHT / 2}" text-anchor="middle" transform="rotate(-90 16 {HEIGHT / 2})">KL divergence, nats a token</text>')
    out.append("</svg>")
    return "\n".join(out) + "\n"


def main():
    if len(sys.argv) != 3:
        sys.exit("plot: expected results.json and the .svg to write")
    with open(sys.argv[1]) as file:
        rows = json.load(file)["rows"]
    with open(sys.argv[2], "w") as file:
        file.write(drawn(rows))


if __name__ == "__main__":
    main()
