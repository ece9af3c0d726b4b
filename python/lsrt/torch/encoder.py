"""The bidirectional long-short encoder of Transformer-LS (arXiv 2107.02192) with a classifier, as for Long Range Arena, with
the tensor names of the authors' checkpoints. Rows are tokens; n documents are computed side by side."""

import math
import os
from typing import Any, Dict, Optional

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from .files import Folder, write

_BYTE_OFFSET = 1  # lsrt's token of byte b is b + 1; 0 is padding


def _hide(scores: Tensor, seen: Tensor) -> Tensor:
    """No -inf: rows that see nothing stay numbers, and so do their gradients."""
    return scores.masked_fill(~seen, torch.finfo(scores.dtype).min)


class _Attention(nn.Module):
    def __init__(self, d: int, heads: int, window: int, landmarks: int, kernel: int):
        super().__init__()
        self.heads, self.window, self.landmarks = heads, window, landmarks
        for name in ("W_q", "W_k", "W_v", "W_o"):
            setattr(self, name, nn.Linear(d, d))
        self.dual_ln_s, self.dual_ln_l = nn.LayerNorm(d), nn.LayerNorm(d)
        if landmarks > 0:
            self.dconv_fc = nn.Linear(d, heads * landmarks)
        self.conv = nn.Conv2d(heads, heads, (kernel, 1), padding=(kernel // 2, 0), groups=heads, bias=False) if kernel > 0 else None

    def _split(self, x: Tensor) -> Tensor:
        return x.unflatten(-1, (self.heads, -1)).transpose(1, 2)

    def _summarize(self, x: Tensor, k: Tensor, v: Tensor, mask: Tensor, cls: Optional[Tensor]) -> tuple:
        """Keys and values [n, h, landmarks (+ 1), d_h]: of the whole document, each head's weights for its own slice."""
        p = _hide(self.dconv_fc(x), mask[..., None]).softmax(dim=1).unflatten(-1, (self.heads, -1))
        rows = (torch.einsum("ntaj,ntae->njae", p, y.unflatten(-1, (self.heads, -1))).flatten(2) for y in (k, v))
        if cls is not None:
            rows = (torch.cat([project(cls), y], dim=1) for project, y in zip((self.W_k, self.W_v), rows))
        return tuple(self._split(self.dual_ln_s(y)) for y in rows)

    def _near(self, x: Tensor) -> Tensor:
        """[n, T, ..] -> [n, groups, 2 e + w, ..]: what a group of w rows sees, zeros outside."""
        w, e = self.window, max(self.window // 2, 1)
        padding = [0, 0] * (x.dim() - 2) + [e, e + -x.shape[1] % w]
        return F.pad(x, padding).unfold(1, 2 * e + w, w).movedim(-1, 2)

    def forward(self, x: Tensor, mask: Tensor, cls: Optional[Tensor] = None) -> Tensor:
        """x [n, T, d]; mask [n, T], true where there is text; cls [n, 1, d] -> [n, T (+ 1), d]."""
        n, length, d = x.shape
        scale = math.sqrt(d // self.heads)
        q, k, v = self._split(self.W_q(x)) / scale, self.dual_ln_l(self.W_k(x)), self.dual_ln_l(self.W_v(x))
        scores = q.new_zeros(n, self.heads, length, 0)
        if self.landmarks > 0:
            long_keys, long_values = self._summarize(x, k, v, mask, cls)
            scores = q @ long_keys.transpose(2, 3)
        summaries = scores.shape[3]
        if self.window > 0:
            groups = -(-length // self.window)
            near_k, near_v = (self._near(y).unflatten(-1, (self.heads, -1)).permute(0, 3, 1, 2, 4) for y in (k, v))
            grouped = F.pad(q, (0, 0, 0, groups * self.window - length)).unflatten(2, (groups, self.window))
            short = _hide(grouped @ near_k.transpose(3, 4), self._near(mask)[:, None, :, None])
            scores = torch.cat([scores, short.flatten(2, 3)[:, :, :length]], dim=-1)
        p = scores.softmax(dim=-1)  # one, over long and short together
        out = q.new_zeros(q.shape)
        if self.landmarks > 0:
            out = p[..., :summaries] @ long_values
        if self.window > 0:
            short = F.pad(p[..., summaries:], (0, 0, 0, groups * self.window - length)).unflatten(2, (groups, self.window))
            out = out + (short @ near_v).flatten(2, 3)[:, :, :length]
        out = out * mask[:, None, :, None]
        if cls is not None:
            q_cls, k_cls, v_cls = self._split(self.W_q(cls)) / scale, self._split(self.W_k(cls)), self._split(self.W_v(cls))
            seen = _hide(q_cls @ out.transpose(2, 3), mask[:, None, None])  # the rows' outputs are keys and values here
            p = torch.cat([q_cls @ k_cls.transpose(2, 3), seen], dim=-1).softmax(dim=-1)
            out_cls = p[..., :1] * v_cls + p[..., 1:] @ out
        if self.conv is not None:
            out = out + self.conv(self._split(v * mask[..., None]))[:, :, :length]
        if cls is not None:
            out = torch.cat([out_cls, out], dim=2)
        return self.W_o(out.transpose(1, 2).flatten(2))


class _Layer(nn.Module):
    def __init__(self, attention: _Attention, d: int, hidden: int, dropout: float):
        super().__init__()
        self.norm1, self.norm2, self.mha = nn.LayerNorm(d), nn.LayerNorm(d), attention
        self.mlpblock = nn.Sequential(nn.Linear(d, hidden), nn.GELU(), nn.Dropout(dropout), nn.Linear(hidden, d), nn.Dropout(dropout))
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor, mask: Tensor, cls: Optional[Tensor] = None) -> Tensor:
        y = self.dropout(self.mha(self.norm1(x), mask, cls))
        x = (x if cls is None else torch.cat([cls, x], dim=1)) + y  # the cls row is not normed here
        return x + self.mlpblock(self.norm2(x))


class LongShortEncoder(nn.Module):
    """num_landmarks: summaries of a document; window_size: of the groups that see each other; conv_kernel_size: -1 for none.
    cls_last_layer: a learned row collects the document in the last layer; else the mean does. pair: two documents are
    compared."""

    def __init__(
        self,
        num_classes: int,
        vocab_size: int = 257,
        max_seq_len: int = 2048,
        num_layers: int = 2,
        transformer_dim: int = 64,
        num_head: int = 2,
        transformer_hidden_dim: int = 128,
        num_landmarks: int = 32,
        window_size: int = 8,
        conv_kernel_size: int = -1,
        cls_last_layer: bool = False,
        pair: bool = False,
        dropout: float = 0.0,
    ):
        super().__init__()
        hyper = {k: v for k, v in locals().items() if k not in ("self", "__class__", "pair", "dropout")}
        self.config: Dict[str, Any] = {**hyper, "byte_offset": _BYTE_OFFSET}
        if num_landmarks < 1 and window_size < 1:
            raise ValueError("num_landmarks and window_size are both 0: a row would see itself alone")
        d, self.pair, self.cls_last_layer = transformer_dim, pair, cls_last_layer
        self.model = nn.Module()
        self.model.embeddings = nn.Module()
        self.model.embeddings.word_embeddings = nn.Embedding(vocab_size, d)
        self.model.embeddings.position_embeddings = nn.Embedding(max_seq_len, d)
        self.layers = [_Layer(_Attention(d, num_head, window_size, num_landmarks, conv_kernel_size), d, transformer_hidden_dim, dropout) for _ in range(num_layers)]
        for i, layer in enumerate(self.layers):
            self.model.add_module(f"transformer_{i}", layer)
        self.model.norm = nn.LayerNorm(d)
        if cls_last_layer:
            self.model.cls_embed = nn.Parameter(torch.zeros(1, 1, d))
        self.seq_classifer = nn.Module()  # spelled so by the authors
        self.seq_classifer.mlpblock = nn.Sequential(nn.Linear(4 * d if pair else d, transformer_hidden_dim), nn.ReLU(), nn.Linear(transformer_hidden_dim, num_classes))
        self.dropout = nn.Dropout(dropout)
        for embedding in (self.model.embeddings.word_embeddings, self.model.embeddings.position_embeddings):
            nn.init.normal_(embedding.weight, std=0.02)

    def _document(self, tokens: Tensor, mask: Tensor) -> Tensor:
        """[n, T] -> [n, d]."""
        mask = mask.bool()
        positions = self.model.embeddings.position_embeddings.weight[: tokens.shape[1]]
        x = self.dropout(self.model.embeddings.word_embeddings(tokens) + positions)
        for i, layer in enumerate(self.layers):
            last = self.cls_last_layer and i + 1 == len(self.layers)
            x = layer(x, mask, self.model.cls_embed.expand(len(x), 1, -1) if last else None)
        x = self.model.norm(x)
        if self.cls_last_layer:
            return x[:, 0]
        return (x * mask[..., None]).sum(dim=1) / self.config["max_seq_len"]  # padding counts

    def forward(self, tokens: Tensor, mask: Tensor, tokens_2: Optional[Tensor] = None, mask_2: Optional[Tensor] = None) -> Tensor:
        """tokens [n, T] and mask [n, T], 1 where there is text; with `pair` of two documents -> logits [n, num_classes]."""
        x = self._document(tokens, mask)
        if self.pair:
            y = self._document(tokens_2, mask_2)
            x = torch.cat([x, y, x * y, x - y], dim=-1)
        return self.seq_classifer.mlpblock(x)

    def save(self, folder: Folder) -> str:
        """Writes checkpoint.model with its configuration. Returns what to convert."""
        tensors = {name: tensor.detach().cpu() for name, tensor in self.state_dict().items()}
        return write({"config": self.config, "model_state_dict": tensors}, os.path.join(folder, "checkpoint.model"))
