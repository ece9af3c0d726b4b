"""Images as the runtime takes them."""

import os
from typing import Any

import numpy as np


def fit(image: Any, size: int, resize: int) -> np.ndarray:
    """The shorter side to `resize` (bicubic), then the middle, uint8 [size, size, 3], as the tool does it. image: uint8
    [h, w, 3], a PIL image or a path."""
    try:
        from PIL import Image
    except ImportError:
        raise ImportError("images of other sizes than the model's need Pillow: pip install lsrt[images]") from None
    if isinstance(image, np.ndarray):
        image = Image.fromarray(image)
    elif not hasattr(image, "convert"):
        image = Image.open(os.fspath(image))
    image = image.convert("RGB")
    width, height = image.size
    scale = resize / min(width, height)
    wide, high = (resize, int(resize * height / width)) if width <= height else (int(resize * width / height), resize)
    image = image.resize((wide, high), Image.BICUBIC) if scale != 1 else image
    left, top = int(round((wide - size) / 2)), int(round((high - size) / 2))
    return np.asarray(image.crop((left, top, left + size, top + size)), np.uint8)
