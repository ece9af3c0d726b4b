#!/usr/bin/env python3
"""Writes the seeds of fuzz/corpus that have a name: inputs that a fuzzer would take long to find. (Those named by a
hash are its own findings.)

    fuzz/seeds.py
"""
import json
import math
import pathlib
import struct

import torch_seeds

CORPUS = pathlib.Path(__file__).parent / "corpus"
GOLDEN = pathlib.Path(__file__).parent.parent / "tests/data/golden"
# Those of config_fuzz.cc, by its numbers.
CHECKPOINTS = [
    "lm-rank0", "encoder-rank0", "vil-rank0", "lm-preln-rank2", "lra-dual", "vil-3stage-odd-window-ape",
    "lm-postln-relu-bias", "lra-conv-cls", "mamba1-hf", "lra-listops", "mamba1-original", "mamba2-hf",
    "mamba2-original-groups", "falcon-mamba-hf", "longformer-absolute-pad", "longformer-exact-2global-unshared",
    "longformer-relative", "gfnet", "gfnet-pyramid", "longnet", "longnet-mean"]
SIZES = {"F32": 4, "F16": 2, "BF16": 2, "F64": 8, "I64": 8, "I32": 4, "I16": 2, "I8": 1, "U8": 1, "BOOL": 1}


def write(target, seeds):
    folder = CORPUS / target
    folder.mkdir(exist_ok=True)
    for name, data in seeds.items():
        (folder / name).write_bytes(data if isinstance(data, bytes) else data.encode())


def tensor(dtype, shape, begin, end):
    return {"dtype": dtype, "shape": shape, "data_offsets": [begin, end]}


def shard(header, data=b""):
    """A safetensors file without the length of its header."""
    return json.dumps(header, separators=(",", ":")).encode() + data


def others():
    """What people take for a checkpoint."""
    return {
        "other-model": b"\0\0\0\0LSRT",
        "other-lfs": b"version https://git-lfs.github.com/spec/v1",
        "other-gzip": b"\x1f\x8b\x08",
        "other-hdf5": b"\x89HDF\r\n",
        "other-numpy": b"\x93NUMPY",
        "other-gguf": b"GGUF",
        "other-html": b"<html>",
        "other-list": b"[1]",
        "other-tar": bytes(257) + b"ustar",
        "other": b"\1\2\3",
    }


def every_type():
    header, data = {"__metadata__": {"format": "pt"}}, b""
    for dtype, size in SIZES.items():
        header[dtype] = tensor(dtype, [2, 3], len(data), len(data) + 6 * size)
        data += bytes(range(6 * size))
    return shard(header, data)


def safetensors():
    one = {"t": tensor("F32", [1], 0, 4)}
    word = bytes(4)
    write("safetensors", {
        "every-type": every_type(),
        "scalar-and-empty": shard({"s": tensor("F32", [], 0, 4), "e": tensor("I8", [0, 7], 4, 4)}, word),
        "metadata-of-numbers": shard({"__metadata__": {"a": 1}, **one}, word),
        "metadata-is-a-list": shard({"__metadata__": [], **one}, word),
        "unknown-type": shard({"t": tensor("F8", [1], 0, 1)}, b"x"),
        "no-shape": shard({"t": {"dtype": "F32", "data_offsets": [0, 4]}}, word),
        "type-is-a-number": shard({"t": tensor(4, [1], 0, 4)}, word),
        "negative-extent": shard({"t": tensor("F32", [-1], 0, 4)}, word),
        "huge-extent": shard({"t": tensor("F32", [1 << 63], 0, 4)}, word),
        "shape-of-text": shard({"t": tensor("F32", "1", 0, 4)}, word),
        "nine-axes": shard({"t": tensor("F32", [1] * 70, 0, 4)}, word),
        "product-overflows": shard({"t": tensor("F32", [0] + [1 << 40] * 2, 0, 0)}),
        "past-the-end": shard({"t": tensor("F32", [2], 0, 8)}, word),
        "ends-before-it-begins": shard({"t": tensor("F32", [1], 4, 0)}, word),
        "too-few-bytes": shard({"t": tensor("F32", [1], 0, 3)}, b"xyz"),
        "hole": shard({"t": tensor("F32", [1], 4, 8)}, 2 * word),
        "overlap": shard({"a": tensor("F32", [1], 0, 4), "b": tensor("F32", [1], 0, 4)}, word),
        "twice": b'{"t":{"dtype":"F32","shape":[1],"data_offsets":[0,4]},"t":0}' + word,
        "deep": b'{"t":' + b"[" * 20 + b"]" * 20 + b"}",
        "all-values": b'{"t":[null,true,-1,1.5,"text"]}',
        "names": shard({"\u00e9\U0001f600\u0007": tensor("F32", [1], 0, 4)}, word),
        "header-past-the-end": struct.pack("<Q", 1000) + b"{}",
        "header-of-200-MB": struct.pack("<Q", 200 << 20) + b"{}",
        **others(),
    })


