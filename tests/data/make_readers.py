"""Makes tests/data/readers: small checkpoints of every kind the readers know, with the values expected of them.

Needs torch, numpy, safetensors and omegaconf. Usage: python tests/data/make_readers.py
Also sums.json: shape, sum and first value of every tensor of the golden cases and, if given, of further files:
python tests/data/make_readers.py ../shared/checkpoints/{books-lm.pt,authors.model,cifar10-vil.pth}
"""

import argparse
import collections
import io
import json
import pathlib
import pickle
import sys
import zipfile

import numpy
import omegaconf
import safetensors
import safetensors.torch
import torch

DATA = pathlib.Path(__file__).parent
OUT = DATA / "readers"


def state_dict():
    """One tensor for each element type and each way of lying in a storage."""
    base = torch.arange(24, dtype=torch.float32) / 4 - 2
    grid = base.reshape(4, 6)
    special = torch.tensor([0.0, -0.0, 1.0, -2.5, 6.103515625e-05, 5.960464477539063e-08, 65504.0, 0.333251953125])
    state = collections.OrderedDict()
    state["whole"] = grid
    state["transposed"] = grid.t()
    state["column"] = grid[:, 2]
    state["tail"] = base[20:]
    state["strided"] = grid[::2, 1::3]
    state["permuted"] = base.reshape(2, 3, 4).permute(2, 0, 1)
    state["repeated"] = torch.tensor([1.0, 2.0]).expand(3, 2)
    state["scalar"] = torch.tensor(7.25)
    state["empty"] = torch.zeros(0, 5)
    state["parameter"] = torch.nn.Parameter(torch.tensor([1.0, -1.0]))
    state["tagged"] = torch.tensor([3.0, 4.0])
    state["tagged"].note = "an attribute makes PyTorch save a tensor by another function"
    state["f16"] = special.to(torch.float16)
    state["bf16"] = torch.tensor([1.0, -2.5, 3.140625, 1e30, -0.0]).to(torch.bfloat16)
    state["f64"] = torch.tensor([0.1, -1e-3], dtype=torch.float64)
    state["i64"] = torch.tensor([[1, -2], [2**40, -(2**40)]])
    state["i32"] = torch.tensor([3, -4], dtype=torch.int32)
    state["i16"] = torch.tensor([300, -400], dtype=torch.int16)
    state["i8"] = torch.tensor([127, -128], dtype=torch.int8)
    state["u8"] = torch.tensor([0, 255], dtype=torch.uint8)
    state["bool"] = torch.tensor([True, False, True])
    return state


def expected(state):
    values = {}
    for name, tensor in state.items():
        tensor = tensor.detach()
        values[name] = {"shape": list(tensor.shape), "values": tensor.to(torch.float64).flatten().tolist()}
    return values


class Opaque:
    """Pickled by name; the reader must not need the class."""

    def __init__(self):
        self.width = 3
        self.parent = self


def metadata():
    # A Namespace is pickled as a class and the dictionary of its attributes.
    return {
        "args": argparse.Namespace(layers=4, rate=0.5, names=["a", "b"], nothing=None, on=True),
        "cfg": omegaconf.OmegaConf.create({"model": {"d_model": 64, "heads": [1, 2]}, "task": "lm"}),
        "opaque": Opaque(),
        "big": 2**70,
        "nan": float("nan"),
        "bytes": b"raw",
        "set": {5},
        "size": torch.Size([2, 3]),
        "dtype": torch.float16,
        "keys": {1: "one", (2, 3): "pair", None: "none"},
        "optimizer": {"exp_avg": torch.ones(2, 2, dtype=torch.float16)},
        "best": numpy.float64(0.25),
        "path": pathlib.PurePosixPath("a/b"),
        "text": "näme",
    }


