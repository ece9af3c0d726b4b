#!/usr/bin/env python3
"""Draws the CSV of encoder_scaling_bench: time and memory against the length of the document.

usage: plot_scaling.py RESULTS.csv PICTURE.svg [--machine TEXT]      (pip install matplotlib)
"""
import argparse
import csv

import matplotlib

matplotlib.use("svg")
matplotlib.rcParams["svg.hashsalt"] = "lsrt"  # the same numbers give the same file
import matplotlib.pyplot as plt

LABELS = {
    "long-short": "long-short (window 8, 32 landmarks)",
    "window": "window only (8)",
    "full": "full attention",
}
MARKERS = {"long-short": "o", "window": "s", "full": "^"}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("results")
    parser.add_argument("picture")
    parser.add_argument("--machine", default="", help="what it was measured on, for the caption")
    arguments = parser.parse_args()
    with open(arguments.results) as file:
        rows = list(csv.DictReader(file))

    figure, (scaled, time, memory) = plt.subplots(1, 3, figsize=(13, 4.2))
    linear_most = 0  # of what grows in proportion
    for mixer, label in LABELS.items():
        of_mixer = [r for r in rows if r["mixer"] == mixer]
        lengths = [int(r["length"]) for r in of_mixer]
        style = dict(label=label, marker=MARKERS[mixer], markersize=4)
        scaled.plot(lengths, [float(r["ms"]) for r in of_mixer], **style)
        if mixer != "full":
            linear_most = max(linear_most, *(float(r["ms"]) for r in of_mixer))
        time.plot(lengths, [float(r["ms"]) for r in of_mixer], **style)
        memory.plot(lengths, [int(r["bytes"]) / 2**20 for r in of_mixer], **style)
    ticks = sorted({int(r["length"]) for r in rows})
    for axis, title in ((time, "time of one document, ms"), (memory, "activations and workspace, MiB")):
        axis.set_xscale("log", base=2)
        axis.set_yscale("log")
        axis.set_xticks(ticks, [f"{n // 1024}k" for n in ticks])
        axis.set_xlabel("tokens")
        axis.set_title(title)
        axis.grid(True, alpha=0.3)
    scaled.set_title("time of one document, ms, to scale")
    scaled.set_xlabel("tokens")
    scaled.set_xticks(ticks[-3:], [f"{n // 1024}k" for n in ticks[-3:]])
    scaled.set_xlim(left=0)
    scaled.set_ylim(0, 1.5 * linear_most)  # full attention leaves the picture
    scaled.grid(True, alpha=0.3)
    time.legend()
    threads, isa = rows[0]["threads"], rows[0]["isa"]
    caption = f"2 layers, width 64, 2 heads, hidden 128, int8, {isa}, threads: {threads}"
    caption += " (CPU time)" if threads == "1" else ""
    caption += f"; {arguments.machine}" if arguments.machine else ""
    figure.text(0.5, 0.01, caption, ha="center", fontsize=8)
    figure.tight_layout(rect=(0, 0.04, 1, 1))
    figure.savefig(arguments.picture, metadata={"Date": None})


if __name__ == "__main__":
    main()
