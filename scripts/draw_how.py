#!/usr/bin/env python3
"""Draws docs/how-attention.svg and docs/how-scan.svg: what a token sees, and what a stream keeps.

usage: scripts/draw_how.py [--check]     --check: only compares with the files that are there
"""
import pathlib
import sys

DOCS = pathlib.Path(__file__).resolve().parents[1] / "docs"
BLUE, LIGHT, ORANGE, GREY, INK = "#3f51b5", "#c5cae9", "#ef6c00", "#e0e0e0", "#37474f"


def box(x, y, w, h, fill, stroke="#ffffff"):
    return f'<rect x="{x}" y="{y}" width="{w}" height="{h}" rx="2" fill="{fill}" stroke="{stroke}"/>'


def text(x, y, words, anchor="middle", size=13, fill=INK):
    return f'<text x="{x}" y="{y}" text-anchor="{anchor}" font-size="{size}" fill="{fill}">{words}</text>'


def arrow(x1, y1, x2, y2, colour=INK):
    return f'<line x1="{x1}" y1="{y1}" x2="{x2}" y2="{y2}" stroke="{colour}" stroke-width="1.2" marker-end="url(#end)"/>'


def svg(width, height, parts):
    head = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" font-family="sans-serif">'
    marker = f'<defs><marker id="end" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="6" markerHeight="6" orient="auto"><path d="M0 0L8 4L0 8z" fill="{INK}"/></marker></defs>'
    return "\n".join([head, marker, box(0, 0, width, height, "#ffffff"), *parts, "</svg>"]) + "\n"


def attention():
    """28 tokens in chunks of 4; the last one sees 8 raw ones and the chunks before its own."""
    side, left, row, window, chunk, count = 26, 20, 150, 8, 4, 28
    parts = [text(left, 28, "what the last token sees: a window of raw tokens, and one summary of every chunk before", "start", 15)]
    for i in range(count):
        colour = ORANGE if i == count - 1 else BLUE if i >= count - window else GREY
        parts.append(box(left + i * side, row, side - 2, side - 2, colour))
    parts.append(text(left + (count - window / 2) * side, row + 46, "window: raw keys and values"))
    parts.append(text(left + (count - window) / 2 * side, row + 46, "older tokens: not kept once they are summed up"))
    query = (left + (count - 0.5) * side, row - 4)
    for c in range(count // chunk - 1):
        x = left + (c + 0.5) * chunk * side
        for i in range(chunk):
            parts.append(f'<line x1="{left + (c * chunk + i + 0.5) * side - 1}" y1="{row}" x2="{x}" y2="{row - 36}" stroke="{LIGHT}" stroke-width="2"/>')
        parts.append(box(x - 22, row - 58, 44, 22, LIGHT, BLUE))
        parts.append(text(x, row - 43, "S%d" % (c + 1), size=12))
    parts.append(text(left + 3 * chunk * side, row - 76, "summaries: softmax-weighted sums of a chunk, their weights learned"))
    parts.append(arrow(query[0], query[1] - 50, query[0], query[1]))
    parts.append(text(query[0], query[1] - 56, "query", size=12))
    return svg(left * 2 + count * side, row + 66, parts)


def scan():
    """Three steps of one recurrence, with the same boxes at each."""
    parts, left, step = [text(20, 28, "a state of constant size: it decays, takes in the token, and is read", "start", 15)], 40, 230
    for i in range(3):
        x = left + i * step
        parts += [box(x, 80, 110, 54, LIGHT, BLUE), text(x + 55, 103, f"H{i + 1}"), text(x + 55, 122, "N numbers a channel", size=10)]
        parts += [box(x + 32, 176, 46, 26, GREY), text(x + 55, 194, f"x{i + 1}"), arrow(x + 55, 174, x + 55, 138), text(x + 62, 160, "dt B x", "start", 12)]
        parts += [arrow(x + 55, 80, x + 55, 54), text(x + 62, 72, f"y{i + 1} = C H{i + 1} + d x{i + 1}", "start", 12)]
        parts += [arrow(x + 112, 107, x + step - 4, 107), text(x + 110 + (step - 110) / 2, 98, "exp(dt a)", size=12)]
    return svg(left + 3 * step + 20, 220, parts)


if __name__ == "__main__":
    for name, made in (("how-attention.svg", attention()), ("how-scan.svg", scan())):
        if "--check" not in sys.argv:
            (DOCS / name).write_text(made)
        elif (DOCS / name).read_text() != made:
            sys.exit(f"docs/{name} is not what scripts/draw_how.py draws")
