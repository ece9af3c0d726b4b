"""Trains an image classifier (ViL-LS) on folders of images and writes a checkpoint that ``lsrt convert`` reads.

    python -m lsrt.torch.train_images photos -o birds               # photos/CLASS/*.jpg or *.png
    python -m lsrt.torch.train_images photos -o birds --epochs 60 --resume

Classes are the sorted names of the folders, as ``lsrt classify --eval`` takes them. All images are read once, cut to the size of
the model as the runtime cuts them, and lie in memory: size x size x 3 bytes each."""

import argparse
import pathlib
import time
from typing import Any, Iterator, List, Tuple

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ..images import fit
from . import VisionLongShort
from .files import write
from .train_text import rate

# Three stages, of which the last one, where few rows are left, has full attention: 2.6 M parameters.
ARCH = "l1,h3,d96,n2,s1,g1,p4,f4,a0,r4_l2,h6,d192,n3,s1,g1,p2,f2,a0,r4_l3,h8,d256,n1,s0,g0,p2,f2,a0,r4"
SUFFIXES = (".jpg", ".jpeg", ".png")
MEAN, DEVIATION = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # of ImageNet, which the runtime takes, too
HELD_OUT = 10  # one image of so many

# What a checkpoint is bound to: --resume takes these from it.
SHAPE = ("arch", "size", "resize", "batch", "smoothing", "seed")


