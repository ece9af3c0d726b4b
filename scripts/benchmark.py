#!/usr/bin/env python3
"""Measures lsrt beside what one would use instead, in one run on one machine, and draws the pictures of the README.

usage: scripts/benchmark.py WORKDIR [--lsrt build/lsrt] [--llama LLAMA_BENCH --gguf FILE --gguf-mamba FILE]
                            [--images VIL_PEERS.py --onnx FILE] [--linear build/linear_bench]
                            [--books build/books-lm.lsrt] [--depths 0,1024,...] [--long-depths ...] [--threads 1,2]

Writes docs/benchmarks/MACHINE.json after every measurement and, with matplotlib, docs/images.svg; scripts/plot_context.py
draws the text side, with --peer docs/benchmarks/MACHINE.json.
A peer that is not given is left out, aloud. Every process runs alone; ours and the peer's take turns.

  llama.cpp   llama-bench with a full-attention model equal in size to the enwik8 base shape (38 M parameters, Q8_0)
              and, of Mamba-130m (Q8_0), with a state that is constant, too
  XNNPACK     build/linear_bench, which times it and every kernel set of this machine on the same linear layers
  images      a script that prints "name  min_ms  median_ms" lines for THREADS on an ONNX file of ViL-LS medium-224
"""
import argparse
import json
import os
import platform
import re
import subprocess
import sys
import time

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))


FEATURES = ("avx2", "avx_vnni", "avx512_vnni", "avx512_bf16", "amx_int8", "asimddp", "i8mm", "sve")


def machine():
    """What decides speed: the CPU's name, family and model, features, cores."""
    lines = [line.split(":", 1) for line in open("/proc/cpuinfo") if ":" in line]
    info = {key.strip(): value.strip() for key, value in reversed(lines)}  # of the first core
    flags = (info.get("flags") or info.get("Features") or "").split()
    return {"cpu": info.get("model name", platform.machine()),
            "family": [info[k] for k in ("cpu family", "model", "CPU part") if k in info],
            "features": [f for f in FEATURES if f in flags], "cores": os.cpu_count()}


def machine_name(m):
    text = " ".join([m["cpu"], *m["family"]])
    return re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")


def run(command):
    """stdout, peak resident bytes and seconds of a command that must succeed."""
    print("+", " ".join(command), flush=True)
    start = time.time()
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    out = process.stdout.read()
    _, status, usage = os.wait4(process.pid, 0)
    if status:
        sys.exit(f"benchmark.py: {command[0]} failed")
    return out, usage.ru_maxrss * 1024, time.time() - start


def bench(args, target, threads, depth=None, prompt=0, generate=0, repetitions=3):
    command = [args.lsrt, "bench", *target, "--threads", str(threads), "--repetitions", str(repetitions), "--json"]
    if depth is not None:
        command += ["--depth", str(depth), "--prompt", str(prompt), "--generate", str(generate)]
    out, rss, _ = run(command)
    return {**json.loads(out), "peak_rss_bytes": rss}


def llama(args, model, threads, depth, prompt, generate):
    """tokens per second of prompt and decode, and peak resident bytes."""
    out, rss, _ = run([args.llama, "-m", model, "-t", str(threads), "-p", str(prompt), "-n", str(generate),
                       "-d", str(depth), "-r", "3", "-o", "json"])
    speeds = {"prompt" if t["n_prompt"] else "decode": t["avg_ts"] for t in json.loads(out)}
    return {**speeds, "peak_rss_bytes": rss}


def measure_text(args, results):
    rows = results.setdefault("text", [])
    for threads in args.threads:
        for depth in args.depths:
            ours = bench(args, ["--arch", "enwik8-base"], threads, depth, 512, 32)
            row = {"threads": threads, "depth": depth, "peak_rss_bytes": ours["peak_rss_bytes"],
                   "state_bytes": ours["state_bytes"], "isa": ours["isa"]}
            for r in ours["results"]:
                row[r["test"]] = r["n"] / r["min_ms"] * 1e3
                row[r["test"] + "_median"] = r["per_second"]
            if args.llama and depth <= args.llama_most:
                row["llama"] = llama(args, args.gguf, threads, depth, 512, 32)
            rows.append(row)
            yield


def measure_mamba(args, results):
    rows = results.setdefault("mamba", [])
    for threads in args.threads:
        ours = bench(args, ["--arch", "mamba-130m"], threads, 0, 512, 32)
        peer = llama(args, args.gguf_mamba, threads, 0, 512, 32) if args.llama and args.gguf_mamba else None
        again = bench(args, ["--arch", "mamba-130m"], threads, 0, 512, 32)
        row = {"threads": threads, "peak_rss_bytes": ours["peak_rss_bytes"], "isa": ours["isa"]}
        for one, two in zip(ours["results"], again["results"]):
            row[one["test"]] = one["n"] / min(one["min_ms"], two["min_ms"]) * 1e3
            row[one["test"] + "_median"] = max(one["per_second"], two["per_second"])
        rows.append({**row, "llama": peer} if peer else row)
        yield


