"""Models and their streams."""

import codecs
import math
import os
import random
import threading
from typing import Any, Dict, Iterator, List, Optional, Sequence, Tuple, Union

import numpy as np

from . import _lsrt, errors, images, tool

Text = Union[str, bytes]
_ARGUMENT, _SCORE_FLOATS = 0x10, 1 << 22


def _bytes(text: Text) -> bytes:
    return text.encode() if isinstance(text, str) else bytes(text)


def _tokens(tokens: Any) -> np.ndarray:
    array = np.asarray(tokens)
    if array.ndim == 0:
        array = array[None]
    if array.ndim != 1 or (array.size and array.dtype.kind not in "iu"):
        raise errors.make(_ARGUMENT, f"tokens must be a list of integers, not {array.dtype} {list(array.shape)}")
    if array.size and (array.max() > 2**31 - 1 or array.min() < -(2**31)):
        raise errors.make(_ARGUMENT, "a token is outside the vocabulary")
    return np.ascontiguousarray(array, dtype=np.int32)


def load(path: Union[str, "os.PathLike[str]"], *, backend: str = "cpu", isa: Optional[str] = None, map: bool = False) -> "Model":
    """Reads and verifies a model file. isa: a kernel set, "avx2"; None: the best of this machine. map: map the file,
    which must then stay unchanged, instead of reading it. Raises Error (FileNotFoundError if there is no such file)."""
    return Model(os.fspath(path), backend, isa, map)


