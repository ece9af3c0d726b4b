#!/usr/bin/env python3
"""Makes images/: pictures of every kind that the decoder reads, and what Pillow makes of them.

    pip install pillow numpy; python3 tests/data/make_images.py

expected.safetensors: decoded/NAME [height, width, 3] of every file (transposed as EXIF says), resized/NAME/WxH by
Pillow's bicubic filter, fitted/NAME/RESIZE/SIZE by torchvision's Resize and CenterCrop.
"""

import json
import os
import struct
import zlib

import numpy
from PIL import Image, ImageOps

FOLDER = os.path.join(os.path.dirname(os.path.abspath(__file__)), "images")


def picture(width, height, channels, seed):
    """Smooth waves with some noise: keeps JPEG files small and every filter tap visible."""
    random = numpy.random.default_rng(seed)
    y, x = numpy.mgrid[0:height, 0:width]
    layers = [127 + 90 * numpy.sin(x * random.uniform(0.1, 0.5) + y * random.uniform(0.1, 0.5)) for _ in range(channels)]
    values = numpy.stack(layers, axis=-1) + random.normal(0, 6, (height, width, channels))
    return numpy.clip(values, 0, 255).astype(numpy.uint8)


def write_png(name, width, height, depth, colour, rows, interlace=0):
    """For kinds that Pillow does not write. rows: bytes of each row."""

    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, interlace)
    data = zlib.compress(b"".join(b"\0" + row for row in rows))
    with open(os.path.join(FOLDER, name), "wb") as file:
        file.write(b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", data) + chunk(b"IEND", b""))


def interlaced_rows(pixels):
    """The seven passes of Adam7."""
    for top, left, down, right in [(0, 0, 8, 8), (0, 4, 8, 8), (4, 0, 8, 4), (0, 2, 4, 4), (2, 0, 4, 2), (0, 1, 2, 2), (1, 0, 2, 1)]:
        for row in pixels[top::down, left::right]:
            if row.size:
                yield row.tobytes()


def make_files():
    save = lambda name, pixels, mode=None, **options: Image.fromarray(pixels, mode).save(os.path.join(FOLDER, name), **options)
    rgb = picture(41, 29, 3, 1)
    save("colour.jpg", rgb, quality=90)
    save("progressive.jpg", rgb, quality=85, progressive=True)
    save("no-subsampling.jpg", rgb, quality=90, subsampling=0)
    save("grey.jpg", picture(30, 21, 1, 2)[:, :, 0], quality=90)
    save("cmyk.jpg", picture(26, 18, 4, 3), "CMYK", quality=92)
    for orientation in range(1, 9):
        exif = Image.Exif()
        exif[0x0112] = orientation
        save(f"exif-{orientation}.jpg", picture(13, 9, 3, 4), quality=95, subsampling=0, exif=exif)
    save("colour.png", rgb)
    save("grey.png", picture(17, 11, 1, 5)[:, :, 0])
    save("grey-alpha.png", picture(17, 11, 2, 6), "LA")
    save("alpha.png", picture(19, 12, 4, 7), "RGBA")
    palette = Image.fromarray(rgb).quantize(23)
    palette.save(os.path.join(FOLDER, "palette.png"))
    palette.save(os.path.join(FOLDER, "palette-transparent.png"), transparency=3)
    Image.fromarray(picture(21, 10, 1, 8)[:, :, 0] > 127).save(os.path.join(FOLDER, "one-bit.png"))
    save("pixel.png", picture(1, 1, 3, 9))
    save("line.png", picture(64, 1, 3, 10))
    deep = numpy.random.default_rng(11).integers(0, 65536, (7, 9, 3), dtype=numpy.uint16)
    write_png("deep.png", 9, 7, 16, 2, [row.astype(">u2").tobytes() for row in deep])
    write_png("interlaced.png", 41, 29, 8, 2, interlaced_rows(rgb), interlace=1)


def fit(image, resize, size):
    width, height = image.size
    shorter = min(width, height)
    image = image.resize((resize * width // shorter, resize * height // shorter), Image.BICUBIC)
    left, top = round((image.width - size) / 2), round((image.height - size) / 2)
    return image.crop((left, top, left + size, top + size))


def write_safetensors(path, arrays):
    header, data = {}, b""
    for name, array in arrays.items():
        header[name] = {"dtype": "U8", "shape": list(array.shape), "data_offsets": [len(data), len(data) + array.size]}
        data += array.tobytes()
    text = json.dumps(header).encode()
    with open(path, "wb") as file:
        file.write(struct.pack("<Q", len(text)) + text + data)


def main():
    os.makedirs(FOLDER, exist_ok=True)
    make_files()
    expected = {}
    for name in sorted(os.listdir(FOLDER)):
        if not name.endswith((".jpg", ".png")):
            continue
        image = ImageOps.exif_transpose(Image.open(os.path.join(FOLDER, name))).convert("RGB")
        expected[f"decoded/{name}"] = numpy.asarray(image)
    image = Image.fromarray(expected["decoded/colour.png"])
    for width, height in [(41, 12), (10, 29), (7, 5), (80, 61), (1, 1), (41, 29)]:
        expected[f"resized/colour.png/{width}x{height}"] = numpy.asarray(image.resize((width, height), Image.BICUBIC))
    for resize, size in [(20, 16), (16, 16), (15, 10), (33, 32)]:
        expected[f"fitted/colour.png/{resize}/{size}"] = numpy.asarray(fit(image, resize, size))
    for name in ["pixel.png", "line.png"]:
        fitted = fit(Image.open(os.path.join(FOLDER, name)), 8, 8)
        expected[f"fitted/{name}/8/8"] = numpy.asarray(fitted)
    write_safetensors(os.path.join(FOLDER, "expected.safetensors"), expected)


main()
