"""lsrt: int8 inference of models whose memory does not grow with context (Transformer-LS, Mamba).

    import lsrt
    lsrt.convert("books-lm.pt", "books.lsrt")
    model = lsrt.load("books.lsrt")
    for piece in model.session().generate("It was a dark", max_tokens=40):
        print(piece, end="")
"""

from ._lsrt import version as _version
from .errors import ArgumentError, Error, FileError, MissingFileError, OutOfMemoryError
from .model import Model, Session, load
from .tool import bench, convert, verify

__version__ = _version()
__all__ = ["ArgumentError", "Error", "FileError", "MissingFileError", "Model", "OutOfMemoryError", "Session", "bench", "convert", "load", "verify"]
