"""Trains a language model on the bytes of your files and writes a checkpoint that ``lsrt convert`` reads.

    python -m lsrt.torch.train_text novels/*.txt -o novels                  # Transformer-LS; --arch mamba: Mamba
    python -m lsrt.torch.train_text novels/*.txt -o novels --steps 9000 --resume

The text is read as `batch` streams, side by side and in order, block by block; what a block leaves, the memory or the
state, goes into the next one, without gradient, as the authors of Transformer-LS train."""

import argparse
import math
import pathlib
import time
from typing import Any, List, Tuple

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from . import LongShortLM, MambaLM
from .files import dictionary_ids, write, write_dictionary, write_tokenizer

# What a checkpoint is bound to: --resume takes these from it.
SHAPE = ("arch", "layers", "width", "heads", "window", "chunk", "rank", "memory", "states", "dropout", "block", "batch", "seed")


def parse(arguments: Any = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m lsrt.torch.train_text", description="Trains a byte language model on files.")
    parser.add_argument("files", nargs="+", type=pathlib.Path, help="text; any bytes")
    parser.add_argument("-o", "--output", type=pathlib.Path, required=True, help="folder of the checkpoint")
    parser.add_argument("--arch", choices=["long-short", "mamba"], default="long-short")
    parser.add_argument("--layers", type=int, default=4)
    parser.add_argument("--width", type=int, default=256)
    parser.add_argument("--heads", type=int, default=4, help="long-short")
    parser.add_argument("--window", type=int, default=64, help="long-short: tokens seen as they are")
    parser.add_argument("--chunk", type=int, default=16, help="long-short: tokens in a summary")
    parser.add_argument("--rank", type=int, default=1, help="long-short: summaries of a chunk")
    parser.add_argument("--memory", type=int, default=512, help="long-short: tokens before a block that are seen as summaries")
    parser.add_argument("--states", type=int, default=16, help="mamba: numbers of state of a channel")
    parser.add_argument("--dropout", type=float, default=0.1, help="0 if there is more text than the model can learn by heart")
    parser.add_argument("--block", type=int, default=256, help="tokens of a stream in a step; of long-short convert --block, too")
    parser.add_argument("--batch", type=int, default=16, help="streams")
    parser.add_argument("--steps", type=int, default=5000)
    parser.add_argument("--rate", type=float, default=1e-3, help="highest learning rate, after --warmup; then a cosine to zero")
    parser.add_argument("--warmup", type=int, default=100, help="steps")
    parser.add_argument("--every", type=int, default=250, help="steps from one validation and checkpoint to the next")
    parser.add_argument("--valid", type=pathlib.Path, help="text to validate with; else the last twentieth of the files")
    parser.add_argument("--resume", action="store_true", help="go on from the checkpoint in the folder, with its options of the model")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--threads", type=int, help="of the CPU")
    parser.add_argument("--seed", type=int, default=0)
    return parser.parse_args(arguments)


def make_model(args: argparse.Namespace) -> nn.Module:
    if args.arch == "mamba":
        return MambaLM(256, args.layers, args.width, d_state=args.states, dropout=args.dropout)
    hidden = 4 * args.width
    return LongShortLM(
        4 + 255, args.layers, args.width, args.heads, hidden, args.window, args.memory, args.chunk, args.rank, dropout=args.dropout
    )


def byte_ids(arch: str) -> np.ndarray:
    """The token of each byte."""
    return np.asarray(dictionary_ids() if arch == "long-short" else range(256), np.int64)


def read_texts(args: argparse.Namespace) -> Tuple[Tensor, Tensor]:
    """Tokens to train and to validate with."""
    ids = byte_ids(args.arch)
    text = np.frombuffer(b"".join(path.read_bytes() for path in args.files), np.uint8)
    if args.valid:
        valid = np.frombuffer(args.valid.read_bytes(), np.uint8)
    else:
        text, valid = np.split(text, [len(text) - len(text) // 20])
    least = args.batch * (2 * args.block + 1)
    if len(text) < least or len(valid) <= args.block:
        raise SystemExit(
            f"train_text: {len(text)} bytes to train and {len(valid)} to validate with are too few: {args.batch} streams in blocks of "
            f"{args.block} need {least} and {args.block + 1}; give more text, a smaller --batch or --block"
        )
    return torch.from_numpy(ids[text]), torch.from_numpy(ids[valid])


class Streams:
    """Blocks of `batch` streams, and the tokens that follow each token of them. At the end it starts again, a few tokens
    further on, so that the blocks are others."""

    def __init__(self, tokens: Tensor, batch: int, block: int):
        self.tokens, self.batch, self.block = tokens, batch, block
        self.round, self.at = 0, 0

    def next(self) -> Tuple[Tensor, Tensor, bool]:
        """[batch, block] twice, and whether streams begin here."""
        first = self.round * 37 % self.block
        length = (len(self.tokens) - 1 - first) // self.batch
        if self.at + self.block > length:
            self.round, self.at = self.round + 1, 0
            return self.next()
        rows = self.tokens[first : first + self.batch * length + 1]
        starts = torch.arange(self.batch)[:, None] * length + torch.arange(self.at, self.at + self.block)
        begins = self.at == 0
        self.at += self.block
        return rows[starts], rows[starts + 1], begins


def validate(model: nn.Module, tokens: Tensor, args: argparse.Namespace) -> float:
    """Bits per byte of the whole blocks of a text, as streams side by side."""
    batch = max(1, min(args.batch, (len(tokens) - 1) // (4 * args.block)))
    streams = Streams(tokens, batch, args.block)
    total, count, state = 0.0, 0, None
    model.eval()
    with torch.no_grad():
        while streams.round == 0 and streams.at + args.block <= (len(tokens) - 1) // batch:
            inputs, following, _ = streams.next()
            logits, state = model(inputs.to(args.device), state)
            total += F.cross_entropy(logits.flatten(0, 1), following.flatten().to(args.device), reduction="sum").item()
            count += following.numel()
    model.train()
    return total / count / math.log(2)


def save(model: nn.Module, training: dict, args: argparse.Namespace) -> str:
    """The checkpoint with the text of its tokens, and all that --resume needs."""
    source = model.save(args.output)
    (write_tokenizer if args.arch == "mamba" else write_dictionary)(args.output)
    training = {**training, "model": model.state_dict(), "random": torch.get_rng_state()}
    write({**training, "shape": {name: getattr(args, name) for name in SHAPE}}, args.output / "training.pt")
    return source


def rate(step: int, args: argparse.Namespace) -> float:
    if step < args.warmup:
        return args.rate * (step + 1) / args.warmup
    return args.rate * 0.5 * (1 + math.cos(math.pi * (step - args.warmup) / max(1, args.steps - args.warmup)))


def train(args: argparse.Namespace) -> List[float]:
    """Returns the bits per byte of every validation."""
    saved = None
    if args.resume:
        saved = torch.load(args.output / "training.pt", map_location="cpu", weights_only=True)
        vars(args).update(saved["shape"])
    if args.threads:
        torch.set_num_threads(args.threads)
    torch.set_float32_matmul_precision("high")
    torch.manual_seed(args.seed)
    text, valid = read_texts(args)
    model = make_model(args).to(args.device)
    optimizer = torch.optim.Adam(model.parameters(), lr=args.rate, betas=(0.9, 0.98))
    streams, state, first = Streams(text, args.batch, args.block), None, 0
    if saved:
        model.load_state_dict(saved["model"])
        optimizer.load_state_dict(saved["optimizer"])
        state = to(args.device, saved["state"])
        first, streams.round, streams.at = saved["step"], saved["round"], saved["at"]
        torch.set_rng_state(saved["random"])
    args.output.mkdir(parents=True, exist_ok=True)
    count = sum(parameter.numel() for parameter in model.parameters())
    print(f"{args.arch}, {count} parameters, {len(text)} bytes to train and {len(valid)} to validate with, {args.device}", flush=True)
    source, results, losses, begin = str(args.output), [], [], time.time()
    for step in range(first, args.steps):
        for group in optimizer.param_groups:
            group["lr"] = rate(step, args)
        inputs, following, begins = streams.next()
        logits, state = model(inputs.to(args.device), None if begins else state)
        loss = F.cross_entropy(logits.flatten(0, 1), following.flatten().to(args.device))
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        losses.append(loss.detach())
        if (step + 1) % args.every == 0 or step + 1 == args.steps:
            results.append(validate(model, valid, args))
            mean = torch.stack(losses).mean().item() / math.log(2)
            print(f"step {step + 1}: train {mean:.4f}, validation {results[-1]:.4f} bits per byte, {time.time() - begin:.0f} s", flush=True)
            losses.clear()
            training = {"optimizer": optimizer.state_dict(), "state": state, "step": step + 1, "round": streams.round, "at": streams.at}
            source = save(model, training, args)
    block = f" --block {args.block}" if args.arch == "long-short" else ""
    print(f"lsrt convert {source}{block} -o {args.output}.lsrt")
    return results


def to(device: str, value: Any) -> Any:
    """A state, which is tensors in lists and tuples, on a device."""
    return value.to(device) if isinstance(value, Tensor) else type(value)(to(device, part) for part in value)


if __name__ == "__main__":
    train(parse())
