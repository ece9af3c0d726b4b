"""Large collections on many machines: a Ray Data set in, the same set with a model's answers out.

    import ray
    import lsrt.ray
    texts = ray.data.read_parquet("texts")                          # a column "text"
    lsrt.ray.score(texts, "books.lsrt").write_parquet("scored")     # and "bits_per_byte" and "error"

A worker is a process that maps the model once and keeps it; the workers of a machine share the one copy in its page
cache. The model file is at the same path on every machine, and the package installed there. A record that the model
refuses says why in its column "error", which is "" for all others; anything else that goes wrong ends the run with its
exception. A worker that dies is replaced and what it had not delivered is computed again, to the same bits: no record
is lost or doubled. Records come out in Ray Data's order, not in that of the input unless it is told to keep that.

Parameters of all functions: records, a ray.data.Dataset; model, the path of a model file; column, of what the model
reads; threads, CPUs of a worker; workers, at most so many (None: as many as the cluster has CPUs for); batch, records
that a worker is given at once, at least: blocks of the set are put together to be no smaller, but not divided. They
raise Error if the file is missing or the model another family's.
"""

import inspect
import os
from typing import Any, Callable, Dict, List, Optional, Tuple, Union

import numpy as np

from . import errors
from .model import Model, Session, load

try:
    import ray.data
except ImportError:
    raise ImportError("lsrt.ray needs Ray Data: pip install lsrt[ray]") from None

Path = Union[str, "os.PathLike[str]"]
_ARGUMENT = 0x10
_OF_A_RECORD = (ValueError, TypeError, OSError)  # what one record may be to blame for; not memory, not a defect


class _Worker:
    """One process: its model, and the answers to batches. answer: from the model and n records to n tuples; nothing:
    names of their parts and what stands there for a record without an answer; group: records to answer at once."""

    def __init__(self, model: str, column: str, answer: Callable[[Model, Any], List[Tuple]], nothing: Dict[str, Any], group: int):
        self._model = load(model, map=True)
        self._column, self._answer, self._nothing, self._group = column, answer, nothing, group

    def __call__(self, batch: Dict[str, np.ndarray]) -> Dict[str, np.ndarray]:
        records, answers = batch[self._column], []
        for start in range(0, len(records), self._group):
            answers += self._answers(records[start : start + self._group])
        columns = [*self._nothing.items(), ("error", "")]
        kinds = {float: np.float64, str: object}
        return {**batch, **{name: np.array(values, kinds[type(nothing)]) for (name, nothing), values in zip(columns, zip(*answers))}}

    def _answers(self, records: Any) -> List[Tuple]:
        try:
            return [(*answer, "") for answer in self._answer(self._model, records)]
        except _OF_A_RECORD as error:
            if len(records) == 1:
                return [(*self._nothing.values(), f"{type(error).__name__}: {error}")]
            return [answer for i in range(len(records)) for answer in self._answers(records[i : i + 1])]


def _map(records, path, families, threads, workers, batch, **worker) -> "ray.data.Dataset":
    path = os.path.abspath(path)
    family = load(path, map=True).family
    if family not in families:
        raise errors.make(_ARGUMENT, f"{path}: a model of family '{family}'; this needs one of: {', '.join(families)}")
    return records.map_batches(
        _Worker,
        fn_constructor_kwargs={"model": path, **worker},
        compute=ray.data.ActorPoolStrategy(min_size=1, max_size=workers),
        num_cpus=threads,
        batch_size=batch,
    )


def score(records: "ray.data.Dataset", model: Path, column: str = "text", *, threads: int = 1, workers: Optional[int] = None, batch: int = 256) -> "ray.data.Dataset":
    """Adds "bits_per_byte", float64, as Model.score has it: NaN where there is an error. column: str or bytes, each a
    stream of its own."""

    def answer(model: Model, texts: Any) -> List[Tuple]:
        return [(model.score(text, threads=threads),) for text in texts]

    return _map(records, model, ["lm"], threads, workers, batch, column=column, answer=answer, nothing={"bits_per_byte": np.nan}, group=1)


def generate(
    records: "ray.data.Dataset", model: Path, column: str = "prompt", max_tokens: int = 256, *, seed: int = 0, threads: int = 1, workers: Optional[int] = None, batch: int = 64, **options: float
) -> "ray.data.Dataset":
    """Adds "generated", str: what follows each prompt, as Session.generate has it, whose options are temperature and so
    on. seed: of every record, so that one computed again gets the same text."""
    inspect.signature(Session.generate).bind(None, **options)  # a name that is not known: TypeError

    def answer(model: Model, prompts: Any) -> List[Tuple]:
        return [("".join(model.session(threads).generate(prompt, max_tokens, seed=seed, **options)),) for prompt in prompts]

    return _map(records, model, ["lm"], threads, workers, batch, column=column, answer=answer, nothing={"generated": ""}, group=1)


def classify(records: "ray.data.Dataset", model: Path, column: str, *, threads: int = 1, workers: Optional[int] = None, batch: int = 64) -> "ray.data.Dataset":
    """Adds the most probable class, "label", str, "" where there is an error, and its "probability", float64. column:
    what Model.classify takes, as images uint8 [h, w, 3] of ray.data.read_images, paths, texts, pairs of texts."""

    def answer(model: Model, inputs: Any) -> List[Tuple]:
        return [best[0] for best in model.classify(inputs if inputs.dtype == np.uint8 else list(inputs), top=1, threads=threads)]

    return _map(records, model, ["vil", "encoder"], threads, workers, batch, column=column, answer=answer, nothing={"label": "", "probability": np.nan}, group=16)
