"""lsrt.ray on a cluster of this machine: what a single process computes, also when a worker is killed."""

import os
import pathlib
import signal
import time

import numpy as np
import pytest

os.environ.update(RAY_USAGE_STATS_ENABLED="0", RAY_AUTH_MODE="disabled")  # nothing is sent, nothing written to the home folder
ray = pytest.importorskip("ray", reason="Ray is not installed: LSRT_RAY=1 scripts/python.sh")

import lsrt
import lsrt.ray
from test_lsrt import ROOT, books, folder, golden  # noqa: F401

COUNT = 10_000


@pytest.fixture(scope="module", autouse=True)
def cluster():
    ray.init(num_cpus=2, include_dashboard=False, object_store_memory=200 << 20, log_to_driver=False)
    ray.data.DataContext.get_current().enable_progress_bars = False
    yield
    ray.shutdown()


@pytest.fixture(scope="module")
def texts():
    pages = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]
    text = "".join(c for page in pages for c in page.read_text() if c in " .," or c.isascii() and c.isalpha())
    starts = [i * 7 % (len(text) - 80) for i in range(COUNT)]
    return [text[start : start + 30 + start % 50] for start in starts]


def workers(path):
    """Processes other than this one that map a file."""
    found = set()
    for maps in pathlib.Path("/proc").glob("[0-9]*/maps"):
        try:
            if str(path) in maps.read_text():
                found.add(int(maps.parent.name))
        except OSError:  # it has ended
            pass
    return found - {os.getpid()}


def own_copy(pid, path):
    """Bytes of a mapped file that a process has written to, and so holds for itself alone."""
    blocks = pathlib.Path(f"/proc/{pid}/smaps").read_text().split("VmFlags:")
    dirty = [line for block in blocks if str(path) in block for line in block.splitlines() if line.startswith("Private_Dirty:")]
    assert dirty
    return sum(int(line.split()[1]) for line in dirty) * 1024


def test_a_worker_is_killed(books, texts, capsys):  # noqa: F811
    model = lsrt.load(books, map=True)
    start = time.perf_counter()
    expected = [model.score(text, threads=1) for text in texts]
    alone = COUNT / (time.perf_counter() - start)

    records = ray.data.from_items([{"id": i, "text": text} for i, text in enumerate(texts)], override_num_blocks=100)
    for kill in (False, True):
        rows, killed, start = [], set(), time.perf_counter()
        for batch in lsrt.ray.score(records, books, batch=100).iter_batches(batch_size=None):
            rows += zip(batch["id"].tolist(), batch["bits_per_byte"].tolist(), batch["error"].tolist())
            if kill and not killed and len(rows) >= COUNT // 5:
                running = workers(books)
                assert running and all(own_copy(pid, books) == 0 for pid in running)
                killed = {min(running)}
                os.kill(min(killed), signal.SIGKILL)
                assert len(rows) < COUNT // 2  # in the middle
        speed = COUNT / (time.perf_counter() - start)
        with capsys.disabled():
            print(f"\n{speed:.0f} records/s{', a worker killed' * kill}; a single process: {alone:.0f}; {speed / alone:.2f} x")
        assert bool(killed) == kill and not killed & workers(books)
        assert sorted(rows) == list(zip(range(COUNT), expected, [""] * COUNT))  # none lost, none doubled, the same bits


def rows(dataset):
    return sorted(dataset.take_all(), key=lambda row: row["id"])


def test_records_without_an_answer(books):  # noqa: F811
    texts = ["It was a dark night", "", "It was", None, "\u4e16"]
    model = lsrt.load(books)
    found = rows(lsrt.ray.score(ray.data.from_items([{"id": i, "text": text} for i, text in enumerate(texts)]), books))
    for row, text in zip(found, texts):
        assert row["text"] == text
        try:
            assert row["bits_per_byte"] == model.score(text) and row["error"] == ""
        except (ValueError, TypeError) as error:
            assert np.isnan(row["bits_per_byte"]) and row["error"] == f"{type(error).__name__}: {error}"
    assert [bool(row["error"]) for row in found][:4] == [False, True, False, True]


def test_generate(books):  # noqa: F811
    prompts = ["It was", "Call me", "", "The sea"]
    model = lsrt.load(books)
    found = rows(lsrt.ray.generate(ray.data.from_items([{"id": i, "prompt": p} for i, p in enumerate(prompts)]), books, max_tokens=12, temperature=1.0, seed=3))
    for row, prompt in zip(found, prompts):
        assert row["generated"] == ("".join(model.session().generate(prompt, 12, temperature=1.0, seed=3)) if prompt else "")
    assert [row["error"] for row in found][2].startswith("ArgumentError: there is nothing to go on from")


def test_classify_images(golden):  # noqa: F811
    path, arrays = golden("vil-4stage", "int8")
    model = lsrt.load(path)
    size, _ = model._handle.image_input()
    images = np.random.default_rng(1).integers(0, 256, (20, size, size, 3), np.uint8)
    found = [row for row in lsrt.ray.classify(ray.data.from_numpy(images), path, "data").take_all()]
    key = lambda item: item[0]  # noqa: E731
    got = sorted(((row["data"].tobytes(), row["label"], row["probability"], row["error"]) for row in found), key=key)
    assert got == sorted(((image.tobytes(), *best[0], "") for image, best in zip(images, model.classify(images))), key=key)

    photo = ROOT / "tests" / "data" / "images" / "colour.jpg"
    found = rows(lsrt.ray.classify(ray.data.from_items([{"id": i, "path": str(p)} for i, p in enumerate([photo, "missing.jpg", photo])]), path, "path"))
    assert found[0]["label"] == found[2]["label"] == model.classify(photo)[0][0][0]
    assert found[1]["label"] == "" and np.isnan(found[1]["probability"]) and found[1]["error"].startswith("FileNotFoundError: ") and "missing.jpg" in found[1]["error"]


def test_classify_documents(golden):  # noqa: F811
    path, arrays = golden("lra-listops", "int8")
    model = lsrt.load(path)
    documents = [[1, 5, 3], [2, 7, 7, 1, 9], [3]]
    found = rows(lsrt.ray.classify(ray.data.from_items([{"id": i, "tokens": d} for i, d in enumerate(documents)]), path, "tokens"))
    assert [(row["label"], row["probability"]) for row in found] == [best[0] for best in model.classify(documents)]


def test_what_is_wrong_is_said_before_it_starts(books, tmp_path):  # noqa: F811
    records = ray.data.from_items([{"text": "It was"}])
    with pytest.raises(FileNotFoundError, match="missing.lsrt"):
        lsrt.ray.score(records, tmp_path / "missing.lsrt")
    with pytest.raises(ValueError, match="family 'lm'; this needs one of: vil, encoder"):
        lsrt.ray.classify(records, books, "text")
    with pytest.raises(TypeError, match="temprature"):
        lsrt.ray.generate(records, books, "text", temprature=1)
