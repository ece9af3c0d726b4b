"""Pickles and files of torch.save, right but for one thing, for seeds.py. Opcodes are those of Python's pickletools."""
import struct
import zipfile
from io import BytesIO


def text(value):
    return b"X" + struct.pack("<I", len(value)) + value.encode()


def number(value):
    return b"J" + struct.pack("<i", value)


def counts(values):
    return b"(" + b"".join(map(number, values)) + b"t"


def call(name, *args):
    module, function = name.rsplit(".", 1)
    return f"c{module}\n{function}\n(".encode() + b"".join(args) + b"tR"


def storage(kind="FloatStorage", key="0", count=6, view=b""):
    kind = f"ctorch\n{kind}\n".encode()
    return b"(" + text("storage") + kind + text(key) + text("cpu") + number(count) + view + b"tQ"


def tensor(place=None, offset=0, shape=(2, 3), strides=(3, 1)):
    shape = shape if isinstance(shape, bytes) else counts(shape)
    return call("torch._utils._rebuild_tensor_v2", place or storage(), number(offset), shape, counts(strides), b"\x89",
                b"}")


def state(*pairs):
    return b"\x80\2}(" + b"".join(key + value for key, value in pairs) + b"u."


def one(value):
    return state((text("w"), value))


def archive(data_pkl, values=bytes(24), entries=()):
    """Entries stored, as torch.save does."""
    file = BytesIO()
    with zipfile.ZipFile(file, "w") as z:
        for name, data in (("a/data.pkl", data_pkl), ("a/data/0", values), *entries):
            z.writestr(zipfile.ZipInfo(name), data)
    return file.getvalue()


def patched(data, signature, offset, value, last=True):
    """A field of the last (or first) record with this signature replaced."""
    at = (data.rindex if last else data.index)(signature) + offset
    return data[:at] + value + data[at + len(value):]


def legacy(version=1001, little=True, data=None, keys=b"\x80\2](X\1\0\0\x000e.", values=None):
    magic = b"\x80\2\x8a\n\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19."
    machine = b"\x80\2}(" + text("little_endian") + (b"\x88" if little else b"\x89") + b"u."
    if values is None:
        values = struct.pack("<Q", 6) + bytes(24)
    return magic + b"\x80\2" + number(version) + b"." + machine + (data or one(tensor())) + keys + values


def pickles():
    nothing = b"N."
    return {
        "decimal": b"(I12\nI01\nL34L\nF1.5\nVtext\nS'text'\nlp7\n0g7\n.",
        "decimal-wrong": b"Ix\n.",
        "real-wrong": b"F1.5x\n.",
        "long-negative": b"\x8a\2\xff\xff.",
        "long-of-16": b"\x8a\x10" + bytes(range(16)) + b".",
        "escapes": b"Va\\u0041\n.",
        "no-quotes": b"Sabc\n.",
        "pop-mark": b"(00" + nothing,
        "pop-value": b"N0" + nothing,
        "strings": b"(U\2ab" + b"T\2\0\0\0cd" + b"\x8d\2" + bytes(7) + b"ef" + b"\x8e\1" + bytes(7) + b"g" + b"\x96\1" +
                   bytes(7) + b"ht.",
        "frozenset": b"(K\1K\2\x91.",
        "object": b"(cmodule\nClass\nK\1o.",
        "object-of-nothing": b"(o.",
        "persistent": b"P12\n.",
        "get-unknown": b"g9\n.",
        "put-wrong": b"Np-1\n.",
        "global-of-numbers": b"\x80\4K\1K\2\x93.",
        "global-long": b"c" + b"m" * 600 + b"\nx\n.",
        "list-of-class": call("module.Class") + b"(K\1K\2e" + b".",
        "mapping-of-class": call("collections.Other") + b"(K\1K\2u" + b".",
        "state-of-class": call("module.Class", text("a")) + b"K\1b.",
        "keywords": b"\x80\4cmodule\nClass\n)}" + text("k") + b"K\1s\x92.",
        "deep": b"]" * 110 + b"a" * 109 + b".",
    }


