#!/usr/bin/env python3
"""Writes runtime/text/unicode_*.inc, the tables of runtime/text/unicode.cc, from Python's unicodedata (--check only compares)."""
import os
import sys
import unicodedata

FOLDER = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "runtime", "text")
VERSION = "15.1.0"  # of Python 3.13
CODES = [c for c in range(0x110000) if not 0xD800 <= c < 0xE000]
HANGUL = range(0xAC00, 0xD7A4)  # composed by arithmetic


def ranges(value):
    """[first, last, value] of neighbours for which value(code) is the same and not false."""
    found = []
    for code in CODES:
        if not value(code):
            continue
        if found and found[-1][1] == code - 1 and found[-1][2] == value(code):
            found[-1][1] = code
        else:
            found.append([code, code, value(code)])
    return found


def rows(entries):
    lines, line = [], ""
    for entry in entries:
        text = "{" + ", ".join(f"0x{n:X}" for n in entry) + "},"
        if len(line) + len(text) > 108:
            lines.append(line)
            line = ""
        line += " " * bool(line) + text
    return "\n".join(lines + [line])


def tables():
    decompositions = {}
    for code in CODES:
        text = unicodedata.decomposition(chr(code))
        if text and not text.startswith("<") and code not in HANGUL:
            decompositions[code] = [int(part, 16) for part in text.split()]
    pairs = {code: parts for code, parts in decompositions.items() if len(parts) == 2}
    composed = {code for code in pairs if unicodedata.normalize("NFC", chr(code)) == chr(code)}
    kind = lambda letter: lambda code: unicodedata.category(chr(code))[0] == letter
    return {
        "letters": ("First and last of runs of letters, L*.", [r[:2] for r in ranges(kind("L"))]),
        "numbers": ("First and last of runs of numbers, N*.", [r[:2] for r in ranges(kind("N"))]),
        "marks": ("First and last of runs of one combining class other than 0, and the class.",
                  ranges(lambda code: unicodedata.combining(chr(code)))),
        "pairs": ("A character and the two that it is made of, and made again from.",
                  [[code, *parts] for code, parts in pairs.items() if code in composed]),
        "parts": ("The same, but never made again; 0: of one character.",
                  [[code, *(parts + [0])[:2]] for code, parts in decompositions.items() if code not in composed]),
    }


def main():
    if unicodedata.unidata_version != VERSION:
        sys.exit(f"unicode.py: Unicode {VERSION} is needed, this Python has {unicodedata.unidata_version}")
    for name, (what, entries) in tables().items():
        text = f"// {what} Unicode {VERSION}; made by scripts/unicode.py.\n{rows(entries)}\n"
        path = os.path.join(FOLDER, f"unicode_{name}.inc")
        if "--check" in sys.argv[1:]:
            if open(path).read() != text:
                sys.exit(f"unicode.py: {path} is not what this script makes")
        else:
            with open(path, "w") as file:
                file.write(text)


if __name__ == "__main__":
    main()