def save_all():
    OUT.mkdir(exist_ok=True)
    torch.manual_seed(0)
    state = state_dict()
    (OUT / "state.json").write_text(json.dumps(expected(state), indent=1) + "\n")
    root = {"model": state, **metadata()}
    torch.save(root, OUT / "zip.pt")
    torch.save(root, OUT / "legacy.pt", _use_new_zipfile_serialization=False)
    for protocol in (3, 4, 5):
        torch.save(root, OUT / f"zip-protocol{protocol}.pt", pickle_protocol=protocol)
    small = {"w": torch.tensor([[1.0, 2.0], [3.0, 4.0]]), "step": 5}
    torch.save(small, OUT / "small.pt")
    torch.save(small, OUT / "small-legacy.pt", _use_new_zipfile_serialization=False)
    plain = {name: tensor.detach().contiguous().clone() for name, tensor in state.items()}
    safetensors.torch.save_file(plain, OUT / "all.safetensors", metadata={"family": "lm"})
    safetensors.torch.save_file({"w": small["w"]}, OUT / "small.safetensors", metadata={"a": "b"})
    for key in ("net", "model_state_dict", "state_dict"):
        torch.save({"epoch": 1, key: {"w": small["w"]}}, OUT / f"key-{key}.pt")


def save_refused():
    torch.save(torch.nn.Linear(2, 2), OUT / "refused-module.pt")
    torch.save({"model": {"w": torch.zeros(2, dtype=torch.complex64)}}, OUT / "refused-complex.pt")
    # A real one also holds the paths of the source files; the reader looks at the names of the entries only.
    with zipfile.ZipFile(OUT / "refused-torchscript.pt", "w") as script:
        for name in ("data.pkl", "constants.pkl", "code/__torch__.py"):
            script.writestr(zipfile.ZipInfo("relu/" + name), b"")
    (OUT / "refused-pickle.pt").write_bytes(pickle.dumps({"a": 1}, protocol=2))
    with zipfile.ZipFile(OUT / "small.pt") as source:
        packed = zipfile.ZipFile(OUT / "refused-compressed.pt", "w", zipfile.ZIP_DEFLATED)
        for name in source.namelist():
            packed.writestr(zipfile.ZipInfo(name), source.read(name), zipfile.ZIP_DEFLATED)
        packed.close()
        with zipfile.ZipFile(OUT / "refused-no-pickle.pt", "w") as other:
            other.writestr(zipfile.ZipInfo("readme.txt"), "hello")


def save_zip64():
    """The small file with a directory of 64-bit sizes and positions, as archives over 4 GiB have."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(OUT / "small.pt") as source, zipfile.ZipFile(buffer, "w") as target:
        for name in source.namelist():
            with target.open(zipfile.ZipInfo(name), "w", force_zip64=True) as entry:
                entry.write(source.read(name))
        old = zipfile.ZIP64_LIMIT
        zipfile.ZIP64_LIMIT = 0
        target.close()
        zipfile.ZIP64_LIMIT = old
    (OUT / "small-zip64.pt").write_bytes(buffer.getvalue())


def sums(paths):
    """[shape, sum, first value] of every tensor."""
    result = {}
    for path in paths:
        path = pathlib.Path(path)
        key = f"{path.parent.name}/{path.name}"
        if path.suffix == ".safetensors":
            state = safetensors.torch.load_file(path)
        else:
            root = torch.load(path, map_location="cpu", weights_only=False)
            names = [k for k in ("model", "net", "model_state_dict", "state_dict") if k in root]
            state = root[names[0]]
        result[key] = {
            name: [list(t.shape), t.double().sum().item(), t.double().flatten()[0].item()] for name, t in state.items()
        }
    lines = ",\n".join(f"{json.dumps(key)}: {json.dumps(value)}" for key, value in result.items())
    (OUT / "sums.json").write_text("{\n" + lines + "\n}\n")


if __name__ == "__main__":
    save_all()
    save_refused()
    save_zip64()
    golden = sorted(DATA.glob("golden/*/checkpoint.*")) + sorted(DATA.glob("golden/*/io.safetensors"))
    sums(golden + sys.argv[1:])
