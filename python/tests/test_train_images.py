"""python -m lsrt.torch.train_images: from folders of images to a model that classifies them."""

import json

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="PyTorch is not installed: LSRT_TORCH=1 scripts/python.sh")
Image = pytest.importorskip("PIL.Image")

import lsrt
from lsrt.torch import train_images
from test_lsrt import tool

SMALL = ["--arch", "l1,h2,d16,n1,s1,g1,p2,f3,a0,r2_l2,h2,d32,n1,s0,g0,p2,f2,a0,r2", "--size", "16", "--resize", "18", "--batch", "8", "--threads", "1"]


@pytest.fixture
def folder(tmp_path):
    """Images with a bright upper, lower or no half, of many sizes."""
    random = np.random.default_rng(4)
    for name, half in (("lower", 1), ("neither", None), ("upper", 0)):
        (tmp_path / "photos" / name).mkdir(parents=True)
        for i in range(30):
            height, width = random.integers(18, 30, 2)
            pixels = random.integers(0, 120, (height, width, 3))
            if half is not None:
                pixels[half * height // 2 : (half + 1) * height // 2] += 120
            Image.fromarray(pixels.astype(np.uint8)).save(tmp_path / "photos" / name / f"{i:02}.png")
    return tmp_path / "photos"


def run(*arguments):
    return train_images.train(train_images.parse([*map(str, arguments), *SMALL]))


def test_from_folders_to_device(folder, tmp_path):
    results = run(folder, "-o", tmp_path / "halves", "--epochs", 8, "--rate", "3e-3", "--warmup", 5)
    assert len(results) == 8 and results[-1] >= 0.8  # of chance, a third

    checkpoint = tmp_path / "halves" / "checkpoint.pth"
    lsrt.convert(checkpoint, tmp_path / "float.lsrt", precision="float32")
    lsrt.convert(checkpoint, tmp_path / "int8.lsrt")
    model = lsrt.load(tmp_path / "int8.lsrt")
    assert model.labels == ["lower", "neither", "upper"]

    # The script's own figure, by the tool, from the images that it held out.
    held_out = tmp_path / "held-out"
    for path in sorted(folder.glob("*/*")):
        if int(path.stem) % train_images.HELD_OUT == train_images.HELD_OUT - 1:
            (held_out / path.parent.name).mkdir(parents=True, exist_ok=True)
            (held_out / path.parent.name / path.name).symlink_to(path)
    report = json.loads(tool("classify", tmp_path / "float.lsrt", "--eval", held_out, "--json"))
    assert report["images"] == 9 and report["top1"] == pytest.approx(100 * results[-1], abs=1e-4)
    files = sorted(held_out.glob("*/*"))
    found = [row[0][0] for row in model.classify(files, top=1)]
    assert np.mean([name == path.parent.name for name, path in zip(found, files)]) >= 0.7

    # With a folder of their own to validate with, the same images are judged alike.
    _, (train, _), (valid, labels) = train_images.read_folders(train_images.parse([str(folder), "-o", "x", "--valid", str(held_out), *SMALL]))
    assert len(train) == 90 and labels.tolist() == [0] * 3 + [1] * 3 + [2] * 3
    module = lsrt.torch.VisionLongShort(SMALL[1], 16, 3).eval()
    module.load_state_dict(torch.load(checkpoint, weights_only=True)["net"])
    with torch.no_grad():
        expected = module(train_images.normalized(valid, "cpu")).numpy()
    np.testing.assert_allclose(lsrt.load(tmp_path / "float.lsrt").logits(files), expected, rtol=0, atol=1e-5)


def test_resume(folder, tmp_path, monkeypatch):
    """A run that was interrupted and taken up ends with the weights of one that was not."""
    def weights(name, *more):
        run(folder, "-o", tmp_path / name, "--epochs", 3, *more)
        return torch.load(tmp_path / name / "training.pt", weights_only=True)

    whole = weights("whole")
    save = train_images.save

    def interrupt(*arguments):
        save(*arguments)
        raise KeyboardInterrupt

    monkeypatch.setattr(train_images, "save", interrupt)
    with pytest.raises(KeyboardInterrupt):
        weights("parts")
    monkeypatch.setattr(train_images, "save", save)
    parts = weights("parts", "--resume")
    assert parts["epoch"] == whole["epoch"] == 3
    for name, tensor in whole["model"].items():
        torch.testing.assert_close(parts["model"][name], tensor, rtol=0, atol=1e-6)
    (folder / "a new one").mkdir()
    with pytest.raises(SystemExit, match="other classes: lower, neither, upper"):
        weights("parts", "--resume")


def test_varied_images_are_moved_or_mirrored_and_nothing_else():
    torch.manual_seed(1)
    image = torch.arange(16 * 16 * 3, dtype=torch.int64).view(1, 3, 16, 16).float()
    seen = train_images.varied(image.repeat(40, 1, 1, 1))
    padded = torch.nn.functional.pad(image, (2, 2, 2, 2))[0]
    allowed = [padded[:, y : y + 16, x : x + 16] for y in range(5) for x in range(5)]
    allowed += [each.flip(-1) for each in allowed]
    kinds = {next(i for i, each in enumerate(allowed) if torch.equal(each, one)) for one in seen}
    assert len(kinds) > 10 and min(kinds) < 25 <= max(kinds)


@pytest.mark.parametrize("change, text", [("no folder", "0 classes"), ("one class", "1 classes"), ("damaged", "05.png"), ("few", "a batch of 8"), ("small resize", "--resize 12")])
def test_what_is_wrong_is_said(change, text, folder, tmp_path):
    more = []
    if change == "no folder":
        folder = tmp_path / "nowhere"
    elif change == "one class":
        for name in ("lower", "upper"):
            (folder / name).rename(tmp_path / name)
    elif change == "damaged":
        (folder / "upper" / "05.png").write_bytes(b"not an image")
    elif change == "few":
        for path in [path for path in folder.glob("*/*") if int(path.stem) > 0]:
            path.unlink()
    else:
        more = ["--resize", "12"]
    with pytest.raises(SystemExit, match=text):
        train_images.train(train_images.parse([str(folder), "-o", str(tmp_path / "out"), *SMALL, *more]))
    assert not (tmp_path / "out").exists()
