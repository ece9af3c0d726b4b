#!/usr/bin/env python3
"""Writes a Hugging Face folder of a Mamba with random bfloat16 weights, in shards.

For measuring what `lsrt convert` takes: weights of any size that need no download."""
import argparse
import json
import math
import os
import struct

SHAPES = {"130m": (24, 768), "370m": (48, 1024), "790m": (48, 1536), "1.4b": (48, 2048), "2.8b": (64, 2560)}
SHARD = 2_000_000_000  # bytes
VOCABULARY, STATES, TAPS = 50280, 16, 4


def tensors(layers, d):
    inner, rank = 2 * d, -(-d // 16)
    yield "backbone.embeddings.weight", (VOCABULARY, d)
    for i in range(layers):
        yield from ((f"backbone.layers.{i}.{name}", shape) for name, shape in (
            ("norm.weight", (d,)), ("mixer.in_proj.weight", (2 * inner, d)), ("mixer.conv1d.weight", (inner, 1, TAPS)),
            ("mixer.conv1d.bias", (inner,)), ("mixer.x_proj.weight", (rank + 2 * STATES, inner)),
            ("mixer.dt_proj.weight", (inner, rank)), ("mixer.dt_proj.bias", (inner,)), ("mixer.A_log", (inner, STATES)),
            ("mixer.D", (inner,)), ("mixer.out_proj.weight", (d, inner))))
    yield "backbone.norm_f.weight", (d,)


def bfloat16(name, count):
    """Constants where a model needs them, else magnitudes of 2^-7 to 2^-5 with either sign."""
    if name.endswith(("norm.weight", "norm_f.weight", "mixer.D", "A_log")):
        return b"\x80\x3f" * count
    out = bytearray(2 * count)
    out[0::2] = os.urandom(count)
    out[1::2] = os.urandom(count).translate(bytes((0x3C, 0xBC)) * 128)
    return out


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("shape", choices=SHAPES)
    parser.add_argument("folder")
    arguments = parser.parse_args()
    (layers, d), folder = SHAPES[arguments.shape], arguments.folder
    os.makedirs(folder, exist_ok=True)
    shards, size = [[]], 0
    for name, shape in tensors(layers, d):
        n = 2 * math.prod(shape)
        if size + n > SHARD and shards[-1]:
            shards.append([])
            size = 0
        shards[-1].append((name, shape, n))
        size += n
    where = {}
    for i, shard in enumerate(shards):
        file = f"model-{i + 1:05}-of-{len(shards):05}.safetensors"
        header, at = {}, 0
        for name, shape, n in shard:
            header[name] = {"dtype": "BF16", "shape": shape, "data_offsets": [at, at + n]}
            where[name] = file
            at += n
        text = json.dumps(header).encode()
        text += b" " * (-len(text) % 8)
        with open(os.path.join(folder, file), "wb") as out:
            out.write(struct.pack("<Q", len(text)) + text)
            for name, _, n in shard:
                out.write(bfloat16(name, n // 2))
    json.dump({"weight_map": where}, open(os.path.join(folder, "model.safetensors.index.json"), "w"))
    json.dump({"model_type": "mamba", "hidden_size": d, "num_hidden_layers": layers}, open(os.path.join(folder, "config.json"), "w"))


if __name__ == "__main__":
    main()
