"""The image classifier of Transformer-LS, ViL-LS (arXiv 2107.02192): stages of long-short and full attention over patches,
with the tensor names of the authors' checkpoints."""

import os
import re
from typing import Any, Dict, Optional, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from .files import Folder, write


def _distances(query_side: int, key_side: int) -> Tensor:
    """[query_side^2, key_side^2]: one number for each distance along both axes, squares with one centre."""
    margin = (key_side - query_side) // 2
    reach = query_side - 1 + margin
    axis = torch.arange(query_side)[:, None] + margin - torch.arange(key_side) + reach
    table = axis[:, None, :, None] * (2 * reach + 1) + axis[None, :, None, :]
    return table.reshape(query_side**2, key_side**2)


class _Attention(nn.Module):
    def __init__(self, d: int, heads: int, absolute: bool, query_side: int, key_side: int):
        super().__init__()
        self.heads = heads
        self.qkv, self.proj = nn.Linear(d, 3 * d), nn.Linear(d, d)
        if not absolute:
            index = _distances(query_side, key_side)
            self.register_buffer("relative_position_index", index)
            self.local_relative_position_bias_table = nn.Parameter(torch.zeros(int(index.max()) + 1, heads))
        self.absolute = absolute

    def _split(self, x: Tensor) -> Tensor:
        return x.unflatten(-1, (self.heads, -1)).transpose(1, 2)

    def _bias(self) -> Tensor:
        """[heads, queries, keys]."""
        return self.local_relative_position_bias_table[self.relative_position_index].permute(2, 0, 1)


