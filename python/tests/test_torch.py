"""lsrt.torch: its models are those of the authors (goldens), they learn, and lsrt computes what they compute."""

import json
import pathlib

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="PyTorch is not installed: LSRT_TORCH=1 scripts/python.sh")

import lsrt
from lsrt.torch import LongShortLM, MambaLM, mamba, train_text
from test_lsrt import GOLDEN, ROOT, tensors

torch.set_num_threads(1)  # small models: threads only wait for each other
TEXTS = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "SECURITY.md", *sorted((ROOT / "docs").glob("*.md")), *sorted((ROOT / "runtime").glob("*.h*"))]
SMALL = ["--layers", "2", "--width", "64", "--heads", "2", "--window", "24", "--chunk", "8", "--rank", "2", "--memory", "64", "--block", "64", "--batch", "8"]

# Largest differences seen: 1.0e-5 and 4.3e-5, much of it the rounding of the goldens' own code.
BOUND = {"long-short": 3e-5, "mamba": 1.5e-4}


def checkpoint(name):
    """A golden's state dict."""
    folder = GOLDEN / name
    for path in (folder / "checkpoint.pt", folder / "checkpoint.model", folder / "checkpoint.pth", folder / "pytorch_model.bin"):
        if path.exists():
            state = torch.load(path, weights_only=True)
            return state.get("model", state.get("model_state_dict", state.get("net", state)))
    path = next(folder.glob("[!i]*.safetensors"))
    if name.endswith("bf16-bias"):
        return bfloat16(path)
    return {key: torch.tensor(array) for key, array in tensors(path).items()}


def bfloat16(path):
    data = path.read_bytes()
    size = int.from_bytes(data[:8], "little")
    entries = {k: v for k, v in json.loads(data[8 : 8 + size]).items() if k != "__metadata__"}
    part = lambda e: bytearray(data[8 + size + e["data_offsets"][0] : 8 + size + e["data_offsets"][1]])  # noqa: E731
    return {k: torch.frombuffer(part(e), dtype=torch.bfloat16).float().view(e["shape"]) for k, e in entries.items()}


def logprobs(model, tokens, block):
    """Of a stream in blocks; the last one is filled up, which changes nothing before."""
    tokens = torch.tensor(np.asarray(tokens, np.int64))
    count = tokens.shape[1]
    filled = torch.nn.functional.pad(tokens, (0, -count % block))
    pieces, state = [], None
    with torch.no_grad():
        for part in filled.split(block, dim=1):
            logits, state = model(part, state)
            pieces.append(logits.log_softmax(-1))
    return torch.cat(pieces, dim=1)[:, :count].numpy()


@pytest.mark.parametrize("name", ["lm-preln-rank2", "lm-postln-relu-bias", "lm-rank0"])
def test_long_short_goldens(name):
    case, arrays = json.loads((GOLDEN / name / "case.json").read_text()), tensors(GOLDEN / name / "io.safetensors")
    known = LongShortLM.__init__.__code__.co_varnames
    state = {key[len("decoder.model.") :]: value for key, value in checkpoint(name).items()}
    for run in case["runs"]:
        config = {**{k: v for k, v in case["config"].items() if k in known}, "mem_len": run["mem_len"]}
        model = LongShortLM(**config).eval()
        shapes = {key: value.shape for key, value in model.state_dict().items()}  # lm-rank0 has more axes of length 1
        assert config["chunk_rank"] == 0 or set(state) <= set(shapes)  # without summaries theirs are left over
        used = {key: value.reshape(shapes[key]) for key, value in state.items() if key in shapes}
        assert set(model.load_state_dict(used, strict=False).missing_keys) <= {"pos_emb.inv_freq", "out_emb.weight"}  # made from what is there
        expected = arrays[f"logprobs_block{run['block']}_mem{run['mem_len']}"]
        np.testing.assert_allclose(logprobs(model, arrays["tokens"], run["block"]), expected, rtol=0, atol=BOUND["long-short"])