def measure_linear(args, results):
    """Whole linear layers, one thread: the best of 40 short runs, in random order, of each shape on XNNPACK and on our sets."""
    if not args.linear:
        return
    out, _, _ = run([args.linear, "--benchmark_repetitions=40", "--benchmark_min_time=0.01", "--benchmark_format=json",
                     "--benchmark_enable_random_interleaving=true"])
    best = {}
    for one in json.loads(out)["benchmarks"]:
        if one["run_type"] == "iteration":
            name, shape = one["run_name"].split("/", 1)
            best.setdefault(shape, {}).setdefault(name, []).append(one["real_time"])
    results["linear_ns"] = [{"shape": shape, **{name: min(times) for name, times in of.items()}} for shape, of in best.items()]
    yield


def measure_long(args, results):
    rows = results.setdefault("long", [])
    for depth in args.long_depths:
        ours = bench(args, [args.books], 1, depth, 0, 256)
        rows.append({"depth": depth, "ms_per_token": ours["results"][0]["min_ms"] / 256,
                     "peak_rss_bytes": ours["peak_rss_bytes"], "state_bytes": ours["state_bytes"]})
        yield


def measure_images(args, results):
    rows = results.setdefault("images", [])
    for threads in args.threads:
        for arch in ("vil-ls-medium-224", "vil-ls-base-224"):
            ours = bench(args, ["--arch", arch], threads, repetitions=10)
            rows.append({"threads": threads, "name": "lsrt int8", "arch": arch, "min_ms": ours["results"][0]["min_ms"],
                         "median_ms": ours["results"][0]["median_ms"], "peak_rss_bytes": ours["peak_rss_bytes"],
                         "model_bytes": ours["model_bytes"]})
        if args.images:
            out, _, _ = run([sys.executable, args.images, args.onnx, str(threads), args.workdir])
            for found in re.finditer(r"^(\S.*?) +([0-9.]+) +([0-9.]+)$", out, re.MULTILINE):  # among other output
                rows.append({"threads": threads, "name": found[1], "arch": "vil-ls-medium-224",
                             "min_ms": float(found[2]), "median_ms": float(found[3])})
        yield


def draw_images(results, path):
    import matplotlib.pyplot as plt
    rows = [r for r in results["images"] if r["arch"] == "vil-ls-medium-224"]
    names = list(dict.fromkeys(r["name"] for r in rows))
    threads = sorted({r["threads"] for r in rows})
    figure, axis = plt.subplots(figsize=(8, 3.2))
    height = 0.8 / len(threads)
    for i, t in enumerate(threads):
        times = [next((r["min_ms"] for r in rows if r["name"] == n and r["threads"] == t), 0) for n in names]
        bars = axis.barh([y + i * height for y in range(len(names))], times, height * 0.9, label=f"{t} thread{'s' * (t > 1)}")
        axis.bar_label(bars, fmt="%.0f", fontsize=7)
    axis.set_yticks([y + 0.4 - height / 2 for y in range(len(names))], names, fontsize=8)
    axis.invert_yaxis()
    axis.set_xlabel("milliseconds per image (minimum)")
    axis.set_title(f"ViL-LS medium, 224 x 224, batch 1, {results['cpu']}", fontsize=9)
    axis.legend(fontsize=8)
    figure.tight_layout()
    figure.savefig(path)


def main():
    numbers = lambda text: [int(x) for x in text.split(",") if x]
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("workdir")
    parser.add_argument("--lsrt", default=os.path.join(ROOT, "build", "lsrt"))
    parser.add_argument("--books", default=os.path.join(ROOT, "build", "books-lm.lsrt"))
    parser.add_argument("--llama"), parser.add_argument("--gguf"), parser.add_argument("--gguf-mamba")
    parser.add_argument("--images"), parser.add_argument("--onnx")
    parser.add_argument("--linear", help="build/linear_bench, which a build with XNNPACK has")
    parser.add_argument("--threads", type=numbers, default=[1, 2])
    parser.add_argument("--depths", type=numbers, default=[0, 1024, 4096, 8192, 16384, 65536])
    parser.add_argument("--llama-most", type=int, default=16384, help="deepest context to take llama.cpp to")
    parser.add_argument("--long-depths", type=numbers, default=[0, 16384, 1000000])
    parser.add_argument("--draw-only", action="store_true", help="draw from this machine's file")
    args = parser.parse_args()
    os.makedirs(args.workdir, exist_ok=True)
    here = machine()
    folder = os.path.join(ROOT, "docs", "benchmarks")
    os.makedirs(folder, exist_ok=True)
    path = os.path.join(folder, machine_name(here) + ".json")
    if args.draw_only:
        results = json.load(open(path))
    else:
        for peer in ("llama", "gguf_mamba", "images", "linear"):
            if not getattr(args, peer):
                print(f"benchmark.py: no --{peer.replace('_', '-')}: that peer is left out", flush=True)
        results = dict(here)
        for part in (measure_linear, measure_mamba, measure_images, measure_text, measure_long):
            for _ in part(args, results):
                for rows in results.values():  # a figure is never read without its machine
                    for row in rows if isinstance(rows, list) else []:
                        if isinstance(row, dict):
                            row.update(cpu=here["cpu"], features=here["features"])
                json.dump(results, open(path, "w"), indent=1)
    try:
        import matplotlib
    except ImportError:
        sys.exit("benchmark.py: measured; no matplotlib (pip install matplotlib), so no pictures")
    matplotlib.use("svg")
    matplotlib.rcParams["svg.hashsalt"] = "lsrt"  # the same numbers give the same file
    draw_images(results, os.path.join(ROOT, "docs", "images.svg"))


if __name__ == "__main__":
    main()
