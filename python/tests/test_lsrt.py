"""The package as its users call it, on models that are converted here from the repository's checkpoints."""

import json
import os
import pathlib
import signal
import struct
import subprocess
import sys
import threading
import time

import numpy as np
import pytest

import lsrt

ROOT = pathlib.Path(__file__).resolve().parents[2]
GOLDEN = ROOT / "tests" / "data" / "golden"


def tensors(path):
    """The arrays of a safetensors file."""
    data = pathlib.Path(path).read_bytes()
    (size,) = struct.unpack("<Q", data[:8])
    kinds = {"F32": np.float32, "I32": np.int32, "I64": np.int64}
    return {
        name: np.frombuffer(data[8 + size + entry["data_offsets"][0] : 8 + size + entry["data_offsets"][1]], kinds[entry["dtype"]]).reshape(entry["shape"])
        for name, entry in json.loads(data[8 : 8 + size]).items()
        if name != "__metadata__"
    }


@pytest.fixture(scope="session")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("models")


@pytest.fixture(scope="session")
def golden(folder):
    """golden(name, precision): a model file and the golden's arrays."""

    def make(name, precision="float32"):
        path = folder / f"{name}-{precision}.lsrt"
        if not path.exists():
            checkpoint = next(p for p in (GOLDEN / name).iterdir() if p.name.startswith("checkpoint."))
            lsrt.convert(checkpoint, path, config=GOLDEN / name / "case.json", precision=precision)
        return path, tensors(GOLDEN / name / "io.safetensors")

    return make


@pytest.fixture(scope="session")
def books(folder):
    path = folder / "books.lsrt"
    report = lsrt.convert(ROOT / "demos" / "data" / "books-lm.pt", str(path))
    assert report["output_bytes"] == path.stat().st_size
    return path


@pytest.fixture
def model(books):
    return lsrt.load(books)


def tool(*arguments):
    return subprocess.run([lsrt.tool.path(), *map(str, arguments)], capture_output=True, check=True).stdout


def test_twenty_lines(model):
    assert model.family == "lm" and model.vocabulary > 0 and model.classes == 0
    assert model.architecture in repr(model)
    text = "".join(model.session().generate("It was", max_tokens=20, temperature=0.0))
    assert len(text) >= 10
    assert text == "".join(model.session(threads=2).generate("It was", max_tokens=20, temperature=0.0))
    assert text in tool("generate", model._path, "--prompt", "It was", "-n", 20, "--temperature", 0).decode()


def test_a_seed_makes_the_same_text(model):
    texts = ["".join(model.session().generate("Call me", 30, temperature=1.0, seed=seed)) for seed in (7, 7, 8)]
    assert texts[0] == texts[1] != texts[2]


def test_goldens(golden):
    path, arrays = golden("lm-preln-rank2")
    model = lsrt.load(path)
    for block, memory in ((64, 128), (16, 64), (64, 512)):
        expected = arrays[f"logprobs_block{block}_mem{memory}"]
        for tokens, rows in zip(arrays["tokens"], expected):
            got = model.session(block=block, memory=memory).feed(tokens, output="all")
            assert got.dtype == np.float32
            np.testing.assert_allclose(got, rows, atol=2e-4)
    path, arrays = golden("vil-4stage")
    assert lsrt.load(path).classes == arrays["logits"].shape[-1]


def test_feeding(model):
    tokens = model.tokenize("It was a dark and stormy night")
    assert model.detokenize(tokens) == b"It was a dark and stormy night"
    whole, pieces = model.session(), model.session()
    rows = whole.feed(tokens, output="all")
    assert rows.shape == (len(tokens), model.vocabulary)
    assert pieces.feed(tokens[:5], output=None) is None
    np.testing.assert_array_equal(pieces.feed(np.array(tokens[5:])), rows[-1])
    assert whole.position == pieces.position == len(tokens)
    whole.reset()
    assert whole.position == 0
    np.testing.assert_array_equal(whole.feed(tokens), rows[-1])


