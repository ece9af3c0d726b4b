"""The command line tool that comes with the package: conversion, verification and benchmarks run in it."""

import json
import os
import pathlib
import signal
import subprocess
import sys
import tempfile
from typing import Any, Dict, Optional, Sequence

from . import errors

_ARGUMENT, _CHECKPOINT, _FILE = 0x10, 0x50, 0x20


def path() -> str:
    """Where the tool is."""
    tool = pathlib.Path(__file__).parent / "bin" / "lsrt-tool"
    if not tool.exists():
        raise errors.make(_FILE, f"{tool}: the tool is missing; install the package again")
    return str(tool)


def main() -> None:
    """``lsrt`` on the command line."""
    os.execv(path(), ["lsrt", *sys.argv[1:]])


def _run(arguments: Sequence[str]) -> str:
    process = subprocess.Popen([path(), *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, errors="replace")
    try:
        out, err = process.communicate()
    except BaseException:  # Ctrl-C: the tool leaves no half file behind
        process.send_signal(signal.SIGINT)
        process.wait()
        raise
    if process.returncode:
        lines = [line for line in err.splitlines() if line.startswith("lsrt: error: ")]
        text = lines[-1][len("lsrt: error: "):] if lines else f"the tool ended with {process.returncode}: {err[-300:]}"
        missing = "No such file" in text
        raise errors.make(_FILE if missing else _ARGUMENT if process.returncode == 2 else _CHECKPOINT, text)
    return out


def _options(**options: Any) -> Sequence[str]:
    """--name value for what is not None; True is a flag."""
    arguments = []
    for name, value in options.items():
        if value is None or value is False:
            continue
        arguments.append("--" + name.replace("_", "-"))
        if value is not True:
            arguments.append(",".join(map(str, value)) if isinstance(value, (list, tuple)) else os.fspath(value) if isinstance(value, os.PathLike) else str(value))
    return arguments


def convert(
    checkpoint,
    output,
    *,
    family: Optional[str] = None,
    dict=None,
    tokenizer=None,
    config=None,
    labels=None,
    precision: str = "int8",
    block: Optional[int] = None,
    memory: Optional[int] = None,
    threads: Optional[int] = None,
) -> Dict[str, Any]:
    """Converts a checkpoint (file or Hugging Face folder) to a model file, whole or not at all, and returns the report:
    sizes, errors of rounding by tensor, distance from the float model. ``lsrt convert --help`` has the options."""
    with tempfile.TemporaryDirectory() as folder:
        report = os.path.join(folder, "report.json")
        _run(["convert", os.fspath(checkpoint), "-o", os.fspath(output), *_options(family=family, dict=dict, tokenizer=tokenizer, config=config, labels=labels, precision=precision, block=block, memory=memory, threads=threads, report=report)])
        with open(report, encoding="utf-8") as file:
            return json.load(file)


def verify(model) -> Dict[str, Any]:
    """Runs the check that conversion stored in a model file on every kernel set of this machine; an Error if the bits
    are others."""
    return json.loads(_run(["verify", os.fspath(model), "--json"]))


def bench(model=None, *, arch: Optional[str] = None, **options: Any) -> Dict[str, Any]:
    """Speed and memory of a model file, or of a published shape with random weights (``arch="enwik8-base"``), as
    ``lsrt bench --json`` gives them. Options: threads, isa, backend, depth (a list), prompt, generate, repetitions."""
    return json.loads(_run(["bench", *([os.fspath(model)] if model is not None else []), *_options(arch=arch, **options), "--json"]))
