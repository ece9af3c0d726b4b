"""Errors with the runtime's text; each is also the built-in exception that Python programs expect in its place."""

# Values of lsrt_status (runtime/lsrt.h).
_ARGUMENT, _FILE, _MEMORY = 0x10, 0x20, 0x30


class Error(Exception):
    """What the runtime says is wrong, where, and the way out. ``status``: the code of the C API."""

    status = 0


class ArgumentError(Error, ValueError):
    """A parameter is out of range, or does not fit the model."""


class FileError(Error, OSError):
    """A file cannot be read or written."""


class MissingFileError(FileError, FileNotFoundError):
    """There is no such file."""


class OutOfMemoryError(Error, MemoryError):
    """An allocation failed, or would pass the limit."""


def make(status: int, text: str) -> Error:
    """The exception for a status of the C API."""
    kind = {_ARGUMENT: ArgumentError, _FILE: FileError, _MEMORY: OutOfMemoryError}.get(status, Error)
    if kind is FileError and "No such file" in text:
        kind = MissingFileError
    error = kind(text)
    error.status = status
    return error