def test_states(model):
    session, other = model.session(), model.session(threads=2)
    generate = dict(max_tokens=12, temperature=0.0)
    first = "".join(session.generate("It was", **generate))
    state = session.save()
    assert isinstance(state, bytes)
    rest = "".join(session.generate(**generate))
    other.load(state)
    assert "".join(other.generate(**generate)) == rest
    assert first + rest == "".join(model.session().generate("It was", max_tokens=24, temperature=0.0))
    before = other.save()
    with pytest.raises(lsrt.Error, match="damaged|digest|state"):
        other.load(state[:-9] + bytes(9))
    assert other.save() == before
    # What is fed comes behind the token that was generated last.
    session.load(state)
    other.load(state)
    tokens = model.tokenize(" and")
    np.testing.assert_array_equal(session.feed(tokens), other.feed(tokens, output="all")[-1])
    fed = model.session()
    fed.feed(tokens)
    again = model.session()
    again.load(fed.save())
    np.testing.assert_array_equal(again.feed(tokens), fed.feed(tokens))


def test_a_stream_that_goes_on_elsewhere(model):
    session = model.session()
    pieces = session.generate("It was", 10, temperature=0.0)
    first = next(pieces)
    rows = session.feed(model.tokenize(" and"), output="all")
    whole = model.session().feed(model.tokenize("It was" + first + " and"), output="all")
    np.testing.assert_array_equal(rows, whole[-len(rows):])
    with pytest.raises(lsrt.Error, match="elsewhere"):
        next(pieces)


def test_score_is_the_tools(model, tmp_path):
    text = "It was the best of times, it was the worst of times, it was the age of wisdom. " * 5
    (tmp_path / "text").write_text(text)
    expected = json.loads(tool("score", model._path, tmp_path / "text", "--json"))["bits_per_byte"]
    assert model.score(text) == pytest.approx(expected, abs=1e-6)
    assert model.score(text.encode()) == model.score(text)


def test_images(golden, tmp_path):
    image = pytest.importorskip("PIL.Image")
    path, _ = golden("vil-4stage", "int8")
    model = lsrt.load(path)
    jpeg = ROOT / "tests" / "data" / "images" / "colour.jpg"
    expected = json.loads(tool("classify", path, jpeg, "--json", "--top", 3))
    found = model.classify([jpeg], top=3)
    assert len(found) == 1 and len(found[0]) == 3
    probabilities = [p for _, p in found[0]]
    assert probabilities == sorted(probabilities, reverse=True) and 0 < sum(probabilities) <= 1.0001
    assert model.classify(image.open(jpeg), top=3) == found == model.classify(str(jpeg), top=3)
    assert str(found[0][0][0]) in json.dumps(expected)
    size = model._handle.image_input()[0]
    pixels = np.random.default_rng(1).integers(0, 256, (5, size, size, 3), np.uint8)
    logits = model.logits(pixels)
    assert logits.shape == (5, model.classes)
    np.testing.assert_array_equal(logits[2], model.logits(pixels[2])[0])
    with pytest.raises(ValueError, match="uint8"):
        model.logits(pixels.astype(np.float32))


def test_documents(golden):
    path, _ = golden("lra-listops", "int8")
    model = lsrt.load(path)
    documents = [list(range(1, 20)), np.arange(5, 40), [7]]
    logits = model.logits(documents)
    assert logits.shape == (3, model.classes)
    np.testing.assert_array_equal(model.logits([documents[1]])[0], logits[1])
    found = model.classify(documents, top=2)
    assert [len(row) for row in found] == [2, 2, 2] and found[0][0][0] == str(int(np.argmax(logits[0])))
    text = bytes(range(10, 30))
    np.testing.assert_array_equal(model.logits(text), model.logits([model.tokenize(text)]))
    pair = lsrt.load(golden("lra-dual", "int8")[0])
    assert pair.logits([([1, 2], [3]), ([4], [5, 6])]).shape == (2, pair.classes)
    np.testing.assert_array_equal(pair.logits(([1, 2], [3])), pair.logits([([1, 2], [3])]))


def test_slides(golden):
    path, arrays = golden("longnet")
    model = lsrt.load(path)
    assert model.family == "slide" and model.classes == 0
    found = np.stack([model.embed(*slide) for slide in zip(arrays["tiles"], arrays["coords"])])
    np.testing.assert_allclose(found, arrays["embedding"], atol=1e-5 * np.abs(arrays["embedding"]).max())
    with pytest.raises(ValueError, match="coords"):
        model.embed(arrays["tiles"][0], arrays["coords"][0][1:])
    with pytest.raises(ValueError, match="12 features"):
        model.embed(arrays["tiles"][0][:, 1:], arrays["coords"][0])
    with pytest.raises(ValueError, match="coordinate 0 of tile 0 is -1"):
        model.embed(arrays["tiles"][0], arrays["coords"][0] * 0 - 1)
    with pytest.raises(ValueError, match="has no tiles"):
        model.embed(arrays["tiles"][0][:0], arrays["coords"][0][:0])
    with pytest.raises(lsrt.ArgumentError, match="does not classify"):
        model.classify("a")


