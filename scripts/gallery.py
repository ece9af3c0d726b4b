#!/usr/bin/env python3
"""Draws what a model says of test images, chosen by rule and not by hand: docs/gallery.png.

usage: scripts/gallery.py build/lsrt MODEL.lsrt TEST OUT.png        (pip install pillow matplotlib)

TEST/CLASS/*.jpg as for `lsrt classify --eval`. Above: of all images that get a label, the one the model is surest of.
Below: the first image of each class, by file name. Each with label, probability and, where the label is wrong, the truth.
"""
import json
import pathlib
import subprocess
import sys

import matplotlib
from PIL import Image

matplotlib.use("agg")
import matplotlib.pyplot as plt


def main():
    lsrt, model, test, out = sys.argv[1:]
    files = sorted(str(p) for p in pathlib.Path(test).glob("*/*") if p.suffix.lower() in (".jpg", ".jpeg", ".png"))
    answers = []
    for i in range(0, len(files), 500):  # a command line has a limit
        command = [lsrt, "classify", model, *files[i : i + 500], "--top", "1", "--json"]
        results = json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout)["results"]
        answers += [(r["input"], r["top"][0]["label"], r["top"][0]["probability"]) for r in results]
    truth = lambda path: pathlib.Path(path).parent.name
    classes = sorted({truth(path) for path, _, _ in answers})
    surest = [max((a for a in answers if a[1] == c), key=lambda a: a[2], default=None) for c in classes]
    first = [next(a for a in answers if truth(a[0]) == c) for c in classes]

    figure, axes = plt.subplots(2, len(classes), figsize=(1.25 * len(classes), 3.6))
    for row, (title, chosen) in zip(axes, (("surest of each label", surest), ("first file of each class", first))):
        for axis, answer in zip(row, chosen):
            axis.set_axis_off()
            if answer is None:
                continue
            path, label, probability = answer
            right = label == truth(path)
            axis.imshow(Image.open(path), interpolation="nearest")
            axis.set_title(f"{label} {probability:.0%}\n" + ("" if right else f"is: {truth(path)}"), fontsize=8,
                           color="black" if right else "tab:red", pad=2)
        row[0].text(-0.12, 0.5, title, rotation=90, fontsize=8, va="center", ha="right", transform=row[0].transAxes)
    figure.tight_layout()
    figure.savefig(out, dpi=140)
    right = sum(label == truth(path) for path, label, _ in answers)
    print(f"{right} of {len(answers)} labels are right")


if __name__ == "__main__":
    main()
