#!/usr/bin/env python3
"""Measures and draws what a token costs at every length of context, 256 to 1 M tokens: docs/context.svg.

usage: scripts/plot_context.py WORKDIR [--lsrt build/lsrt] [--arch enwik8-base] [--threads 2] [--peer RESULTS.json]
                               [--draw-only]                                    (pip install matplotlib)

Writes WORKDIR/context.json, which --draw-only draws again. One process feeds the whole way and stops at each depth for
64 tokens, five times; the fastest counts. --peer: results.json of scripts/benchmark.py with llama.cpp's rows, of the same
machine. The stream of 1 M tokens takes about ten minutes.
"""
import argparse
import json
import os
import subprocess

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
DEPTHS = [2**n for n in range(8, 21)]
GENERATED = 64


def measure(args):
    command = [args.lsrt, "bench", "--arch", args.arch, "--threads", str(args.threads), "--prompt", "0", "--generate",
               str(GENERATED), "--repetitions", "5", "--depth", ",".join(map(str, DEPTHS)), "--json"]
    print("+", " ".join(command), flush=True)
    return json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout)


def tokens(n):
    return f"{n >> 20}M" if n >= 1 << 20 else f"{n >> 10}k" if n >= 1024 else str(n)


def draw(ours, peer, args):
    import matplotlib
    matplotlib.use("svg")
    matplotlib.rcParams["svg.hashsalt"] = "lsrt"  # the same numbers give the same file
    import matplotlib.pyplot as plt

    rows = [r for r in ours["results"] if r["test"] == "decode"]
    series = [("lsrt, long-short, int8", "o-", [r["depth"] for r in rows],
               [r["min_ms"] / r["n"] for r in rows], [ours["peak_rss_bytes"] / 2**20] * len(rows))]
    if peer:
        rows = [r for r in peer["text"] if r["threads"] == args.threads and r["depth"] and "llama" in r]
        series.append(("llama.cpp, full attention, Q8_0", "s--", [r["depth"] for r in rows],
                       [1e3 / r["llama"]["decode"] for r in rows], [r["llama"]["peak_rss_bytes"] / 2**20 for r in rows]))

    figure, axes = plt.subplots(1, 3, figsize=(12, 3.8))
    # Lengths to scale show what grows and what does not; doublings show every point.
    scaled, doubled, memory = axes
    for label, style, depths, ms, mib in series:
        scaled.plot(depths, ms, style, label=label, markersize=3)
        doubled.plot(depths, ms, style, label=label, markersize=3)
        # One process went to all depths of ours, so its peak is one number; the peer had a process for each.
        memory.plot(depths, mib, "-" if label.startswith("lsrt") else style, label=label, markersize=3)
    for axis, title in ((scaled, "ms per token, lengths to scale"), (doubled, "ms per token"), (memory, "peak memory, MiB")):
        axis.set_title(title, fontsize=10)
        axis.set_xlabel("tokens of context before", fontsize=9)
        axis.set_ylim(bottom=0)
        axis.grid(alpha=0.3)
        axis.tick_params(labelsize=8)
    scaled.set_xlim(0, DEPTHS[-1] * 1.03)
    scaled.set_xticks([n << 18 for n in range(5)], ["0", "256k", "512k", "768k", "1M"])
    for axis in (doubled, memory):
        axis.set_xscale("log", base=2)
        axis.set_xticks(DEPTHS[::2], [tokens(n) for n in DEPTHS[::2]])
        axis.set_xticks([], minor=True)
    axes[0].legend(fontsize=8)
    figure.suptitle(f"{args.arch}, {ours['threads']} threads, {ours['cpu']}, {ours['isa']}", fontsize=9)
    figure.tight_layout()
    figure.savefig(os.path.join(ROOT, "docs", "context.svg"), metadata={"Date": None})


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("workdir")
    parser.add_argument("--lsrt", default=os.path.join(ROOT, "build", "lsrt"))
    parser.add_argument("--arch", default="enwik8-base")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--peer")
    parser.add_argument("--draw-only", action="store_true")
    args = parser.parse_args()
    os.makedirs(args.workdir, exist_ok=True)
    path = os.path.join(args.workdir, "context.json")
    if not args.draw_only:
        results = measure(args)
        with open(path, "w") as file:
            json.dump(results, file, indent=1)
    with open(path) as file:
        ours = json.load(file)
    peer = None
    if args.peer:
        with open(args.peer) as file:
            peer = json.load(file)
    draw(ours, peer, args)


if __name__ == "__main__":
    main()