def folder_input(files, config, index, first, second=b""):
    parts = [p if isinstance(p, bytes) else json.dumps(p).encode() for p in (config, index, first)]
    return struct.pack("<B3H", files, *map(len, parts)) + b"".join(parts) + second


def tiny_mamba(head=None):
    """The index and two shards of a model of one layer: width 2, 2 inner channels, 1 state. head: what its weights
    are times those of the embedding."""
    layer = "backbone.layers.0."
    shapes = {
        "backbone.embeddings.weight": [3, 2], "backbone.norm_f.weight": [2], layer + "norm.weight": [2],
        layer + "mixer.in_proj.weight": [4, 2], layer + "mixer.conv1d.weight": [2, 1, 1],
        layer + "mixer.conv1d.bias": [2], layer + "mixer.x_proj.weight": [3, 2],
        layer + "mixer.dt_proj.weight": [2, 1], layer + "mixer.dt_proj.bias": [2], layer + "mixer.A_log": [2, 1],
        layer + "mixer.D": [2], layer + "mixer.out_proj.weight": [2, 2]}
    if head is not None:
        shapes["lm_head.weight"] = [3, 2]
    headers, data, files = ({}, {}), [b"", b""], ("a.safetensors", "b.safetensors")
    weight_map = {}
    for i, (name, shape) in enumerate(shapes.items()):
        which = i % 2
        scale = head if name == "lm_head.weight" else 1
        values = struct.pack(f"<{math.prod(shape)}f", *(scale * (0.5 - 0.1 * k) for k in range(math.prod(shape))))
        begin = len(data[which])
        data[which] += values
        headers[which][name] = tensor("F32", shape, begin, len(data[which]))
        weight_map[name] = files[which]
    return {"weight_map": weight_map}, shard(headers[0], data[0]), shard(headers[1], data[1])


def folders():
    config, whole, index, torch = 1, 2, 4, 8
    one, two = ({name: tensor("F32", [1], 0, 4)} for name in "st")
    a, b = shard(one, bytes(4)), shard(two, bytes(4))
    shards = {"weight_map": {"s": "a.safetensors", "t": "b.safetensors"}}
    mamba = {"model_type": "mamba", "ssm_cfg": {"layer": "Mamba1"}}
    write("folder", {
        "shards": folder_input(config | index, {}, shards, a, b),
        "mamba": folder_input(config | index, mamba, *tiny_mamba()),
        "mamba-tied": folder_input(config | index, mamba, *tiny_mamba(1)),
        "mamba-head": folder_input(config | index, mamba, *tiny_mamba(2)),
        "whole": folder_input(config | whole | index, {}, shards, a),
        "every-type": folder_input(config | whole, {}, b"", every_type()),
        "empty": folder_input(config | whole, {}, b"", shard({"e": tensor("I8", [0, 7], 0, 0)})),
        **{name: folder_input(config | whole, {}, b"", data) for name, data in others().items()},
        "torch": folder_input(config | torch, {}, b"", b"\x80\x02}."),
        "no-weights": folder_input(config, {}, b"", b""),
        "no-config": folder_input(whole, b"", b"", a),
        "config-of-python": folder_input(
            config | whole, b'{"a":NaN,"b":[Infinity,-Infinity],"c":"NaN \\" Infinity"}', b"", a),
        "config-is-a-list": folder_input(config | whole, [], b"", a),
        "config-is-no-json": folder_input(config | whole, b"{", b"", a),
        "no-map": folder_input(config | index, {}, {}, a, b),
        "map-is-a-list": folder_input(config | index, {}, {"weight_map": ["a"]}, a, b),
        "map-of-numbers": folder_input(config | index, {}, {"weight_map": {"s": 1}}, a, b),
        "other-folder": folder_input(config | index, {}, {"weight_map": {"s": "../a.safetensors"}}, a, b),
        "hidden-file": folder_input(config | index, {}, {"weight_map": {"s": ".a"}}, a, b),
        "no-such-shard": folder_input(config | index, {}, {"weight_map": {"s": "c.safetensors"}}, a, b),
        "1025-shards": folder_input(config | index, {}, {"weight_map": {f"t{i}": str(i) for i in range(1025)}}, a),
        "listed-but-missing": folder_input(
            config | index, {}, {"weight_map": {**shards["weight_map"], "u": "a.safetensors"}}, a, b),
        "in-both-shards": folder_input(config | index, {}, shards, a, a),
    })