class _Full(_Attention):
    def __init__(self, d: int, heads: int, absolute: bool, grid: int, cls: int):
        super().__init__(d, heads, absolute, grid, grid)
        self.cls = cls
        if not absolute and cls:
            self.g2l_relative_position_bias = nn.Parameter(torch.zeros(2, heads, 1))
            self.g2g_relative_position_bias = nn.Parameter(torch.zeros(heads, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = (self._split(y) for y in self.qkv(x).chunk(3, dim=-1))
        scores = q @ k.transpose(2, 3) * q.shape[-1] ** -0.5
        if not self.absolute:
            bias = self._bias()
            if self.cls:
                tokens = bias.shape[1]
                to_tokens, to_cls = self.g2l_relative_position_bias.unsqueeze(-1).expand(2, self.heads, 1, tokens)
                first = torch.cat([self.g2g_relative_position_bias, to_tokens], dim=2)
                bias = torch.cat([first, torch.cat([to_cls.transpose(1, 2), bias], dim=2)], dim=1)
            scores = scores + bias
        return self.proj((scores.softmax(dim=-1) @ v).transpose(1, 2).flatten(2))


class _LongShort(_Attention):
    def __init__(self, d: int, heads: int, absolute: bool, grid: int, cls: int, window: int, rank: int):
        super().__init__(d, heads, absolute, window, window + 2 * max(window // 2, 1))
        self.grid, self.cls, self.window, self.margin, self.rank = grid, cls, window, max(window // 2, 1), rank
        self.dual_ln_full = nn.LayerNorm(d)
        if rank > 0:
            self.to_dynamic_projection, self.dual_ln_dp = nn.Linear(d, heads * rank), nn.LayerNorm(d)

    def _groups(self, x: Tensor, side: int, margin: int) -> Tensor:
        """[n, grid^2, d] -> [n, h, groups, side^2, d_h]: squares of the grid, every `window` rows; zeros outside."""
        rest = -self.grid % self.window
        x = F.pad(x.unflatten(1, (self.grid, self.grid)), (0, 0, margin, margin + rest, margin, margin + rest))
        x = x.unfold(1, side, self.window).unfold(2, side, self.window).flatten(4, 5).flatten(1, 2)
        return x.unflatten(2, (self.heads, -1)).permute(0, 2, 1, 4, 3)

    def _ungroup(self, x: Tensor) -> Tensor:
        """[n, h, groups, window^2, d_h] -> [n, h, grid^2, d_h]."""
        count = -(-self.grid // self.window)
        x = x.unflatten(2, (count, count)).unflatten(4, (self.window, self.window)).transpose(3, 4)
        return x.flatten(2, 3).flatten(3, 4)[:, :, : self.grid, : self.grid].flatten(2, 3)

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = self.qkv(x).chunk(3, dim=-1)
        q, k, v = q * (q.shape[-1] // self.heads) ** -0.5, self.dual_ln_full(k), self.dual_ln_full(v)
        tokens, side = x[:, self.cls :], self.window + 2 * self.margin
        queries = self._groups(q[:, self.cls :], self.window, 0)
        near_k, near_v = (self._groups(y[:, self.cls :], side, self.margin) for y in (k, v))
        inside = self._groups(x.new_ones(1, self.grid**2, self.heads), side, self.margin)[..., 0] > 0
        short = queries @ near_k.transpose(3, 4)
        if not self.absolute:
            short = short + self._bias()[:, None]
        scores, keys = [short.masked_fill(~inside[:, :, :, None], float("-inf"))], near_k.shape[3]
        if self.rank > 0:
            p = self.to_dynamic_projection(tokens).softmax(dim=1).unflatten(-1, (self.heads, -1))
            sums = (torch.einsum("ntaj,ntae->njae", p, y[:, self.cls :].unflatten(-1, (self.heads, -1))).flatten(2) for y in (k, v))
            long_k, long_v = (self._split(self.dual_ln_dp(y))[:, :, None] for y in sums)
            scores.append(queries @ long_k.transpose(3, 4))
        if self.cls:
            k_cls, v_cls = self._split(k[:, :1]), self._split(v[:, :1])
            scores.append(queries @ k_cls[:, :, None].transpose(3, 4))
        p = torch.cat(scores, dim=-1).softmax(dim=-1)  # one, over all that a query sees
        out = p[..., :keys] @ near_v
        if self.rank > 0:
            out = out + p[..., keys : keys + self.rank] @ long_v
        if self.cls:
            out = out + p[..., -1:] * v_cls[:, :, None]
        out = self._ungroup(out)
        if self.cls:  # the patches' outputs are its keys and values
            q_cls = self._split(q[:, :1])
            p = (q_cls @ torch.cat([k_cls, out], dim=2).transpose(2, 3)).softmax(dim=-1)
            out = torch.cat([p @ torch.cat([v_cls, out], dim=2), out], dim=2)
        return self.proj(out.transpose(1, 2).flatten(2))


class _Residual(nn.Module):
    """x + f(LN x); f has the name that the checkpoint gives it."""

    def __init__(self, d: int, name: str, f: nn.Module):
        super().__init__()
        self.norm = nn.LayerNorm(d, eps=1e-6)
        self.add_module(name, f)
        self.name = name

    def forward(self, x: Tensor) -> Tensor:
        return x + getattr(self, self.name)(self.norm(x))


class _Mlp(nn.Module):
    def __init__(self, d: int):
        super().__init__()
        self.fc1, self.fc2 = nn.Linear(d, 4 * d), nn.Linear(4 * d, d)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc2(F.gelu(self.fc1(x)))


class _Patches(nn.Module):
    def __init__(self, channels: int, d: int, patch: int, grid: int, cls: int, absolute: bool):
        super().__init__()
        self.proj, self.norm_embed = nn.Conv2d(channels, d, patch, patch), nn.LayerNorm(d, eps=1e-6)
        self.cls_token = nn.Parameter(torch.zeros(1, 1, d)) if cls else None
        self.absolute = absolute
        if absolute:
            if cls:
                self.cls_pos_embed = nn.Parameter(torch.zeros(1, 1, d))
            self.x_pos_embed, self.y_pos_embed = (nn.Parameter(torch.randn(1, grid, d // 2) * 0.02) for _ in range(2))

    def forward(self, image: Tensor) -> Tensor:
        x = self.norm_embed(self.proj(image).flatten(2).transpose(1, 2))
        if self.absolute:
            grid = self.x_pos_embed.shape[1]
            rows, columns = self.x_pos_embed[0, :, None], self.y_pos_embed[0, None]
            x = x + torch.cat([rows.expand(-1, grid, -1), columns.expand(grid, -1, -1)], dim=-1).flatten(0, 1)
        if self.cls_token is not None:
            cls = self.cls_token + self.cls_pos_embed if self.absolute else self.cls_token
            x = torch.cat([cls.expand(len(x), -1, -1), x], dim=1)
        return x


class VisionLongShort(nn.Module):
    """arch: the authors' string, one part a stage, such as "l1,h3,d96,n1,s1,g1,p4,f7,a0,r8_l2,..": heads, width, blocks, 1 for
    long-short (0: full attention), cls rows (0 or 1), patch, window, absolute positions, rank."""

    def __init__(self, arch: str, img_size: int, num_classes: int):
        super().__init__()
        self.config: Dict[str, Any] = {"arch": arch, "img_size": img_size, "num_classes": num_classes}
        channels, grid, self.stages, self.cls = 3, img_size, [], []
        for i, part in enumerate(arch.split("_")):
            o = {letter: int(value) for letter, value in re.findall(r"([a-z])(\d+)", part)}
            if set("hdnsgpfar") - set(o) or grid % o["p"] or o["d"] % (2 * o["h"]) or o["g"] > 1:
                raise ValueError(f"arch {part}: expected h, d, n, s, g (0 or 1), p, f, a, r; a patch that divides {grid}; a width that 2 h divides")
            grid, d = grid // o["p"], o["d"]
            stage = nn.Sequential(_Patches(channels, d, o["p"], grid, o["g"], bool(o["a"])))
            for _ in range(o["n"]):
                common = (d, o["h"], bool(o["a"]), grid, o["g"])
                stage.append(_Residual(d, "attn", _LongShort(*common, o["f"], o["r"]) if o["s"] else _Full(*common)))
                stage.append(_Residual(d, "mlp", _Mlp(d)))
            self.add_module(f"layer{i + 1}", stage)
            self.stages.append(stage)
            self.cls.append(o["g"])
            channels = d
        self.norm, self.head = nn.LayerNorm(channels, eps=1e-6), nn.Linear(channels, num_classes)

    def forward(self, image: Tensor) -> Tensor:
        """image [n, 3, img_size, img_size], /255, less the mean of ImageNet and divided by its deviation -> logits [n, num_classes]."""
        for i, stage in enumerate(self.stages):
            x = stage(image)
            side = round((x.shape[1] - self.cls[i]) ** 0.5)  # of the next stage's image: the patches, without the cls row
            image = x[:, self.cls[i] :].transpose(1, 2).unflatten(2, (side, side))
        x = self.norm(x)
        return self.head(x[:, 0] if self.cls[-1] else x.mean(dim=1))

    def save(self, folder: Folder, classes: Sequence[str] = (), resize: Optional[int] = None) -> str:
        """Writes checkpoint.pth with its configuration. classes: their names. resize: what the shorter side of an image becomes
        before the middle is cut out, if not the authors' 8/7 of img_size. Returns what to convert."""
        tensors = {name: tensor.detach().cpu() for name, tensor in self.state_dict().items()}
        more = {**({"classes": list(classes)} if classes else {}), **({"resize": resize} if resize else {})}
        return write({"net": tensors, **self.config, **more}, os.path.join(folder, "checkpoint.pth"))
