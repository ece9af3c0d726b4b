"""demos/attention.ipynb runs, and its pictures show what they say."""

import json

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="PyTorch is not installed: LSRT_TORCH=1 scripts/python.sh")
matplotlib = pytest.importorskip("matplotlib", reason="matplotlib is not installed: LSRT_TORCH=1 scripts/python.sh")

from test_lsrt import ROOT


def test_attention(monkeypatch):
    matplotlib.use("agg")
    from matplotlib import pyplot

    shown, threads = [], torch.get_num_threads()
    monkeypatch.setattr(pyplot, "show", lambda: (pyplot.gcf().canvas.draw(), shown.append(len(pyplot.gcf().axes)), pyplot.close()))
    monkeypatch.chdir(ROOT / "demos")
    cells = json.loads((ROOT / "demos" / "attention.ipynb").read_text())["cells"]
    assert all(not cell.get("outputs") for cell in cells)  # pictures are made, not stored
    names = {"__name__": "__main__"}
    for i, cell in enumerate(cells):
        if cell["cell_type"] == "code":
            exec(compile("".join(cell["source"]), f"attention.ipynb, cell {i}", "exec"), names)
    torch.set_num_threads(threads)

    assert shown == [4, 12, 1]
    assert names["difference"] < 4e-4  # seen: 1.9e-4, of which 1.7e-4 is the module's from itself in double precision
    rows, near, window = names["rows"], names["near"], names["window"]
    np.testing.assert_allclose(rows.sum(axis=1), 1, rtol=0, atol=1e-5)
    end = names["last"] % window + window + 1  # behind the last token
    assert rows.shape[0] == 4 and near[:, end - window : end].all() and not near[:, end:].any() and not near[:, : end - window].any()
    assert names["answers"].tolist() == names["colours"].tolist() and min(names["inside"]) > 0.25  # of a sixteenth by chance
    assert all(len(values) == 4 for values in names["times"].values()) and (names["times"]["products"] > 0).all()