def torches():
    good = archive(one(tensor()))
    end, entry, local = b"PK\5\6", b"PK\1\2", b"PK\3\4"

    def view(offset, count):
        return storage(view=b"(" + text("v") + number(offset) + number(count) + b"t")

    def wide(extra):
        """The sizes of the last entry are in an extra field."""
        info = zipfile.ZipInfo("a/data/1")
        info.extra = extra
        file = BytesIO(good)
        with zipfile.ZipFile(file, "a") as z:
            z.writestr(info, b"")
        return patched(file.getvalue(), entry, 20, b"\xff" * 8)

    two_sizes = state((text("v"), tensor()), (text("w"), tensor(storage(count=5))))
    wrapped = call("torch._tensor._rebuild_from_type_v2", b"ctorch._utils\n_rebuild_tensor_v2\n", b"ctorch\nTensor\n",
                   b"(" + storage() + number(0) + counts([2, 3]) + counts([3, 1]) + b"t", b"}")
    v3 = [storage("UntypedStorage", count=24), number(0), counts([2, 3]), counts([3, 1]), b"\x89", b"}"]
    zips = {
        "zip": one(tensor()),
        "view": one(tensor(view(2, 4), shape=[4], strides=[1])),
        "view-outside": one(tensor(view(4, 4))),
        "view-of-two": one(tensor(storage(view=counts([1, 2])))),
        "view-is-none": one(tensor(storage(view=b"N"))),
        "view-of-texts": one(tensor(storage(view=b"(" + 3 * text("v") + b"t"))),
        "size": one(tensor(shape=call("torch.Size", counts([2, 3])))),
        "size-of-nothing": one(tensor(shape=call("torch.Size"))),
        "parameter": one(call("torch._utils._rebuild_parameter", tensor(), b"\x88", b"}")),
        "wrapped": one(wrapped),
        "v3": one(call("torch._utils._rebuild_tensor_v3", *v3, b"ctorch\nfloat32\n")),
        "other-function": one(call("torch._utils._rebuild_qtensor", *v3)),
        "v3-short": one(call("torch._utils._rebuild_tensor_v3", *v3)),
        "no-name": state((text("\0"), tensor())),
        "name-not-utf8": state((b"X\1\0\0\0\xff", tensor())),
        "other-type": one(tensor(storage("QInt8Storage"))),
        "offset-negative": one(tensor(offset=-1)),
        "shape-negative": one(tensor(shape=[-1, 3])),
        "strides-negative": one(tensor(strides=[-3, 1])),
        "strides-too-few": one(tensor(strides=[1])),
        "strides-too-far": one(tensor(strides=[300, 1])),
        "many-of-few": one(tensor(shape=[1 << 20, 64], strides=[0, 0])),
        "repeated": state(*((text(str(i)), tensor(shape=[300], strides=[0])) for i in range(60))),
        "no-storage": one(tensor(b"N")),
        "other-storage": one(tensor(storage(key="1"))),
        "other-size": one(tensor(storage(count=7))),
        "storage-of-other-tag": one(tensor(b"(" + text("module") + 4 * b"N" + b"tQ")),
        "storage-of-number": one(tensor(b"K\1Q")),
        "name-twice": state((text("w"), tensor()), (text("w"), tensor())),
        "no-state": state((text("epoch"), number(3)), (number(1), number(2))),
        "list": b"\x80\2].",
        "class": call("module.Class") + b".",
        "under-model": state((text("model"), one(tensor())[2:-1]), (text("epoch"), number(3))),
    }
    return {
        **{f"zip-{name}": archive(data) for name, data in zips.items()},
        "zip-two-roots": archive(one(tensor()), entries=[("b/data.pkl", b"")]),
        "zip-big-endian": archive(one(tensor()), entries=[("a/byteorder", "big")]),
        "zip-little-endian": archive(one(tensor()), entries=[("a/byteorder", "little")]),
        "zip-no-root": archive(b"").replace(b"data.pkl", b"data.txt"),
        "zip-same-name": archive(one(tensor()), entries=[("a/data/1", "")]).replace(b"a/data/1", b"a/data/0"),
        "zip-encrypted": patched(good, entry, 8, b"\1"),
        "zip-compressed": patched(good, entry, 10, b"\10"),
        "zip-overlap": patched(archive(one(tensor()), bytes(24), [("a/data/1", bytes(24))]), entry, 42, bytes(4)),
        "zip-other-local-name": patched(good, local, 30, b"b"),
        "zip-no-local": patched(good, local, 2, b"xx"),
        "zip-cut": good[:-10],
        "zip-parts": patched(good, end, 4, b"\1"),
        "zip-directory-too-long": patched(good, end, 12, b"\xff" * 4),
        "zip-name-too-long": patched(good, entry, 28, b"\xff\xff"),
        "zip-no-entry": patched(good, entry, 2, b"xx"),
        "zip-past-the-end": patched(good, entry, 20, b"\xff\xff\0\0" * 2),
        "zip-comment": patched(good, end, 20, b"\3\0") + b"abc",
        "zip-64-position": patched(good, end, 0, b"PK\6\7") + good[-22:],
        "zip-64-no-locator": good[:-22] + b"PK\6\7" + bytes(16) + good[-22:],
        "zip-wide": wide(struct.pack("<HHHHQQ", 9, 0, 1, 16, 0, 0)),
        "zip-wide-short": wide(struct.pack("<HHI", 1, 4, 0)),
        "zip-wide-without": wide(b""),
        "zip-wide-cut": wide(struct.pack("<HH", 1, 60)),
        "legacy": legacy(),
        "legacy-version": legacy(version=1000),
        "legacy-big-endian": legacy(little=False),
        "legacy-other-pickle": b"\x80\2N.",
        "legacy-keys": legacy(keys=b"\x80\2N."),
        "legacy-no-keys": legacy(keys=b"\x80\2].", values=b""),
        "legacy-unknown-key": legacy(keys=b"\x80\2](" + text("1") + b"e."),
        "legacy-key-twice": legacy(
            keys=b"\x80\2](" + 2 * text("0") + b"e.", values=2 * (struct.pack("<Q", 6) + bytes(24))),
        "legacy-other-count": legacy(values=struct.pack("<Q", 5) + bytes(24)),
        "legacy-cut": legacy(values=struct.pack("<Q", 6) + bytes(9)),
        "legacy-no-count": legacy(values=b"123"),
        "legacy-two-sizes": legacy(data=two_sizes),
        "other": b"\1\2\3",
    }
