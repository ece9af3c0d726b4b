#!/usr/bin/env python3
"""Makes the goldens without summaries (rank 0): golden/lm-rank0, encoder-rank0 and vil-rank0.

    pip install numpy; python3 tests/data/make_goldens.py REFERENCE

REFERENCE: a Python file with the formulas of Transformer-LS in numpy, which agrees with the outputs of the authors'
code on the other goldens: CausalStream, encoder, encoder_head, vision, Weights. Random weights in the authors'
layout, with the tensors that their code keeps when the rank is 0 (norms of summaries, projections without rows);
large on purpose, as in the other goldens, so that a wrong term shows.
"""

import importlib.util
import json
import os
import struct
import sys

import numpy

FOLDER = os.path.join(os.path.dirname(os.path.abspath(__file__)), "golden")
TYPES = {"float32": "F32", "int32": "I32", "int64": "I64"}


def save(path, tensors):
    """A safetensors file."""
    header, data = {}, b""
    for name, value in tensors.items():
        raw = numpy.ascontiguousarray(value).tobytes()
        header[name] = {"dtype": TYPES[value.dtype.name], "shape": list(value.shape),
                        "data_offsets": [len(data), len(data) + len(raw)]}
        data += raw
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    with open(path, "wb") as file:
        file.write(struct.pack("<Q", len(text)) + text + data)


class Checkpoint:
    def __init__(self, seed):
        self.tensors, self.random = {}, numpy.random.default_rng(seed)

    def add(self, name, shape, deviation, mean=0):
        self.tensors[name] = (self.random.normal(0, deviation, shape) + mean).astype(numpy.float32)

    def linear(self, name, outputs, inputs, bias=True):
        self.add(name + ".weight", (outputs, inputs), 1.5 / inputs ** 0.5)
        if bias:
            self.add(name + ".bias", (outputs,), 0.2)

    def norm(self, name, width):
        self.add(name + ".weight", (width,), 0.2, 1)
        self.add(name + ".bias", (width,), 0.2)

    def write(self, case, meta, outputs):
        folder = os.path.join(FOLDER, case)
        os.makedirs(folder, exist_ok=True)
        save(os.path.join(folder, "checkpoint.safetensors"), self.tensors)
        save(os.path.join(folder, "io.safetensors"), outputs)
        with open(os.path.join(folder, "case.json"), "w") as file:
            json.dump(meta, file, indent=1)
            file.write("\n")

    def weights(self, reference):
        return reference.Weights({name: value.astype(float) for name, value in self.tensors.items()})


def stacked(rows):
    return numpy.array(rows).astype(numpy.float32)


