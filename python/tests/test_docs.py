"""What the documentation shows works with the package: every block of shell and Python, in the order of its page."""

import os
import pathlib
import sys

import pytest

import lsrt

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests" / "docs"))
import blocks

# What a page's Python takes from the reader's own program, and what holds at its end.
BEFORE = {
    "docs/many-machines.md": 'import os; os.environ.update(RAY_USAGE_STATS_ENABLED="0", RAY_AUTH_MODE="disabled")',
    "docs/training.md": """import torch
tokens, more, mask, images = torch.zeros(1, 256, dtype=torch.long), *[torch.ones(1, 256, dtype=torch.long)] * 2, torch.zeros(1, 3, 112, 112)
import os; os.makedirs("folder", exist_ok=True)""",
}
AFTER = {
    "README.md": "import numpy as np; assert abs(np.exp(logprobs).sum() - 1) < 1e-3 and 0 < bits < 8 and len(state) > 100 and report",
    "docs/many-machines.md": """rows = ray.data.read_parquet("scored").take_all() + written.take_all() + found.take_all(); ray.shutdown()
assert len(rows) > 100 and {"bits_per_byte", "generated", "label"} <= {name for row in rows for name in row}""",
    "docs/training.md": 'assert logits.shape == (1, 10) and {"checkpoint.pt", "checkpoint.model", "checkpoint.pth"} <= set(os.listdir("folder"))',
}
NEEDS = {"docs/many-machines.md": ["ray"], "docs/training.md": ["torch", "PIL"], "README.md": []}


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    folder = tmp_path_factory.mktemp("docs") / "files"
    blocks.stand_ins(folder, lsrt.tool.path())
    return folder


@pytest.mark.parametrize("page", [str(page.relative_to(ROOT)) for page in blocks.pages() if blocks.blocks_of(page)])
def test_page(page, files, tmp_path, monkeypatch):
    for module in NEEDS.get(page, []):
        pytest.importorskip(module)
    code = [block for block in blocks.blocks_of(ROOT / page) if block.language in ("sh", "python") and not blocks.left_out(block)]
    if not code:
        pytest.skip("no block of shell or Python")
    monkeypatch.chdir(tmp_path)
    shell = blocks.Shell(tmp_path, files, lsrt.tool.path(), [pathlib.Path(sys.executable).parent])
    names = {"__name__": "__main__"}
    exec(BEFORE.get(page, ""), names)
    for block in code:
        if block.language == "sh":
            shell.run(block)
        else:
            exec(compile(os.linesep * block.line + block.text, block.page, "exec"), names)
    exec(AFTER.get(page, ""), names)


def test_nothing_is_left_over():
    """Blocks of these pages are run here or by tests/docs/blocks.py on a build."""
    found = [block for page in blocks.pages() for block in blocks.blocks_of(page)]
    assert len(found) >= 15 and {block.language for block in found} <= set(blocks.CODE + blocks.DATA)