def models():
    """Files that are no model, with the byte that tells how a model is run."""
    write("model", {
        "other-zip": b"PK\3\4" + bytes(20) + b"\0",
        "other-pickle": b"\x80\2}." + bytes(20) + b"\0",
        "other-safetensors": struct.pack("<Q", 2) + b'{"a": 1}  ' + b"\0",
        "other-gguf": b"GGUF" + bytes(20) + b"\0",
        "other-tflite": bytes(4) + b"TFL3" + bytes(20) + b"\0",
        "other-lfs": b"version https://git-lfs.github.com/spec/v1\n" + b"\0",
        "other-text": b"Once upon a time\n\t" + b"\0",
        "other": bytes(range(1, 60)) + b"\0",
        "no-header": bytes(4) + b"LSRT" + bytes(20) + b"\0",
        **{f"complete-{i}": bytes([i, 0]) for i in range(12)},
    })


def snapshots():
    """States that the target makes: tokens, then its bits."""
    reseal, model, from_file, other_model, other_memory, no_sampler = 1, 2, 8, 16, 32, 64
    seeds = {"no-state": bytes(60) + bytes([0]), "other-format": b"LSRTSTAT\7\0\0\0" + bytes(60) + bytes([1])}
    for kind in range(4):
        for tokens in (0, 3, 40):
            seeds[f"model-{kind}-{tokens}"] = bytes([tokens, reseal | kind * model])
        seeds[f"model-{kind}-file"] = bytes([9, kind * model | from_file])
        seeds[f"model-{kind}-other-model"] = bytes([9, kind * model | other_model])
        seeds[f"model-{kind}-other-memory"] = bytes([9, kind * model | other_memory])
        seeds[f"model-{kind}-no-sampler"] = bytes([9, kind * model | no_sampler])
    write("snapshot", seeds)


