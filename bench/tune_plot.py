#!/usr/bin/env python3
"""Draws what the cost model predicts against what was measured, from `pare tune --best 0 --json` files, and says how well it ranks.

    ./pare tune --shape llama8b --weights int2,int3,int4,Q4_K,Q6_K,int8,int8-mask,F16 --best 0 --json > 1.json
    bench/tune_plot.py docs/images/tune.svg 1.json [2.json ...]
"""
import json
import math
import statistics
import sys

WIDTH, HEIGHT, LEFT, BOTTOM, TOP = 720, 520, 70, 60, 20
COLOURS = {1: "#0b6bcb", 8: "#c2571a", 256: "#2d7d46"}
NAMES = {1: "1 token", 8: "8 tokens", 256: "256 tokens"}


def products(trials):
    groups = {}
    for trial in trials:
        groups.setdefault((trial["threads"], trial["layout"], trial["rows"], trial["cols"], trial["tokens"]), []).append(trial)
    return groups


def main():
    target, files = sys.argv[1], sys.argv[2:]
    trials = []
    for name in files:
        with open(name) as file:
            report = json.load(file)
        trials += [{**trial, "threads": report["threads"]} for trial in report["trials"] if trial["measured_s"]]
    times = [t[key] * 1e6 for t in trials for key in ("predicted_s", "measured_s")]
    low, high = math.log10(min(times) / 1.5), math.log10(max(times) * 1.5)

    def place(value, length):
        return (math.log10(value) - low) / (high - low) * length

    def x(seconds):
        return LEFT + place(seconds * 1e6, WIDTH - LEFT - 20)

    def y(seconds):
        return HEIGHT - BOTTOM - place(seconds * 1e6, HEIGHT - BOTTOM - TOP)

    out = [f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" font-family="sans-serif" font-size="13">',
           f'<rect width="{WIDTH}" height="{HEIGHT}" fill="#ffffff"/>']
    for power in range(math.ceil(low), math.floor(high) + 1):
        at = 10 ** power / 1e6
        label = f"{10 ** power:g} µs" if power < 3 else f"{10 ** (power - 3):g} ms" if power < 6 else f"{10 ** (power - 6):g} s"
        out.append(f'<path d="M{x(at):.1f} {TOP}V{HEIGHT - BOTTOM}M{LEFT} {y(at):.1f}H{WIDTH - 20}" stroke="#dddddd"/>')
        out.append(f'<text x="{x(at):.1f}" y="{HEIGHT - BOTTOM + 18}" text-anchor="middle" fill="#333">{label}</text>')
        out.append(f'<text x="{LEFT - 8}" y="{y(at) + 4:.1f}" text-anchor="end" fill="#333">{label}</text>')
    first, last = 10 ** low / 1e6, 10 ** high / 1e6
    out.append(f'<path d="M{x(first):.1f} {y(first):.1f}L{x(last):.1f} {y(last):.1f}" stroke="#888" stroke-dasharray="5 4"/>')
    for trial in trials:
        dot = f'cx="{x(trial["predicted_s"]):.1f}" cy="{y(trial["measured_s"]):.1f}" r="3.2"'
        out.append(f'<circle {dot} fill="{COLOURS[trial["tokens"]]}" fill-opacity="0.45"/>')
    for i, tokens in enumerate(NAMES):
        out.append(f'<circle cx="{LEFT + 20}" cy="{TOP + 16 + 20 * i}" r="5" fill="{COLOURS[tokens]}"/>')
        out.append(f'<text x="{LEFT + 32}" y="{TOP + 21 + 20 * i}" fill="#333">{NAMES[tokens]}</text>')
    out.append(f'<text x="{(WIDTH + LEFT) / 2}" y="{HEIGHT - 12}" text-anchor="middle" fill="#333">predicted</text>')
    out.append(f'<text x="14" y="{HEIGHT / 2}" text-anchor="middle" fill="#333" transform="rotate(-90 14 {HEIGHT / 2})">measured</text>')
    out.append("</svg>")
    with open(target, "w") as file:
        file.write("\n".join(out) + "\n")

    print("| tokens | products | variants | median of measured / predicted | best measured is among the 4 best predicted | "
          "lost by taking the best predicted (median, worst) |\n|--:|--:|--:|--:|--:|--:|")
    for tokens in NAMES:
        groups = [g for key, g in products(trials).items() if key[-1] == tokens]
        ratios = [t["measured_s"] / t["predicted_s"] for g in groups for t in g]
        hits, losses = 0, []
        for group in groups:
            ranked = sorted(group, key=lambda t: t["predicted_s"])
            best = min(t["measured_s"] for t in group)
            hits += min(t["measured_s"] for t in ranked[:4]) <= 1.02 * best
            losses.append(ranked[0]["measured_s"] / best - 1)
        print(f"| {tokens} | {len(groups)} | {len(ratios)} | {statistics.median(ratios):.2f} | {hits} of {len(groups)} | "
              f"{100 * statistics.median(losses):.0f} %, {100 * max(losses):.0f} % |")


if __name__ == "__main__":
    main()
