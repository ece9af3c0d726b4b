"""The causal long-short language model of Transformer-LS (arXiv 2107.02192), with the tensor names of the authors'
checkpoints. Rows are tokens; n streams are computed side by side."""

import math
import os
from typing import Any, Dict, List, Optional, Tuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from .files import Folder, write


def _sinusoid(distances: Tensor, frequencies: Tensor) -> Tensor:
    """[rows, d]: sines, then cosines."""
    angles = distances[:, None].to(frequencies.dtype) * frequencies
    return torch.cat([angles.sin(), angles.cos()], dim=-1)


def _skew(x: Tensor, step: int) -> Tensor:
    """[.., rows, columns] -> [.., rows, columns - step]: column j of row i is column j + step * (rows - i) of x. It turns
    scores by distance into scores by key: one row later, every key is `step` further away."""
    rows, columns = x.shape[-2:]
    return x.flatten(-2)[..., rows * step :].unflatten(-1, (rows, columns - step))


class _Attention(nn.Module):
    def __init__(self, d: int, heads: int, window: int, chunk: int, rank: int, clamp: int, chunk_clamp: int, bias: bool):
        super().__init__()
        self.heads, self.window, self.chunk, self.rank = heads, window, chunk, rank
        self.clamp, self.chunk_clamp = clamp, chunk_clamp
        for name in ("proj_query", "proj_key", "proj_val", "proj_out"):
            setattr(self, name, nn.Linear(d, d, bias=bias))
        self.r_net = nn.Linear(d, d, bias=False)
        self.r_w_bias = nn.Parameter(torch.zeros(1, heads, 1, 1, d // heads))
        self.r_r_bias = nn.Parameter(torch.zeros(1, heads, 1, d // heads))
        self.dual_ln_win = nn.LayerNorm(d)
        if rank > 0:
            self.dconv_1 = nn.Linear(d, heads * rank)
            self.r_net_chunk = nn.Linear(d, d)
            self.dual_ln_dproj = nn.LayerNorm(d)

    def _positions(self, count: int, clamp: int, projection: nn.Linear, frequencies: Tensor) -> Tensor:
        """[heads, count, d_h], the farthest distance first, as keys lie."""
        distances = torch.arange(count - 1, -1, -1, device=frequencies.device)
        if clamp > 0:
            distances = distances.clamp(max=clamp)
        return projection(_sinusoid(distances, frequencies)).unflatten(-1, (self.heads, -1)).transpose(0, 1)

    def _summarize(self, weights_of: Tensor, rows: Tensor) -> Tensor:
        """[n, chunks * c, d] -> [n, chunks * rank, d]: each chunk of c rows as `rank` sums, whose weights are a softmax over
        the chunk, of each head for its own slice."""
        n, _, d = rows.shape
        weights = self.dconv_1(weights_of).view(n, -1, self.chunk, self.heads, self.rank).softmax(dim=2)
        slices = rows.view(n, -1, self.chunk, self.heads, d // self.heads)
        return torch.einsum("nktaj,nktae->nkjae", weights, slices).reshape(n, -1, d)

    def _long(self, q: Tensor, u: Tensor, k: Tensor, v: Tensor, z: Tensor, frequencies: Tensor) -> Tuple[Tensor, Tensor]:
        """Scores [n, h, B, S] of the S summaries of memory and block, and their values [n, h, S, d_h]."""
        n, h, block, _ = q.shape
        chunks = block // self.chunk
        memory = self._summarize(z, z)  # compressed, then projected; the block's own chunks the other way round
        keys = self.dual_ln_dproj(torch.cat([self.proj_key(memory), self._summarize(u, k)], dim=1))
        values = self.dual_ln_dproj(torch.cat([self.proj_val(memory), self._summarize(u, v)], dim=1))
        keys, values = (x.unflatten(-1, (h, -1)).transpose(1, 2) for x in (keys, values))
        count = keys.shape[2]
        positions = self._positions(count, self.chunk_clamp, self.r_net_chunk, frequencies)
        by_distance = torch.einsum("nake,ase->naks", q, positions).unflatten(2, (chunks, -1)).transpose(2, 3)
        # A query sees the memory and the chunks before its own: the others are beyond the distances that there are.
        shifted = _skew(F.pad(by_distance, (0, chunks * self.rank), value=-math.inf), self.rank)[..., :count]
        return q @ keys.transpose(2, 3) + shifted.transpose(2, 3).flatten(2, 3), values

    def _short(self, q: Tensor, k: Tensor, v: Tensor, z: Tensor, frequencies: Tensor) -> Tuple[Tensor, Tensor]:
        """Queries in groups of w rows, which see 2 w keys and of these the w before them: scores [n, h, groups, w, 2 w] and
        values [n, h, groups, 2 w, d_h]."""
        w, h = self.window, self.heads
        z = z[:, z.shape[1] - w :]
        keys = self.dual_ln_win(torch.cat([self.proj_key(z), k], dim=1))
        values = self.dual_ln_win(torch.cat([self.proj_val(z), v], dim=1))
        rest = -q.shape[2] % w  # rows that fill the last group
        keys, values = (
            F.pad(x, (0, 0, 0, rest)).unfold(1, 2 * w, w).unflatten(2, (h, -1)).permute(0, 2, 1, 4, 3) for x in (keys, values)
        )
        q = F.pad(q, (0, 0, 0, rest)).unflatten(2, (-1, w))
        positions = self._positions(w, self.clamp, self.r_net, frequencies)
        by_distance = torch.einsum("nagie,ase->nagis", q + self.r_r_bias.unsqueeze(2), positions)
        shifted = _skew(F.pad(by_distance, (w + 1, 0), value=-math.inf), 1)
        return (q + self.r_w_bias) @ keys.transpose(3, 4) + shifted, values

    def forward(self, u: Tensor, z: Tensor, frequencies: Tensor) -> Tensor:
        """u [n, B, d] the block, z [n, M, d] the memory, both after the norm -> [n, B, d]."""
        block = u.shape[1]
        heads = lambda x: x.unflatten(-1, (self.heads, -1)).transpose(1, 2)  # noqa: E731
        q = heads(self.proj_query(u)) / math.sqrt(u.shape[-1] // self.heads)
        k, v = self.proj_key(u), self.proj_val(u)
        short_scores, short_values = self._short(q, k, v, z, frequencies)
        groups = short_scores.shape[2:4]
        scores = short_scores.flatten(2, 3)[:, :, :block]
        if self.rank > 0:
            long_scores, long_values = self._long(q, u, k, v, z, frequencies)
            scores = torch.cat([long_scores, scores], dim=-1)
        p = scores.softmax(dim=-1)  # one, over long and short together
        short = F.pad(p[..., -2 * self.window :], (0, 0, 0, groups[0] * groups[1] - block)).unflatten(2, groups)
        out = (short @ short_values).flatten(2, 3)[:, :, :block]
        if self.rank > 0:
            out = out + p[..., : -2 * self.window] @ long_values
        return self.proj_out(out.transpose(1, 2).flatten(2))


class _FeedForward(nn.Module):
    def __init__(self, d: int, hidden: int, gelu: bool):
        super().__init__()
        self.fc1, self.fc2 = nn.Linear(d, hidden), nn.Linear(hidden, d)
        self.activation = F.gelu if gelu else F.relu

    def forward(self, x: Tensor) -> Tensor:
        return self.fc2(self.activation(self.fc1(x)))


class _Layer(nn.Module):
    def __init__(self, attention: _Attention, d: int, hidden: int, pre_ln: bool, gelu: bool, dropout: float):
        super().__init__()
        self.attn, self.ff = attention, _FeedForward(d, hidden, gelu)
        self.norm1, self.norm2 = nn.LayerNorm(d), nn.LayerNorm(d)
        self.pre_ln, self.dropout = pre_ln, nn.Dropout(dropout)

    def forward(self, x: Tensor, memory: Tensor, frequencies: Tensor) -> Tensor:
        if self.pre_ln:  # the residual is the normed row, both times
            u = self.norm1(x)
            f = self.norm2(u + self.dropout(self.attn(u, self.norm1(memory), frequencies)))
            return f + self.dropout(self.ff(f))
        y = self.norm1(x + self.dropout(self.attn(x, memory, frequencies)))
        return self.norm2(y + self.dropout(self.ff(y)))


class _Frequencies(nn.Module):
    def __init__(self, d: int):
        super().__init__()
        self.register_buffer("inv_freq", 10000.0 ** (-torch.arange(0, d, 2, dtype=torch.float64) / d).float())


class LongShortLM(nn.Module):
    """The parameters have the names of the authors' checkpoints. A window of w raw rows, `chunk_rank` summaries of every
    chunk of `chunk_size` rows in the memory of `mem_len` rows (a multiple of chunk_size, at least w)."""

    def __init__(
        self,
        vocab_size: int,
        n_layer: int,
        d_model: int,
        n_head: int,
        d_inner: int,
        window_len: int,
        mem_len: int,
        chunk_size: int = 16,
        chunk_rank: int = 1,
        clamp_len: int = -1,
        cpos_clamp_len: int = -1,
        pre_ln: bool = True,
        use_gelu: bool = True,
        use_bias: bool = False,
        dropout: float = 0.0,
    ):
        super().__init__()
        self.config: Dict[str, Any] = {k: v for k, v in locals().items() if k not in ("self", "__class__")}
        if d_model % 2 or d_model % n_head:
            raise ValueError(f"d_model {d_model} is not even or not a multiple of n_head {n_head}")
        if window_len < 1 or mem_len < window_len or mem_len % chunk_size:
            raise ValueError(f"mem_len {mem_len} must be a multiple of chunk_size {chunk_size} and at least window_len {window_len}, which is at least 1")
        self.in_emb = nn.Embedding(vocab_size, d_model)
        self.pos_emb = _Frequencies(d_model)
        attention = lambda: _Attention(d_model, n_head, window_len, chunk_size, chunk_rank, clamp_len, cpos_clamp_len, use_bias)  # noqa: E731
        self.layers = nn.ModuleList(_Layer(attention(), d_model, d_inner, pre_ln, use_gelu, dropout) for _ in range(n_layer))
        self.out_emb = nn.Linear(d_model, vocab_size)
        self.out_emb.weight = self.in_emb.weight
        self.dropout = nn.Dropout(dropout)
        for module in self.modules():
            if isinstance(module, (nn.Linear, nn.Embedding)):
                nn.init.normal_(module.weight, std=0.02)
                if getattr(module, "bias", None) is not None:
                    nn.init.zeros_(module.bias)

    def forward(self, tokens: Tensor, state: Optional[List[Tensor]] = None) -> Tuple[Tensor, List[Tensor]]:
        """A block: tokens [n, B], B a multiple of chunk_size -> logits [n, B, vocab_size] of the tokens that follow, and the
        state after the block: of each layer its last mem_len inputs, without gradient. None: the start of a stream.
        Results depend on where blocks begin; lsrt's block (256 unless convert is told another) should be this B."""
        n, block = tokens.shape
        d, memory, chunk = self.config["d_model"], self.config["mem_len"], self.config["chunk_size"]
        if block == 0 or block % chunk:
            raise ValueError(f"a block of {block} tokens is not a multiple of chunk_size {chunk}")
        x = self.dropout(self.in_emb(tokens) * math.sqrt(d))
        if state is None:  # zero rows, which are attended to like any other
            state = [x.new_zeros(n, memory, d)] * len(self.layers)
        after = []
        for layer, rows in zip(self.layers, state):
            after.append(torch.cat([rows, x.detach()], dim=1)[:, -memory:])
            x = layer(x, rows, self.pos_emb.inv_freq)
        return self.out_emb(x), after

    def save(self, folder: Folder) -> str:
        """Writes checkpoint.pt as fairseq does, with its configuration; convert wants a dict.txt beside it. Returns what to
        convert."""
        tensors = {"decoder.model." + name: tensor.detach().cpu() for name, tensor in self.state_dict().items()}
        return write({"cfg": {"model": self.config}, "model": tensors}, os.path.join(folder, "checkpoint.pt"))