def configs():
    """The number of a checkpoint of config_fuzz.cc, hyper-parameters, and other options."""
    def seed(checkpoint, config, block=None, memory=0, flags=0):
        more = b"" if block is None else struct.pack("<xIIB", block, memory, flags)
        return bytes([checkpoint]) + json.dumps(config).encode() + more

    def golden(checkpoint, **changes):
        case = json.loads((GOLDEN / CHECKPOINTS[checkpoint] / "case.json").read_text())
        config = case.get("config", {})
        config = {k: v for k, v in {**case, **config, **changes}.items()
                  if v is not None and k not in ("config", "runs", "origin", "checkpoint", "key")}
        return config

    def changed(checkpoint, **changes):
        return seed(checkpoint, golden(checkpoint, **changes))

    rank0, rank2, plain, dual, tied, vil, vil_ape, long, gfnet, slide = 0, 3, 1, 4, 9, 2, 5, 16, 17, 19
    mamba1, mamba2, grouped = 8, 11, 12
    arch = golden(vil)["arch"]
    write("config", {
        **{name: changed(i) for i, name in enumerate(CHECKPOINTS)},
        **{f"{name}-alone": seed(i, {}) for i, name in enumerate(CHECKPOINTS)},
        "lm-options": seed(rank0, golden(rank0), 8, 64),
        "lm-memory-under-window": seed(rank0, golden(rank0), 8, 4),
        "lm-memory-no-multiple": seed(rank0, golden(rank0), 8, 33),
        "lm-memory-over-all": seed(rank0, golden(rank0), 8, 1 << 30),
        "lm-no-dictionary": seed(10, golden(rank0), 0, 0, 16),
        "lm-dictionary-beside": seed(rank0, golden(rank0), 0, 0, 16),
        "lm-other-dictionary": seed(rank0, golden(rank0), 0, 0, 32),
        "lm-odd-heads": changed(rank0, n_head=3),
        "lm-rank": changed(rank2, chunk_rank=60000),
        "lm-clamp-of-text": changed(rank0, clamp_len="x"),
        "lm-mixture": changed(rank0, mixer=["full", "long-short"]),
        "lm-mixture-short": changed(rank0, mixer=["full"]),
        "lm-mixture-unknown": changed(rank0, mixer=["full", "none"]),
        "lm-mixture-of-numbers": changed(rank0, mixer=[1]),
        "lm-mixture-is-a-text": changed(rank0, mixer="full"),
        "encoder-mixture": changed(plain, mixer=["full", "long-short"]),
        "encoder-other-attention": changed(plain, attn_type="softmax"),
        "encoder-other-pooling": changed(plain, pooling_mode="CLS"),
        "encoder-head-dim": changed(plain, num_head=None),
        "encoder-cls": changed(plain, cls_token=True),
        "encoder-heads": changed(plain, num_head=3),
        "encoder-no-heads": changed(plain, num_head=None, head_dim=1000),
        "encoder-other-width": changed(plain, transformer_dim=64),
        "encoder-labels": seed(plain, golden(plain), 0, 0, 5),
        "encoder-labels-wrong": seed(plain, golden(plain), 0, 0, 4),
        "vil-labels": seed(vil, golden(vil), 0, 0, 5),
        "vil-labels-wrong": seed(vil, golden(vil), 0, 0, 4),
        "vil-two-stages": changed(vil, arch=arch[:arch.rindex("_")]),
        "vil-other-width": changed(vil, arch=arch.replace("d64", "d128")),
        "vil-no-window": changed(vil, arch=""),
        "vil-size-no-multiple": changed(vil, img_size=33),
        "vil-size-unknown": changed(vil, img_size=None),
        "vil-positions-tell-size": changed(vil_ape, img_size=None),
        "vil-small-resize": changed(vil, resize=16),
        "vil-other-crop": changed(vil, crop=16),
        "vil-other-classes": changed(vil, num_classes=7),
        "vil-classes": changed(vil, classes=["a", "b"]),
        "longnet-heads": changed(slide, heads=5),
        "longnet-layers": changed(slide, layers=3),
        "longnet-no-ratio-of-1": changed(slide, ratios=[2, 4, 8]),
        "longnet-two-ratios": changed(slide, ratios=[1, 2]),
        "longnet-nine": changed(slide, ratios=[1] * 9, segments=[8] * 9),
        "longnet-ratios-of-text": changed(slide, ratios="1,2"),
        "longnet-no-segments": changed(slide, segments=[]),
        "longnet-segment-of-0": changed(slide, segments=[8, 0, 64]),
        "longnet-many-cells": changed(slide, slide_ngrids=1 << 20),
        "gfnet-labels": seed(gfnet, {"classes": ["a", "b"]}),
        "gfnet-small-resize": seed(gfnet, {"resize": 1}),
        "longformer-edges": changed(long, exact=1),
        "longformer-torus": changed(long, exact=-1),
        "longformer-edges-unknown": changed(long, exact=2),
        "longformer-only-global": changed(long, only_global=True),
        "longformer-by-itself": changed(long, mode=-1),
        "mamba-block": seed(mamba1, {}, 8, 8),
        "mamba-tokenizer": seed(mamba1, {}, 0, 0, 64),
        "mamba-attention": seed(mamba1, {"attn_layer_idx": [1]}),
        "mamba-feed-forward": seed(mamba1, {"d_intermediate": 8}),
        "mamba-activation": seed(mamba1, {"hidden_act": "gelu"}),
        "mamba-layer": seed(mamba1, {"layer": "Mamba3"}),
        "mamba-no-norm": seed(mamba2, {"rmsnorm": False}),
        "mamba-norm-before": seed(mamba2, {"norm_before_gate": True}),
        "mamba-d-ssm": seed(mamba2, {"d_ssm": 8}),
        "mamba-groups": seed(mamba2, {"n_groups": 7}),
        "mamba-groups-remark": seed(grouped, {"model_type": "mamba2"}),
        "mamba-limits": seed(mamba2, {"dt_limit": [0.0, {"__float__": "Infinity"}]}),
        "mamba-limits-wrong": seed(mamba2, {"dt_limit": [1, 0]}),
    })


if __name__ == "__main__":
    write("pickle", torch_seeds.pickles())
    write("torch", torch_seeds.torches())
    safetensors()
    folders()
    models()
    snapshots()
    configs()
