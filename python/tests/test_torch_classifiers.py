"""The classifiers of lsrt.torch: the authors' goldens, and what lsrt makes of one that was trained."""

import json

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="PyTorch is not installed: LSRT_TORCH=1 scripts/python.sh")

import lsrt
from lsrt.torch import LongShortEncoder, VisionLongShort
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


@pytest.mark.parametrize("name", ["vil-4stage", "vil-3stage-odd-window-ape", "vil-rank0"])
def test_vil_goldens(name):
    case, arrays, state = json.loads((GOLDEN / name / "case.json").read_text()), tensors(GOLDEN / name / "io.safetensors"), checkpoint(name)
    model = VisionLongShort(case["arch"], case["img_size"], case["num_classes"]).eval()
    for module in model.modules():  # the authors number distances in another way, which the index says
        if hasattr(module, "local_relative_position_bias_table"):
            path = next(key for key, other in model.named_modules() if other is module)
            rows = state[path + ".local_relative_position_bias_table"]
            module.local_relative_position_bias_table = torch.nn.Parameter(torch.zeros_like(rows))
    left_over = ("to_dynamic_projection", "dual_ln_dp") if name == "vil-rank0" else ()  # without summaries
    model.load_state_dict({k: v for k, v in state.items() if not any(part in k for part in left_over)})
    with torch.no_grad():
        logits = model(torch.tensor(arrays["image"])).numpy()
    np.testing.assert_allclose(logits, arrays["logits"], rtol=0, atol=4e-6)


@pytest.mark.parametrize("absolute", [0, 1])
def test_vil_from_images_to_device(absolute, tmp_path):
    """Learns whether the upper or the lower half of an image is brighter."""
    torch.manual_seed(5)
    arch = f"l1,h2,d16,n1,s1,g1,p2,f3,a{absolute},r2_l2,h2,d32,n1,s0,g0,p2,f3,a{absolute},r2"
    model = VisionLongShort(arch, 32, 2)
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
    mean, deviation = (torch.tensor(x)[:, None, None] for x in ([0.485, 0.456, 0.406], [0.229, 0.224, 0.225]))

    def images(n):
        pixels = torch.randint(0, 200, (n, 3, 32, 32))
        lower = torch.randint(0, 2, (n,))
        half = (torch.arange(32) >= 16).long()
        return pixels + 55 * (half == lower[:, None])[:, None, :, None], lower

    losses = []
    for _ in range(40):
        pixels, lower = images(16)
        loss = torch.nn.functional.cross_entropy(model((pixels / 255 - mean) / deviation), lower)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert np.mean(losses[-5:]) < 0.5 < 0.6 < losses[0]

    lsrt.convert(model.eval().save(tmp_path), tmp_path / "float.lsrt", precision="float32")
    pixels, _ = images(4)
    with torch.no_grad():
        expected = model((pixels / 255 - mean) / deviation).numpy()
    got = lsrt.load(tmp_path / "float.lsrt").logits(pixels.permute(0, 2, 3, 1).numpy().astype(np.uint8))
    np.testing.assert_allclose(got, expected, rtol=0, atol=4e-6)