def language_model(reference):
    c = dict(n_layer=2, d_model=32, n_head=2, d_inner=64, chunk_size=4, chunk_rank=0, window_len=8, mem_len=32,
             clamp_len=-1, cpos_clamp_len=-1, pre_ln=True, use_gelu=True, use_bias=False, vocab_size=24)
    d, heads, ck, top = c["d_model"], c["n_head"], Checkpoint(1), "decoder.model."
    ck.add(top + "in_emb.weight", (c["vocab_size"], d), 0.3)
    ck.add(top + "out_emb.bias", (c["vocab_size"],), 0.2)
    for i in range(c["n_layer"]):
        layer = f"{top}layers.{i}."
        for name in ("proj_query", "proj_key", "proj_val", "proj_out"):
            ck.linear(layer + "attn." + name, d, d, False)
        ck.linear(layer + "attn.dconv_1", 0, d)
        ck.linear(layer + "attn.r_net", d, d, False)
        ck.linear(layer + "attn.r_net_chunk", d, d)
        for name in ("r_w_bias", "r_r_bias"):
            ck.add(layer + "attn." + name, (1, heads, 1, 1, d // heads), 0.3)
        for name in ("attn.dual_ln_win", "attn.dual_ln_dproj", "norm1", "norm2"):
            ck.norm(layer + name, d)
        ck.linear(layer + "ff.fc1", c["d_inner"], d)
        ck.linear(layer + "ff.fc2", d, c["d_inner"])

    class Stream(reference.CausalStream):
        """Without summaries: the reference's own layer would stack none."""

        def memory_summary(self, p, rows):
            return numpy.zeros((0, self.d)), numpy.zeros((0, self.d))

        block_summary = memory_summary

        def layer(self, p, s, x):
            split = lambda v: v.reshape(-1, self.h, self.dh)
            u = p.ln("norm1", x) if self.c["pre_ln"] else x
            s["window"] = s["window"][1:] + [self.window_row(p, u)]
            q = split(p.lin("attn.proj_query", u) / self.dh ** 0.5)[0]
            key, value = (split(numpy.stack(t)) for t in zip(*s["window"]))
            place = split(numpy.stack(s["Rw"][::-1]))
            score = numpy.einsum("ae,nae->an", q + p["attn.r_w_bias"].reshape(self.h, -1), key)
            score += numpy.einsum("ae,nae->an", q + p["attn.r_r_bias"].reshape(self.h, -1), place)
            mixed = numpy.einsum("an,nae->ae", reference.softmax(score), value).reshape(self.d)
            f = p.ln("norm2", u + p.lin("attn.proj_out", mixed))
            s.setdefault("swap", [])
            return f + p.lin("ff.fc2", reference.gelu(p.lin("ff.fc1", f)))

    outputs = {"tokens": ck.random.integers(0, c["vocab_size"], (1, 75)).astype(numpy.int32)}
    runs = [{"block": 16, "mem_len": 32}, {"block": 8, "mem_len": 64}]
    for run in runs:
        stream = Stream(ck.weights(reference).sub(top), c, run["block"], run["mem_len"])
        name = f"logprobs_block{run['block']}_mem{run['mem_len']}"
        outputs[name] = stacked([[stream.feed(token) for token in outputs["tokens"][0]]])
    ck.write("lm-rank0", {"family": "lm", "config": c, "runs": runs}, outputs)
    with open(os.path.join(FOLDER, "lm-rank0", "dict.txt"), "w") as file:
        for i in range(c["vocab_size"] - 4):
            file.write(f"{97 + i} {1000 - i}\n")


def encoder(reference):
    c = dict(attn_type="lsta", tied_weights=False, embedding_dim=32, transformer_dim=32, transformer_hidden_dim=64,
             head_dim=16, num_head=2, num_layers=2, vocab_size=40, max_seq_len=48, pooling_mode="MEAN", num_classes=5,
             cls_token=False, cls_last_layer=False, num_landmarks=0, window_size=6, conv_kernel_size=-1)
    d, ck = c["transformer_dim"], Checkpoint(2)
    ck.add("model.embeddings.word_embeddings.weight", (c["vocab_size"], d), 1)
    ck.add("model.embeddings.position_embeddings.weight", (c["max_seq_len"], d), 1)
    for i in range(c["num_layers"]):
        layer = f"model.transformer_{i}."
        for name in ("W_q", "W_k", "W_v", "W_o"):
            ck.linear(layer + "mha." + name, d, d)
        ck.linear(layer + "mha.dconv_fc", 0, d)
        for name in ("norm1", "norm2", "mha.dual_ln_l", "mha.dual_ln_s"):
            ck.norm(layer + name, d)
        ck.linear(layer + "mlpblock.0", c["transformer_hidden_dim"], d)
        ck.linear(layer + "mlpblock.3", d, c["transformer_hidden_dim"])
    ck.norm("model.norm", d)
    ck.linear("seq_classifer.mlpblock.0", c["transformer_hidden_dim"], d)
    ck.linear("seq_classifer.mlpblock.2", c["num_classes"], c["transformer_hidden_dim"])
    w, n = ck.weights(reference), c["max_seq_len"]
    tokens = ck.random.integers(0, c["vocab_size"], (2, n)).astype(numpy.int32)
    mask = numpy.ones((2, n), numpy.float32)
    mask[1, 31:] = 0
    encoded = [reference.encoder(w, c, tokens[b], mask[b].astype(float)) for b in range(2)]
    outputs = {"tokens_0": tokens, "mask_0": mask, "encoder_0": stacked(encoded),
               "logits": stacked([reference.encoder_head(w, c, [x]) for x in encoded])}
    ck.write("encoder-rank0", {"family": "encoder", "dual": False, "config": c}, outputs)


def vision(reference):
    meta = dict(family="vil", arch="l1,h2,d32,n1,s1,g1,p2,f4,a1,r0_l2,h2,d32,n2,s1,g1,p2,f4,a0,r0_"
                                   "l3,h4,d64,n1,s0,g1,p2,f2,a0,r0",
                img_size=32, num_classes=6, norm_embed=True, ln_eps=1e-06, avg_pool=False)
    ck, channels, grid = Checkpoint(3), 3, meta["img_size"]
    for i, part in enumerate(meta["arch"].split("_")):
        st = {letter[0]: int(letter[1:]) for letter in part.split(",")}
        d, heads, patches = st["d"], st["h"], f"layer{i + 1}.0."
        grid //= st["p"]
        ck.add(patches + "proj.weight", (d, channels, st["p"], st["p"]), 1 / (channels * st["p"] ** 2) ** 0.5)
        ck.add(patches + "proj.bias", (d,), 0.2)
        ck.norm(patches + "norm_embed", d)
        ck.add(patches + "cls_token", (1, 1, d), 1)
        if st["a"]:
            ck.add(patches + "cls_pos_embed", (1, 1, d), 0.5)
            for axis in "xy":
                ck.add(patches + axis + "_pos_embed", (1, grid, d // 2), 0.5)
        for block in range(st["n"]):
            layer = f"layer{i + 1}.{2 * block + 1}."
            attention = layer + "attn."
            ck.norm(layer + "norm", d)
            ck.linear(attention + "qkv", 3 * d, d)
            ck.linear(attention + "proj", d, d)
            queries, keys = (st["f"], st["f"] + 2 * max(st["f"] // 2, 1)) if st["s"] else (grid, grid)
            if st["s"]:
                ck.linear(attention + "to_dynamic_projection", 0, d)
                ck.norm(attention + "dual_ln_full", d)
                ck.norm(attention + "dual_ln_dp", d)
            if not st["a"]:
                margin = (keys - queries) // 2
                reach = queries - 1 + margin
                ck.add(attention + "local_relative_position_bias_table", ((2 * reach + 1) ** 2, heads), 0.5)
                row, column = numpy.divmod(numpy.arange(queries ** 2), queries)
                key_row, key_column = numpy.divmod(numpy.arange(keys ** 2), keys)
                dy = row[:, None] + margin - key_row + reach
                dx = column[:, None] + margin - key_column + reach
                ck.tensors[attention + "relative_position_index"] = (dy * (2 * reach + 1) + dx).astype(numpy.int64)
                if not st["s"]:
                    ck.add(attention + "g2g_relative_position_bias", (heads, 1, 1), 0.5)
                    ck.add(attention + "g2l_relative_position_bias", (2, heads, 1), 0.5)
            layer = f"layer{i + 1}.{2 * block + 2}."
            ck.norm(layer + "norm", d)
            ck.linear(layer + "mlp.fc1", 4 * d, d)
            ck.linear(layer + "mlp.fc2", d, 4 * d)
        channels = d
    ck.norm("norm", channels)
    ck.linear("head", meta["num_classes"], channels)
    image = ck.random.normal(0, 1, (1, 3, meta["img_size"], meta["img_size"])).astype(numpy.float32)
    results = reference.vision(ck.weights(reference), meta, image[0].astype(float))
    ck.write("vil-rank0", meta, {"image": image, **{k: stacked([v]) for k, v in results.items()}})


def main(path):
    spec = importlib.util.spec_from_file_location("reference", path)
    reference = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(reference)
    for make in (language_model, encoder, vision):
        make(reference)


if __name__ == "__main__":
    main(sys.argv[1])
