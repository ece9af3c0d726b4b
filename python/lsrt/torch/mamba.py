"""The language model of Mamba (arXiv 2312.00752), with the tensor names of the authors' checkpoints, in plain PyTorch: no
kernel of its own, the same on a CPU and on a GPU. n streams are computed side by side."""

import json
import math
import os
from typing import Any, Dict, List, Optional, Tuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint

from .files import Folder, write

State = Tuple[Tensor, Tensor]  # of a layer: the last K - 1 rows before the convolution [n, di, K - 1], H [n, di, N]
_ROWS = 32  # of a stream whose states are in memory at once


class _Recurrence(torch.autograd.Function):
    """H[t] = a[t] H[t - 1] + b[t] for arrays [rows, ..]. Its gradient is the same recurrence, backwards."""

    @staticmethod
    def forward(ctx: Any, a: Tensor, b: Tensor, start: Tensor) -> Tensor:
        states = torch.empty_like(b)
        before = start
        for t in range(len(b)):
            before = torch.addcmul(b[t], a[t], before, out=states[t])
        ctx.save_for_backward(a, states, start)
        return states

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tuple[Tensor, Tensor, Tensor]:
        a, states, start = ctx.saved_tensors
        g = gradient.clone(memory_format=torch.contiguous_format)
        for t in range(len(g) - 2, -1, -1):
            g[t].addcmul_(a[t + 1], g[t + 1])
        return g * torch.cat([start[None], states[:-1]]), g, g[0] * a[0]


def _scan(v: Tensor, dt: Tensor, b: Tensor, c: Tensor, a: Tensor, start: Tensor) -> State:
    """v, dt [rows, n, di]; b, c [rows, n, N]; a [di, N]; start [n, di, N] -> y [rows, n, di] and the last state."""
    states = _Recurrence.apply(torch.exp(dt[..., None] * a), (dt * v)[..., None] * b[:, :, None], start)
    return (states @ c[..., None]).squeeze(-1), states[-1]


class _Mixer(nn.Module):
    def __init__(self, d: int, inner: int, states: int, taps: int, rank: int, bias: bool):
        super().__init__()
        self.sizes = [rank, states, states]
        self.in_proj = nn.Linear(d, 2 * inner, bias=bias)
        self.conv1d = nn.Conv1d(inner, inner, taps, groups=inner)
        self.x_proj = nn.Linear(inner, rank + 2 * states, bias=False)
        self.dt_proj = nn.Linear(rank, inner)
        self.A_log = nn.Parameter(torch.arange(1.0, states + 1).log().repeat(inner, 1))
        self.D = nn.Parameter(torch.ones(inner))
        self.out_proj = nn.Linear(inner, d, bias=bias)
        # Steps between 0.001 and 0.1, evenly on a scale of factors, as the authors start.
        step = torch.exp(torch.empty(inner).uniform_(math.log(0.001), math.log(0.1)))
        with torch.no_grad():
            self.dt_proj.bias.copy_(step + torch.log(-torch.expm1(-step)))  # softplus of it is the step
            self.dt_proj.weight.uniform_(-(rank**-0.5), rank**-0.5)

    def forward(self, u: Tensor, state: State) -> Tuple[Tensor, State]:
        rows, z = self.in_proj(u).chunk(2, dim=-1)
        rows = torch.cat([state[0], rows.transpose(1, 2)], dim=2)
        v = F.silu(self.conv1d(rows)).permute(2, 0, 1)  # [L, n, di] from here on
        step, b, c = self.x_proj(v).split(self.sizes, dim=-1)
        dt, a = F.softplus(self.dt_proj(step)), -torch.exp(self.A_log)
        pieces, h = [], state[1]
        for start in range(0, len(v), _ROWS):  # states of all rows would fill the memory: they are computed twice instead
            part = slice(start, start + _ROWS)
            y, h = checkpoint(_scan, v[part], dt[part], b[part], c[part], a, h, use_reentrant=False)
            pieces.append(y)
        y = (torch.cat(pieces) + self.D * v).transpose(0, 1)
        history = rows[:, :, rows.shape[2] - state[0].shape[2] :]
        return self.out_proj(y * F.silu(z)), (history.detach(), h.detach())


class _RmsNorm(nn.Module):
    def __init__(self, d: int):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(d))

    def forward(self, x: Tensor) -> Tensor:
        return x * torch.rsqrt(x.square().mean(-1, keepdim=True) + 1e-5) * self.weight


class _Layer(nn.Module):
    def __init__(self, mixer: _Mixer, d: int):
        super().__init__()
        self.mixer, self.norm = mixer, _RmsNorm(d)


class _Backbone(nn.Module):
    def __init__(self, vocab_size: int, d: int, layers: List[_Layer]):
        super().__init__()
        self.embedding, self.layers, self.norm_f = nn.Embedding(vocab_size, d), nn.ModuleList(layers), _RmsNorm(d)


class MambaLM(nn.Module):
    """Mamba-1; the embedding is the head, too."""

    def __init__(
        self,
        vocab_size: int,
        n_layer: int,
        d_model: int,
        d_state: int = 16,
        d_conv: int = 4,
        expand: int = 2,
        dt_rank: Optional[int] = None,
        bias: bool = False,
        dropout: float = 0.0,
    ):
        super().__init__()
        inner, rank = expand * d_model, dt_rank or -(-d_model // 16)
        ssm = {"layer": "Mamba1", "d_state": d_state, "d_conv": d_conv, "expand": expand, "dt_rank": rank, "bias": bias}
        self.config: Dict[str, Any] = {"d_model": d_model, "n_layer": n_layer, "vocab_size": vocab_size, "ssm_cfg": ssm, "rms_norm": True, "pad_vocab_size_multiple": 1}
        mixers = [_Mixer(d_model, inner, d_state, d_conv, rank, bias) for _ in range(n_layer)]
        self.backbone = _Backbone(vocab_size, d_model, [_Layer(mixer, d_model) for mixer in mixers])
        self.dropout = nn.Dropout(dropout)
        nn.init.normal_(self.backbone.embedding.weight, std=0.02)
        with torch.no_grad():
            for mixer in mixers:
                mixer.out_proj.weight.div_(math.sqrt(n_layer))

    def forward(self, tokens: Tensor, state: Optional[List[State]] = None) -> Tuple[Tensor, List[State]]:
        """tokens [n, L], any L -> logits [n, L, vocab_size] of the tokens that follow, and the state after them, without
        gradient. None: the start of a stream. Results do not depend on where a stream is cut."""
        x = self.backbone.embedding(tokens)
        if state is None:
            n, inner, taps = len(tokens), *self.backbone.layers[0].mixer.conv1d.weight.shape[::2]
            states = self.backbone.layers[0].mixer.A_log.shape[1]
            state = [(x.new_zeros(n, inner, taps - 1), x.new_zeros(n, inner, states))] * len(self.backbone.layers)
        after = []
        for layer, before in zip(self.backbone.layers, state):
            y, last = layer.mixer(layer.norm(x), before)
            x = x + self.dropout(y)
            after.append(last)
        return F.linear(self.backbone.norm_f(x), self.backbone.embedding.weight), after

    def save(self, folder: Folder) -> str:
        """Writes config.json and pytorch_model.bin, the authors' layout; convert takes the text of tokens from a
        tokenizer.json beside them. Returns what to convert."""
        with open(os.path.join(folder, "config.json"), "w") as file:
            json.dump(self.config, file, indent=1)
        write({name: tensor.detach().cpu() for name, tensor in self.state_dict().items()}, os.path.join(folder, "pytorch_model.bin"))
        return os.fspath(folder)