def parse(arguments: Any = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m lsrt.torch.train_images", description="Trains a classifier on folders of images.")
    parser.add_argument("folder", type=pathlib.Path, help="FOLDER/CLASS/*.jpg, *.jpeg or *.png")
    parser.add_argument("-o", "--output", type=pathlib.Path, required=True, help="folder of the checkpoint")
    parser.add_argument("--arch", default=ARCH, help="stages, as the authors write them: help(lsrt.torch.VisionLongShort)")
    parser.add_argument("--size", type=int, default=64, help="pixels of a side; the patches of all stages must divide it")
    parser.add_argument("--resize", type=int, help="pixels of the shorter side, before the middle is cut out; else --size")
    parser.add_argument("--valid", type=pathlib.Path, help="folder to validate with; else every tenth image of each class")
    parser.add_argument("--epochs", type=int, default=30)
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--rate", type=float, default=1e-3, help="highest learning rate, after --warmup; then a cosine to zero")
    parser.add_argument("--warmup", type=int, default=100, help="steps")
    parser.add_argument("--smoothing", type=float, default=0.1, help="of the labels")
    parser.add_argument("--resume", action="store_true", help="go on from the last whole epoch in the folder, with its options of the model")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--threads", type=int, help="of the CPU")
    parser.add_argument("--seed", type=int, default=0)
    return parser.parse_args(arguments)


def images_of(folder: pathlib.Path) -> List[pathlib.Path]:
    return sorted(path for path in folder.iterdir() if path.suffix.lower() in SUFFIXES)


def read_images(files: List[Tuple[pathlib.Path, int]], size: int, resize: int) -> Tuple[Tensor, Tensor]:
    """Pixels uint8 [n, 3, size, size] and classes [n] of (file, class) pairs."""
    pixels = np.empty((len(files), size, size, 3), np.uint8)
    for i, (path, _) in enumerate(files):
        try:
            pixels[i] = fit(path, size, resize)
        except OSError as error:
            raise SystemExit(f"train_images: {path}: {error}") from None
    return torch.from_numpy(pixels).permute(0, 3, 1, 2).contiguous(), torch.tensor([label for _, label in files], dtype=torch.long)


def read_folders(args: argparse.Namespace) -> Tuple[List[str], Tuple[Tensor, Tensor], Tuple[Tensor, Tensor]]:
    """Names of the classes, images to train and to validate with."""
    resize = args.resize or args.size
    if resize < args.size:
        raise SystemExit(f"train_images: --resize {resize} is less than --size {args.size}")
    classes = sorted(path.name for path in args.folder.iterdir() if path.is_dir()) if args.folder.is_dir() else []
    train, valid = [], []
    for label, name in enumerate(classes):
        files = [(path, label) for path in images_of(args.folder / name)]
        if args.valid:
            train += files
            valid += [(path, label) for path in images_of(args.valid / name)] if (args.valid / name).is_dir() else []
        else:
            valid += files[HELD_OUT - 1 :: HELD_OUT]
            train += [file for i, file in enumerate(files) if i % HELD_OUT != HELD_OUT - 1]
    if len(classes) < 2 or not valid or len(train) < args.batch:
        raise SystemExit(
            f"train_images: {args.folder}: {len(classes)} classes, {len(train)} images to train and {len(valid)} to validate with: expected "
            f"{args.folder}/CLASS/*.jpg or *.png of two classes or more, a batch of {args.batch} and, without --valid, {HELD_OUT} images of a class"
        )
    return classes, read_images(train, args.size, resize), read_images(valid, args.size, resize)


def normalized(pixels: Tensor, device: str) -> Tensor:
    """What the model takes: float [n, 3, size, size]."""
    mean, deviation = (torch.tensor(x, device=device)[:, None, None] for x in (MEAN, DEVIATION))
    return (pixels.to(device).float() / 255 - mean) / deviation


def varied(pixels: Tensor) -> Tensor:
    """A batch, moved by up to an eighth of a side, half of it mirrored; torch's random numbers."""
    n, _, _, size = pixels.shape
    margin = size // 8
    padded = F.pad(pixels, (margin,) * 4)
    offsets = torch.randint(0, 2 * margin + 1, (n, 2)).tolist()
    moved = torch.stack([image[:, y : y + size, x : x + size] for image, (y, x) in zip(padded, offsets)])
    mirror = torch.rand(n) < 0.5
    moved[mirror] = moved[mirror].flip(-1)
    return moved


def batches(count: int, batch: int, seed: int, epoch: int) -> Iterator[Tensor]:
    """Indices of the images of each step: an order of its own for every epoch, a rest too small for a batch left out."""
    order = torch.randperm(count, generator=torch.Generator().manual_seed(seed * 1_000_003 + epoch))
    return iter(order[: count - count % batch].split(batch))


def validate(model: nn.Module, pixels: Tensor, labels: Tensor, args: argparse.Namespace) -> float:
    """The share of images whose class is found."""
    model.eval()
    with torch.no_grad():
        found = [model(normalized(part, args.device)).argmax(-1).cpu() for part in pixels.split(args.batch)]
    model.train()
    return (torch.cat(found) == labels).float().mean().item()


def save(model: VisionLongShort, optimizer: torch.optim.Optimizer, epoch: int, classes: List[str], args: argparse.Namespace) -> str:
    """The checkpoint, and all that --resume needs."""
    source = model.save(args.output, classes=classes, resize=args.resize or args.size)
    training = {"model": model.state_dict(), "optimizer": optimizer.state_dict(), "epoch": epoch, "random": torch.get_rng_state()}
    write({**training, "classes": classes, "shape": {name: getattr(args, name) for name in SHAPE}}, args.output / "training.pt")
    return source


def train(args: argparse.Namespace) -> List[float]:
    """Returns the share of right answers after every epoch."""
    saved = None
    if args.resume:
        saved = torch.load(args.output / "training.pt", map_location="cpu", weights_only=True)
        vars(args).update(saved["shape"])
    if args.threads:
        torch.set_num_threads(args.threads)
    torch.set_float32_matmul_precision("high")
    torch.manual_seed(args.seed)
    classes, (pixels, labels), valid = read_folders(args)
    model = VisionLongShort(args.arch, args.size, len(classes)).to(args.device)
    optimizer = torch.optim.AdamW(model.parameters(), lr=args.rate, weight_decay=0.05)
    first = 0
    if saved:
        if saved["classes"] != classes:
            raise SystemExit(f"train_images: {args.output} was trained on other classes: {', '.join(saved['classes'])}")
        model.load_state_dict(saved["model"])
        optimizer.load_state_dict(saved["optimizer"])
        first = saved["epoch"]
        torch.set_rng_state(saved["random"])
    args.output.mkdir(parents=True, exist_ok=True)
    count = sum(parameter.numel() for parameter in model.parameters())
    print(f"{count} parameters, {len(classes)} classes, {len(pixels)} images to train and {len(valid[0])} to validate with, {args.device}", flush=True)
    step = first * (len(pixels) // args.batch)
    args.steps = args.epochs * (len(pixels) // args.batch)  # of the whole run: the end of the cosine
    source, results, begin = str(args.output / "checkpoint.pth"), [], time.time()
    for epoch in range(first, args.epochs):
        losses = []
        for indices in batches(len(pixels), args.batch, args.seed, epoch):
            for group in optimizer.param_groups:
                group["lr"] = rate(step, args)
            logits = model(normalized(varied(pixels[indices]), args.device))
            loss = F.cross_entropy(logits, labels[indices].to(args.device), label_smoothing=args.smoothing)
            optimizer.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            losses.append(loss.detach())
            step += 1
        results.append(validate(model, *valid, args))
        mean = torch.stack(losses).mean().item()
        print(f"epoch {epoch + 1}: loss {mean:.4f}, validation {100 * results[-1]:.2f} % right, {time.time() - begin:.0f} s", flush=True)
        source = save(model, optimizer, epoch + 1, classes, args)
    print(f"lsrt convert {source} -o {args.output}.lsrt")
    return results


if __name__ == "__main__":
    train(parse())
