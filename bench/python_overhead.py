#!/usr/bin/env python3
"""What Python costs: Session.generate and Model.classify beside the tool that comes with the package, in turn.

usage: bench/python_overhead.py [MODEL.lsrt ...] [--rounds 15] [--tokens 200]

Models of text: tokens a second of generate and of `lsrt generate`, which do the same. Image classifiers: images a second of
classify, a batch of 64 by CPU time, and of `lsrt bench`, which runs the network alone, the median of 64. Without a model:
the published enwik8 base shape with random weights. One thread. A round is one run of each; printed is the median of each
and of the ratios of rounds."""

import argparse
import json
import pathlib
import statistics
import struct
import subprocess
import tempfile
import time

import numpy as np

import lsrt

BASE = {"n_layer": 12, "d_model": 512, "n_head": 8, "d_inner": 2048, "chunk_rank": 1, "chunk_size": 16, "window_len": 512,
        "clamp_len": -1, "cpos_clamp_len": -1, "pre_ln": True, "use_gelu": True, "use_bias": False, "mem_len": 8192}
BATCH = 64


def tensors(config, vocabulary):
    """Names and shapes of a checkpoint."""
    d, heads, hidden = config["d_model"], config["n_head"], config["d_inner"]
    linear = lambda name, out, depth: {f"{name}.weight": (out, depth), f"{name}.bias": (out,)}  # noqa: E731
    norm = lambda name: {f"{name}.weight": (d,), f"{name}.bias": (d,)}  # noqa: E731
    found = {"in_emb.weight": (vocabulary, d), "out_emb.bias": (vocabulary,)}
    for i in range(config["n_layer"]):
        layer, attention = f"layers.{i}.", f"layers.{i}.attn."
        for name in ("proj_query", "proj_key", "proj_val", "proj_out", "r_net"):
            found[f"{attention}{name}.weight"] = (d, d)
        found.update({attention + "r_w_bias": (1, heads, 1, 1, d // heads), attention + "r_r_bias": (1, heads, 1, d // heads)})
        found.update({**linear(attention + "dconv_1", heads * config["chunk_rank"], d), **linear(attention + "r_net_chunk", d, d)})
        found.update({**norm(attention + "dual_ln_win"), **norm(attention + "dual_ln_dproj"), **norm(layer + "norm1"), **norm(layer + "norm2")})
        found.update({**linear(layer + "ff.fc1", hidden, d), **linear(layer + "ff.fc2", d, hidden)})
    return found


def base_shape(folder):
    """A model file with random weights, of printable characters."""
    letters = [*map(chr, range(33, 127)), "<space>"]
    (folder / "dict.txt").write_text("".join(f"{letter} 1\n" for letter in letters))
    (folder / "config.json").write_text(json.dumps(BASE))
    random, header, parts, end = np.random.default_rng(1), {}, [], 0
    for name, shape in tensors(BASE, len(letters) + 4).items():
        array = random.standard_normal(shape, np.float32) / np.float32(np.sqrt(shape[-1]))
        header[name] = {"dtype": "F32", "shape": shape, "data_offsets": [end, end + array.nbytes]}
        parts.append(array.tobytes())
        end += array.nbytes
    text = json.dumps(header).encode()
    (folder / "base.safetensors").write_bytes(struct.pack("<Q", len(text)) + text + b"".join(parts))
    lsrt.convert(folder / "base.safetensors", folder / "base.lsrt", family="lm", config=folder / "config.json")
    return folder / "base.lsrt"


def tool(*arguments):
    return json.loads(subprocess.run([lsrt.tool.path(), *map(str, arguments), "--json"], stdout=subprocess.PIPE, check=True).stdout)


def generate(model, path, tokens):
    """Tokens a second after the first: of Python, of the tool."""
    pieces = model.session(threads=1).generate("It", tokens, temperature=0.0)
    next(pieces)
    start = time.perf_counter()
    count = sum(1 for _ in pieces)
    ours = count / (time.perf_counter() - start)
    theirs = tool("generate", path, "--prompt", "It", "-n", tokens, "--temperature", 0, "--threads", 1)
    return ours, 1000 / theirs["decode_ms_per_token"]


def classify(model, path, _):
    """Images a second: of Python, of the tool."""
    size, _ = model._handle.image_input()
    images = np.random.default_rng(1).integers(0, 256, (BATCH, size, size, 3), np.uint8)
    start = time.process_time()
    model.classify(images, threads=1)
    ours = BATCH / (time.process_time() - start)
    return ours, 1000 / tool("bench", path, "--threads", 1, "--repetitions", BATCH)["results"][0]["median_ms"]


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("models", nargs="*", type=pathlib.Path)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--tokens", type=int, default=200)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        for path in args.models or [base_shape(pathlib.Path(folder))]:
            model = lsrt.load(path)
            run, unit = (generate, "tokens/s") if model.family == "lm" else (classify, "images/s")
            run(model, path, args.tokens)
            rounds = [run(model, path, args.tokens) for _ in range(args.rounds)]
            ours, theirs = (statistics.median(values) for values in zip(*rounds))
            ratio = statistics.median(ours / theirs for ours, theirs in rounds)
            print(f"{path.name}: Python {ours:.0f}, tool {theirs:.0f} {unit}; ratio {ratio:.3f}")


if __name__ == "__main__":
    main()