def test_errors(model, books, tmp_path):
    with pytest.raises(FileNotFoundError, match="nowhere"):
        lsrt.load(tmp_path / "nowhere.lsrt")
    with pytest.raises(FileNotFoundError):
        lsrt.convert(tmp_path / "nowhere.pt", tmp_path / "x.lsrt")
    (tmp_path / "text").write_text("not a model")
    with pytest.raises(lsrt.Error, match="text: "):
        lsrt.load(tmp_path / "text")
    for wrong in (lambda: model.session(block=7), lambda: model.session().generate("a", temperature=-1.0), lambda: model.session().generate(), lambda: model.classify("a"),
                  lambda: model.session().feed([10**6]), lambda: model.session().feed([2**40]), lambda: model.session().feed([0.5]), lambda: model.session().feed([1], output="some"),
                  lambda: model.score("a"), lambda: lsrt.load(books, isa="none"), lambda: lsrt.bench(arch="none")):
        with pytest.raises(ValueError) as caught:
            wrong()
        assert isinstance(caught.value, lsrt.Error) and str(caught.value)
    assert not list(tmp_path.glob("x.lsrt*"))


def test_verify_and_bench(model, books):
    assert lsrt.verify(books)["ok"] and model.verify()["results"]
    result = lsrt.bench(books, prompt=16, generate=4, repetitions=1, threads=1, depth=[0, 32])
    assert {row["test"] for row in result["results"]} == {"prompt", "decode"}
    assert {row["depth"] for row in result["results"]} == {0, 32}


def test_threads_run_at_the_same_time(model):
    """While a long prompt is computed, other Python threads go on."""
    tokens = model.tokenize("It was a dark and stormy night. " * 400)
    worker = threading.Thread(target=lambda: model.session(threads=1).feed(tokens))
    worker.start()
    steps = 0
    while worker.is_alive():
        steps += 1
        time.sleep(0)
    assert steps > 10


def test_threads_share_a_classifier(golden):
    model = lsrt.load(golden("vil-4stage", "int8")[0])
    size = model._handle.image_input()[0]
    batches = np.random.default_rng(2).integers(0, 256, (3, 8, size, size, 3), np.uint8)
    expected, wrong = [model.logits(batch) for batch in batches], []

    def classify(batch, logits):
        wrong.extend(i for i in range(10) if not np.array_equal(model.logits(batch), logits))

    workers = [threading.Thread(target=classify, args=pair) for pair in zip(batches, expected)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert not wrong


def test_interrupt(books):
    code = f"import lsrt, signal\nsignal.signal(signal.SIGINT, signal.default_int_handler)\nm = lsrt.load({str(books)!r})\nt = m.tokenize('It was a dark night. ') * 100000\nprint('ready', flush=True)\nm.session(threads=1).feed(t)\n"
    process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert process.stdout.readline() == b"ready\n"
    time.sleep(0.3)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert b"KeyboardInterrupt" in err and process.returncode not in (0, None)


def test_command_line(books):
    script = pathlib.Path(sys.executable).parent / "lsrt"
    if not script.exists():
        pytest.skip("not installed beside this interpreter")
    out = subprocess.run([script, "inspect", books, "--json"], capture_output=True, check=True)
    assert json.loads(out.stdout)["family"] == "lm"
    assert os.access(script, os.X_OK)


def test_byte_pairs(folder):
    """A checkpoint in a folder with a tokenizer.json."""
    checkpoint = ROOT.parent / "shared" / "checkpoints" / "books-mamba"
    if not checkpoint.exists():
        pytest.skip("no ../shared/checkpoints/books-mamba")
    lsrt.convert(checkpoint, folder / "mamba.lsrt")
    model = lsrt.load(folder / "mamba.lsrt")
    text = "It was a dark and stormy night \N{SNOWMAN} <|endoftext|>"
    tokens = model.tokenize(text)
    assert model.detokenize(tokens) == text.encode()
    pieces = list(model.session().generate("It was", max_tokens=40, temperature=0))
    assert pieces and all(isinstance(piece, str) for piece in pieces) and "\N{REPLACEMENT CHARACTER}" not in "".join(pieces)