@pytest.mark.parametrize("name", ["mamba1-original", "mamba1-hf", "mamba1-hf-bf16-bias"])
def test_mamba_goldens(name):
    arrays = tensors(GOLDEN / name / "io.safetensors")
    state = {key.replace("embeddings", "embedding"): value for key, value in checkpoint(name).items() if key != "lm_head.weight"}
    (vocabulary, d), layer = state["backbone.embedding.weight"].shape, "backbone.layers.0.mixer."
    layers = sum(key.endswith("A_log") for key in state)
    rank, (inner, states), taps = state[layer + "dt_proj.weight"].shape[1], state[layer + "A_log"].shape, state[layer + "conv1d.weight"].shape[2]
    model = MambaLM(vocabulary, layers, d, states, taps, inner // d, rank, bias=layer + "in_proj.bias" in state).eval()
    model.load_state_dict(state)
    for block in (1, 3, 200):
        np.testing.assert_allclose(logprobs(model, arrays["tokens"], block), arrays["logprobs"], rtol=0, atol=BOUND["mamba"])


def test_gradient_of_the_recurrence():
    torch.manual_seed(1)
    a, b, start = (torch.rand(shape, dtype=torch.float64, requires_grad=True) for shape in [(5, 2, 3), (5, 2, 3), (2, 3)])
    assert torch.autograd.gradcheck(mamba._Recurrence.apply, (a, b, start))


@pytest.mark.parametrize("arch", ["long-short", "mamba"])
def test_from_text_to_device(arch, tmp_path):
    """Trains, converts, compares, writes."""
    output = tmp_path / "small"
    arguments = [*map(str, TEXTS), "-o", str(output), "--arch", arch, *SMALL]
    steps = {"long-short": 400, "mamba": 160}[arch]
    results = train_text.train(train_text.parse([*arguments, "--steps", str(steps), "--every", str(steps // 4), "--rate", "3e-3", "--warmup", "20"]))
    assert len(results) == 4 and results[-1] < 4 and results[-1] < results[0] - 0.4  # bits per byte; of chance, 8

    source = output / "checkpoint.pt" if arch == "long-short" else output
    options = {"block": 64} if arch == "long-short" else {}
    lsrt.convert(source, tmp_path / "float.lsrt", precision="float32", **options)
    report = lsrt.convert(source, tmp_path / "int8.lsrt", **options)
    assert report["family"] == "lm"
    text = TEXTS[0].read_bytes()[:500]
    model = lsrt.load(tmp_path / "float.lsrt")
    tokens = model.tokenize(text)
    assert model.detokenize(tokens) == text
    args = train_text.parse(arguments)
    module = train_text.make_model(args).eval()
    module.load_state_dict(torch.load(output / "training.pt", weights_only=True)["model"])
    np.testing.assert_array_equal(tokens, train_text.byte_ids(arch)[np.frombuffer(text, np.uint8)])
    expected = logprobs(module, [tokens], 64)[0]
    got = model.session().feed(tokens, output="all")
    np.testing.assert_allclose(got, expected, rtol=0, atol=3e-5)  # seen: 6e-6

    small = lsrt.load(tmp_path / "int8.lsrt")
    assert abs(small.score(text) - model.score(text)) < 5e-3  # seen: 6e-4
    assert len("".join(small.session().generate("The ", max_tokens=40, seed=1)).encode()) >= 40
    assert set(small.tokenize(bytes(range(256)))) == set(train_text.byte_ids(arch))


@pytest.mark.parametrize("arch", ["long-short", "mamba"])
def test_resume(arch, tmp_path, monkeypatch):
    """A run that was interrupted and taken up ends with the weights of one that was not."""
    def run(folder, *more):
        train_text.train(train_text.parse([*map(str, TEXTS[:2]), "-o", str(tmp_path / folder), *SMALL, "--arch", arch, "--steps", "12", "--every", "6", *more]))
        return torch.load(tmp_path / folder / "training.pt", weights_only=True)

    whole = run("whole")
    save = train_text.save

    def interrupt(*arguments):
        save(*arguments)
        raise KeyboardInterrupt

    monkeypatch.setattr(train_text, "save", interrupt)
    with pytest.raises(KeyboardInterrupt):
        run("parts")
    monkeypatch.setattr(train_text, "save", save)
    parts = run("parts", "--resume")
    assert parts["step"] == whole["step"] == 12
    for name, tensor in whole["model"].items():
        torch.testing.assert_close(parts["model"][name], tensor, rtol=0, atol=1e-6)


def test_streams_cover_the_text():
    streams = train_text.Streams(torch.arange(2 * 40 + 1), batch=2, block=16)
    inputs, following, begins = streams.next()
    assert begins and inputs[:, 0].tolist() == [0, 40] and torch.equal(following, inputs + 1)
    again, _, begins = streams.next()
    assert not begins and again[:, 0].tolist() == [16, 56]
    first, _, begins = streams.next()  # no third block: from the start, five tokens further on
    assert begins and first[:, 0].tolist() == [5, 42]


def test_too_little_text(tmp_path):
    (tmp_path / "short.txt").write_bytes(b"short")
    with pytest.raises(SystemExit, match="too few"):
        train_text.train(train_text.parse([str(tmp_path / "short.txt"), "-o", str(tmp_path / "out")]))
    assert not (tmp_path / "out").exists()
