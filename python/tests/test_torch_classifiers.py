"""The classifiers of lsrt.torch: the authors' goldens, and what lsrt makes of one that was trained."""

import json

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="PyTorch is not installed: LSRT_TORCH=1 scripts/python.sh")

import lsrt
from lsrt.torch import LongShortEncoder
from test_lsrt import GOLDEN, tensors
from test_torch import checkpoint


@pytest.mark.parametrize("name", ["lra-listops", "lra-dual", "lra-conv-cls", "encoder-rank0"])
def test_encoder_goldens(name):
    case, arrays = json.loads((GOLDEN / name / "case.json").read_text()), tensors(GOLDEN / name / "io.safetensors")
    known = LongShortEncoder.__init__.__code__.co_varnames
    model = LongShortEncoder(**{k: v for k, v in case["config"].items() if k in known}, pair=case["dual"]).eval()
    model.load_state_dict({k: v for k, v in checkpoint(name).items() if model.config["num_landmarks"] or "dconv_fc" not in k})
    inputs = [torch.tensor(arrays[f"{kind}_{j}"]).long() for j in range(1 + case["dual"]) for kind in ("tokens", "mask")]
    with torch.no_grad():
        logits = model(*inputs).numpy()
    np.testing.assert_allclose(logits, arrays["logits"], rtol=0, atol=4e-6)  # seen: 1e-6


@pytest.mark.parametrize("options", [{"cls_last_layer": True, "conv_kernel_size": 3}, {"pair": True, "window_size": 5}, {"num_landmarks": 0}])
def test_encoder_from_documents_to_device(options, tmp_path):
    """Learns which of two letters a document has more of; of pairs, the first of the two."""
    torch.manual_seed(3)
    sizes = {"max_seq_len": 40, "transformer_dim": 32, "transformer_hidden_dim": 64, "num_landmarks": 4}
    model = LongShortEncoder(2, **{**sizes, **options})
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)

    def documents(n):
        share, lengths = torch.rand(n, 1), torch.randint(10, 41, (n, 1))
        letters = (torch.rand(n, 40) < share).long()
        mask = (torch.arange(40) < lengths).long()
        more = (letters * mask).sum(1) * 2 > lengths[:, 0]
        return (letters + ord("a") + 1) * mask, mask, more.long()

    losses = []
    for _ in range(80):
        tokens, mask, more = documents(32)
        inputs = (tokens, mask) + (documents(32)[:2] if model.pair else ())
        loss = torch.nn.functional.cross_entropy(model(*inputs), more)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert np.mean(losses[-10:]) < 0.5 < 0.6 < losses[0]

    lsrt.convert(model.eval().save(tmp_path), tmp_path / "float.lsrt", precision="float32")
    (tokens, mask, _), (tokens_2, mask_2, _) = documents(6), documents(6)
    cut = lambda t, m: [row[: int(n)].tolist() for row, n in zip(t, m.sum(1))]  # noqa: E731
    first, second = cut(tokens, mask), cut(tokens_2, mask_2)
    with torch.no_grad():
        expected = model(tokens, mask, tokens_2, mask_2).numpy()
    got = lsrt.load(tmp_path / "float.lsrt").logits(list(zip(first, second)) if model.pair else first)
    np.testing.assert_allclose(got, expected, rtol=0, atol=4e-6)  # seen: 1e-6
