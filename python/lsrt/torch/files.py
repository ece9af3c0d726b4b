"""Checkpoints on disk, and what convert wants beside them to know the text of tokens that are bytes."""

import json
import os
import pathlib
from typing import Any, Sequence, Union

import torch

Folder = Union[str, "os.PathLike[str]"]
NEWLINE, END_OF_LINE = 10, 2  # the newline is the end of a sentence in dictionaries of bytes
SPECIAL_TOKENS = 4


def write(value: Any, path: Folder) -> str:
    """Saves all or nothing: an interrupted run leaves the file of before."""
    part = os.fspath(path) + ".part"
    torch.save(value, part)
    os.replace(part, path)
    return os.fspath(path)


def dictionary_ids() -> Sequence[int]:
    """The token id of each byte in write_dictionary's dict.txt."""
    others = [byte for byte in range(256) if byte != NEWLINE]
    ids = {byte: SPECIAL_TOKENS + i for i, byte in enumerate(others)}
    return [END_OF_LINE if byte == NEWLINE else ids[byte] for byte in range(256)]


def write_dictionary(folder: Folder) -> None:
    """dict.txt: a byte's decimal value a line, as for enwik8."""
    lines = "".join(f"{byte} 1\n" for byte in range(256) if byte != NEWLINE)
    (pathlib.Path(folder) / "dict.txt").write_text(lines)


def write_tokenizer(folder: Folder) -> None:
    """tokenizer.json: byte-level BPE without merges, so that a token's id is its byte."""
    printable = [*range(33, 127), *range(161, 173), *range(174, 256)]
    others = [byte for byte in range(256) if byte not in printable]
    names = {byte: chr(byte) for byte in printable}
    names.update({byte: chr(256 + i) for i, byte in enumerate(others)})
    level = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True}
    model = {"type": "BPE", "vocab": {names[byte]: byte for byte in range(256)}, "merges": []}
    tokenizer = {"version": "1.0", "added_tokens": [], "pre_tokenizer": level, "decoder": level, "model": model}
    (pathlib.Path(folder) / "tokenizer.json").write_text(json.dumps(tokenizer))
