#!/usr/bin/env python3
"""Draws images with what a model says of them: docs/gallery.png.

usage: scripts/gallery.py build/lsrt MODEL.lsrt OUT.png IMAGE...        (pip install pillow matplotlib)
"""
import json
import subprocess
import sys

import matplotlib
from PIL import Image

matplotlib.use("agg")
import matplotlib.pyplot as plt

lsrt, model, out, *images = sys.argv[1:]
figure, axes = plt.subplots(2, len(images), figsize=(1.5 * len(images), 2.6), height_ratios=[3, 1.4], squeeze=False)
for (top, bottom), path in zip(axes.T, images):
    answer = json.loads(subprocess.run([lsrt, "classify", model, path, "--top", "3", "--json"], check=True,
                                       stdout=subprocess.PIPE).stdout)
    best = answer["results"][0]["top"]
    top.imshow(Image.open(path))
    top.set_axis_off()
    top.set_title(f"{best[0]['label']} {best[0]['probability']:.0%}", fontsize=8)
    bottom.barh([b["label"] for b in best], [b["probability"] for b in best], color="tab:blue")
    bottom.invert_yaxis()
    bottom.set_xlim(0, 1)
    bottom.tick_params(labelsize=5, length=0)
    bottom.set_xticks([])
figure.tight_layout()
figure.savefig(out, dpi=150)