class Model:
    """A model that is ready to run; may be shared by threads, each with sessions of its own."""

    def __init__(self, path: str, backend: str = "cpu", isa: Optional[str] = None, map: bool = False):
        self._handle = _lsrt.Model(path, backend, isa or "", map)
        self._path = path
        self._classifiers: Dict[Tuple[int, int], Any] = {}
        self._classifying = threading.Lock()  # a classifier is used by one thread at a time

    def __repr__(self) -> str:
        return f"<lsrt.Model {self._path}: {self.architecture}>"

    @property
    def family(self) -> str:
        """ "lm", "encoder", "vil" or "slide"."""
        return self._handle.family

    @property
    def architecture(self) -> str:
        """One line for people."""
        return self._handle.architecture

    @property
    def isa(self) -> str:
        """The kernel set in use."""
        return self._handle.isa

    @property
    def vocabulary(self) -> int:
        """Number of token ids; 0 for models without text."""
        return self._handle.vocabulary

    @property
    def classes(self) -> int:
        """Of a classifier; 0 otherwise."""
        return self._handle.classes

    @property
    def labels(self) -> List[str]:
        """Names of the classes; "" where the model has none."""
        return self._handle.labels

    # ---- text

    def tokenize(self, text: Text) -> List[int]:
        """Token ids. ValueError names the first byte that no token stands for."""
        return self._handle.tokenize(_bytes(text))

    def detokenize(self, ids: Sequence[int]) -> bytes:
        """The bytes of tokens, one after the other; of special tokens their names."""
        return b"".join(self._handle.token_text(int(i)) for i in _tokens(ids))

    def session(self, threads: int = 0, block: Optional[int] = None, memory: Optional[int] = None) -> "Session":
        """A new stream of a language model. block, memory: tokens; None: the model's."""
        return Session(self, threads, block, memory)

    def score(self, text: Text, *, threads: int = 0, block: Optional[int] = None, memory: Optional[int] = None) -> float:
        """Bits per byte: how well the model predicts the text after its first token, as ``lsrt score`` has it."""
        tokens = np.asarray(self.tokenize(text), np.int32)
        if tokens.size < 2:
            raise errors.make(_ARGUMENT, f"the text has {tokens.size} tokens, two or more are needed")
        session = self.session(threads, block, memory)
        step = max(1, min(tokens.size, _SCORE_FLOATS // self.vocabulary))
        total = 0.0
        for start in range(0, tokens.size - 1, step):
            piece = tokens[start : start + step]
            following = tokens[start + 1 : start + 1 + piece.size]
            logprobs = session.feed(piece, output="all")
            total -= float(np.sum(logprobs[np.arange(following.size), following], dtype=np.float64))
        return total / math.log(2) / len(self.detokenize(tokens[1:]))

    # ---- classification

    def logits(self, inputs: Any, threads: int = 0) -> np.ndarray:
        """float32 [n, classes]. inputs: for images uint8 arrays [n, h, w, 3] or [h, w, 3], PIL images or paths; for
        documents texts, bytes or token lists, pairs of them for models that compare two. One, or a list of them."""
        if self._handle.image_input() is not None:
            pixels = self._pixels(inputs)
            with self._classifying:
                return self._classifier(threads, len(pixels)).images(pixels)
        if self._handle.sequence_input() is None:
            raise errors.make(_ARGUMENT, f"a model of family '{self.family}' does not classify")
        longest, pair = self._handle.sequence_input()
        single = isinstance(inputs, (str, bytes)) or (pair and isinstance(inputs, tuple))
        rows = [self._document(part, longest) for item in ([inputs] if single else inputs) for part in (item if pair else (item,))]
        if not rows:
            return np.empty((0, self.classes), np.float32)
        with self._classifying:
            return self._classifier(threads, 1).sequences(np.concatenate(rows), [row.size for row in rows])

    def classify(self, inputs: Any, top: int = 5, threads: int = 0) -> List[List[Tuple[str, float]]]:
        """For each input the most probable classes with their probabilities, best first. A class without a name has its
        number."""
        logits = self.logits(inputs, threads).astype(np.float64)
        names = [label or str(i) for i, label in enumerate(self.labels)]
        weights = np.exp(logits - logits.max(axis=1, keepdims=True))
        weights /= weights.sum(axis=1, keepdims=True)
        best = np.argsort(-weights, axis=1, kind="stable")[:, :top]
        chances = np.take_along_axis(weights, best, axis=1)
        return [[(names[i], p) for i, p in zip(*row)] for row in zip(best.tolist(), chances.tolist())]

    # ---- slides

    def embed(self, tiles: Any, coords: Any, threads: int = 0) -> np.ndarray:
        """The embedding of a slide, float32 [width]: features of its tiles [n, features], their places in pixels [n, 2]."""
        rows = [np.ascontiguousarray(a, dtype=np.float32) for a in (tiles, coords)]
        if rows[0].ndim != 2 or rows[1].shape != (len(rows[0]), 2):
            raise errors.make(_ARGUMENT, f"tiles must be [n, features] and coords [n, 2], not {list(rows[0].shape)} and {list(rows[1].shape)}")
        if not len(rows[0]):
            raise errors.make(_ARGUMENT, "a slide has no tiles")
        return _lsrt.Embedder(self._handle, threads, len(rows[0])).slide(*rows)

    def _classifier(self, threads: int, batch: int) -> Any:
        key = (threads, 1 if batch < 4 else 4)
        if key not in self._classifiers:
            self._classifiers[key] = _lsrt.Classifier(self._handle, *key)
        return self._classifiers[key]

    def _document(self, document: Any, longest: int) -> np.ndarray:
        if isinstance(document, (str, bytes)):
            return np.asarray(self.tokenize(_bytes(document)[:longest]), np.int32)
        return _tokens(document)

    def _pixels(self, inputs: Any) -> np.ndarray:
        size, resize = self._handle.image_input()
        if isinstance(inputs, np.ndarray):
            array = inputs[None] if inputs.ndim == 3 else inputs
            if array.dtype != np.uint8 or array.ndim != 4 or array.shape[3] != 3:
                raise errors.make(_ARGUMENT, f"images must be uint8 [n, h, w, 3], not {array.dtype} {list(array.shape)}")
            if array.shape[1:3] == (size, size):
                return np.ascontiguousarray(array)
            inputs = list(array)
        elif isinstance(inputs, (str, os.PathLike)) or hasattr(inputs, "convert"):
            inputs = [inputs]
        return np.stack([images.fit(image, size, resize) for image in inputs]) if len(inputs) else np.empty((0, size, size, 3), np.uint8)

    def verify(self) -> Dict[str, Any]:
        """The check that conversion stored, run on every kernel set of this machine; an Error if the bits are others."""
        return tool.verify(self._path)


class Session:
    """One stream of a language model: its state has the same size at any length. Used by one thread at a time."""

    def __init__(self, model: Model, threads: int = 0, block: Optional[int] = None, memory: Optional[int] = None):
        self._model = model
        self._handle = _lsrt.Session(model._handle, threads, block or 0, memory or 0)
        # Chose the last token that was generated, which is still to be fed: pending. None: nothing is pending.
        self._sampler: Optional[Any] = None

    @property
    def position(self) -> int:
        """Tokens fed so far; the last one that was generated is fed with what follows."""
        return self._handle.position

    def feed(self, tokens: Any, output: Optional[str] = "last") -> Optional[np.ndarray]:
        """Feeds token ids. output "last": log-probabilities float32 [vocabulary] of what follows; "all": [n, vocabulary],
        after every token; None: nothing is computed."""
        array = _tokens(tokens)
        feeds = {"last": self._handle.feed_last, "all": self._handle.feed_all, None: self._handle.feed_none}
        if output not in feeds:
            raise errors.make(_ARGUMENT, f'output is {output!r}, must be "last", "all" or None')
        if self._sampler is not None:
            self._handle.feed_none(_tokens(self._sampler.last))
            self._sampler = None
        return feeds[output](array)

    def generate(
        self,
        prompt: Text = "",
        max_tokens: int = 256,
        *,
        temperature: float = 0.8,
        top_k: int = 0,
        top_p: float = 1.0,
        min_p: float = 0.0,
        repeat_penalty: float = 1.0,
        seed: Optional[int] = None,
    ) -> Iterator[str]:
        """Pieces of text as they are made, never half a character. The prompt goes first; without one the text goes on
        from where generate() stopped, or load() took it up. A special token, the end of a document, ends it. temperature 0
        takes the most probable token; a seed makes the same text again. Parameters are checked at once, not when the first
        piece is asked for."""
        seed = random.getrandbits(32) if seed is None else seed
        sampler = _lsrt.Sampler(self._model._handle, temperature, top_k, top_p, min_p, repeat_penalty, seed)
        tokens = _tokens(self._model.tokenize(prompt))
        if tokens.size == 0 and self._sampler is None:
            raise errors.make(_ARGUMENT, "there is nothing to go on from: give a prompt")
        return self._pieces(tokens, max_tokens, sampler)

    def _pieces(self, tokens: np.ndarray, max_tokens: int, sampler: Any) -> Iterator[str]:
        if self._sampler is not None:
            tokens = np.concatenate([_tokens(self._sampler.last), tokens])
        sampler.accept(tokens)
        decoder = codecs.getincrementaldecoder("utf-8")(errors="replace")
        for i in range(max_tokens):
            if i and self._sampler is not sampler:
                raise errors.make(_ARGUMENT, "the stream went on elsewhere while this text was being generated")
            before = self._handle.position
            try:
                text = self._handle.go_on(sampler) if i else self._handle.next(tokens, sampler)
            except BaseException:
                if self._handle.position != before:  # after Ctrl-C the first ones
                    self._sampler = None
                raise
            self._sampler = sampler
            if text is None:
                break
            piece = decoder.decode(text)
            if piece:
                yield piece
        rest = decoder.decode(b"", final=True)
        if rest:
            yield rest

    def save(self) -> bytes:
        """The stream's state, to go on from with load() in a session of the same model, block and memory, or with
        ``lsrt generate --load-state``."""
        return self._handle.save(self._sampler)

    def load(self, state: bytes) -> None:
        """Goes on from a saved state. One that is damaged or does not fit: Error, and the stream is as before."""
        sampler = _lsrt.Sampler(self._model._handle, 0.0, 0, 1.0, 0.0, 1.0, 0)
        try:
            self._handle.load(state, sampler)
            self._sampler = sampler if sampler.last >= 0 else None
        except errors.Error as error:
            if "saved without a sampler" not in str(error):
                raise
            self._handle.load(state, None)
            self._sampler = None

    def reset(self) -> None:
        """Starts a new stream."""
        self._handle.reset()
        self._sampler = None
