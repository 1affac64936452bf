"""Blocks of the networks in `source_own`."""

# ruff: noqa: D102 - what `forward` does is what the class says

from __future__ import annotations

from typing import Any

import torch
from torch import nn
from torch.nn import functional as F


class ConvBlock(nn.Sequential):
    """Convolution, norm, activation."""

    def __init__(
        self, i: int, o: int, stride: Any = 1, kernel: int = 3, norm: type = nn.BatchNorm2d
    ) -> None:
        conv = nn.Conv2d(i, o, kernel, stride, kernel // 2, bias=norm is not nn.BatchNorm2d)
        super().__init__(conv, norm(o), nn.SiLU())


class Bottleneck(nn.Module):
    """Two convolutions beside nothing."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.body = nn.Sequential(ConvBlock(width, width), ConvBlock(width, width))

    def forward(self, x: Any) -> Any:
        return x + self.body(x)


class CrossStage(nn.Module):
    """Part of the channels goes past the blocks: by two convolutions or by a split."""

    def __init__(self, i: int, o: int, depth: int, how: str) -> None:
        super().__init__()
        half = o // 2
        self.split = how == "split"
        self.first = ConvBlock(i, o if self.split else half, kernel=1)
        self.side = None if self.split else ConvBlock(i, half, kernel=1)
        self.blocks = nn.ModuleList(Bottleneck(half) for _ in range(depth))
        self.last = ConvBlock((2 + depth) * half if self.split else o, o, kernel=1)

    def forward(self, x: Any) -> Any:
        if self.split:
            parts = list(self.first(x).chunk(2, 1))
            for block in self.blocks:
                parts.append(block(parts[-1]))
            return self.last(torch.cat(parts, 1))
        y = self.first(x)
        for block in self.blocks:
            y = block(y)
        return self.last(torch.cat([y, self.side(x)], 1))


class Pooling(nn.Module):
    """The same pool three times, all of it joined."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.first, self.last = (
            ConvBlock(width, width // 2, kernel=1),
            ConvBlock(2 * width, width, kernel=1),
        )

    def forward(self, x: Any) -> Any:
        parts = [self.first(x)]
        for _ in range(3):
            parts.append(F.max_pool2d(parts[-1], 5, 1, 2))
        return self.last(torch.cat(parts, 1))


class Pyramid(nn.Module):
    """From the coarsest level up, every level joined to the one above it."""

    def __init__(self, widths: tuple[int, ...], width: int, how: str) -> None:
        super().__init__()
        self.pool = Pooling(widths[-1])
        self.sides = nn.ModuleList(ConvBlock(w, width, kernel=1) for w in widths)
        self.joins = nn.ModuleList(CrossStage(2 * width, width, 1, how) for _ in widths[1:])

    def forward(self, levels: list[Any]) -> list[Any]:
        levels = [*levels[:-1], self.pool(levels[-1])]
        sides = [side(level) for side, level in zip(self.sides, levels, strict=True)]
        found = [sides[-1]]
        for side, join in zip(sides[-2::-1], self.joins, strict=True):
            up = F.interpolate(found[0], scale_factor=2.0)
            found.insert(0, join(torch.cat([up, side], 1)))
        return found


class Residual(nn.Module):
    """A gated product beside nothing."""

    def __init__(self, width: int, hidden: int) -> None:
        super().__init__()
        self.norm, self.up = nn.LayerNorm(width), nn.Linear(width, 2 * hidden)
        self.down = nn.Linear(hidden, width)

    def forward(self, x: Any) -> Any:
        return x + self.down(F.glu(self.up(self.norm(x)), -1))


class Conformer(nn.Module):
    """Speech: attention, a gated depthwise convolution and two half steps, twice."""

    def __init__(self, width: int = 32) -> None:
        super().__init__()
        self.first = nn.Linear(16, width)
        self.steps = nn.ModuleList(Residual(width, 64) for _ in range(4))
        self.norms = nn.ModuleList(nn.LayerNorm(width) for _ in range(2))
        self.attend = nn.ModuleList(
            nn.MultiheadAttention(width, 4, batch_first=True) for _ in range(2)
        )
        self.open = nn.ModuleList(nn.Conv1d(width, 2 * width, 1) for _ in range(2))
        self.deep = nn.ModuleList(
            nn.Sequential(
                nn.Conv1d(width, width, 5, padding=2, groups=width), nn.BatchNorm1d(width),
                nn.SiLU(), nn.Conv1d(width, width, 1),
            )
            for _ in range(2)
        )  # fmt: skip
        self.last = nn.Linear(width, 10)

    def forward(self, x: Any) -> Any:
        x = self.first(x)
        for k in range(2):
            x = self.steps[2 * k](x)
            y = self.norms[k](x)
            x = x + self.attend[k](y, y, y, need_weights=False)[0]
            x = x + self.deep[k](F.glu(self.open[k](x.transpose(1, 2)), 1)).transpose(1, 2)
            x = self.steps[2 * k + 1](x)
        return self.last(x)


class WaveNet(nn.Module):
    """Dilated convolutions with gates; every layer adds to a sum beside the stream."""

    def __init__(self, width: int = 24, depth: int = 4) -> None:
        super().__init__()
        self.first = nn.Conv1d(8, width, 1)
        self.gates = nn.ModuleList(
            nn.Conv1d(width, 2 * width, 3, padding=2**k, dilation=2**k) for k in range(depth)
        )
        self.outs = nn.ModuleList(nn.Conv1d(width, 2 * width, 1) for _ in range(depth))
        self.last = nn.Sequential(
            nn.ReLU(), nn.Conv1d(width, width, 1), nn.ReLU(), nn.Conv1d(width, 8, 1)
        )

    def forward(self, x: Any) -> Any:
        x = self.first(x)
        total = torch.zeros_like(x)
        for gate, out in zip(self.gates, self.outs, strict=True):
            a, b = gate(x).chunk(2, 1)
            more, skip = out(a.tanh() * b.sigmoid()).chunk(2, 1)
            x, total = x + more, total + skip
        return self.last(total)


class GraphAttention(nn.Module):
    """Nodes look at their neighbours: two layers of four heads, joined, then averaged."""

    def __init__(self, heads: int = 4, width: int = 8) -> None:
        super().__init__()
        self.heads, self.width = heads, width
        self.maps = nn.ModuleList([nn.Linear(12, heads * width), nn.Linear(heads * width, 4 * 5)])
        shapes = ((heads, width), (heads, 5))
        self.here = nn.ParameterList(nn.Parameter(torch.randn(1, *s) / 3) for s in shapes)
        self.there = nn.ParameterList(nn.Parameter(torch.randn(1, *s) / 3) for s in shapes)

    def _layer(self, k: int, x: Any, edges: Any) -> Any:
        h = self.maps[k](x).view(x.shape[0], self.heads, -1)
        here, there = (h * self.here[k]).sum(-1), (h * self.there[k]).sum(-1)
        score = F.leaky_relu(here[:, None] + there[None], 0.2)
        score = score.masked_fill(edges[:, :, None] <= 0, -1e9).softmax(1)
        return torch.einsum("ijh,jhd->ihd", score, h)

    def forward(self, x: Any, edges: Any) -> Any:
        edges = edges + torch.eye(edges.shape[0]) * 9
        x = F.elu(self._layer(0, x, edges).flatten(1))
        return self._layer(1, x, edges).mean(1).log_softmax(-1)


class EdgeConv(nn.Module):
    """Points and what sets them apart from their nearest neighbours, twice."""

    def __init__(self, near: int = 4) -> None:
        super().__init__()
        self.near = near
        self.layers = nn.ModuleList(
            nn.Sequential(nn.Conv2d(2 * i, o, 1), nn.BatchNorm2d(o), nn.LeakyReLU(0.2))
            for i, o in ((3, 16), (16, 32))
        )
        self.head = nn.Sequential(nn.Conv1d(48, 64, 1), nn.ReLU())
        self.last = nn.Linear(64, 4)

    def _edges(self, x: Any) -> Any:
        inner = x.transpose(1, 2) @ x
        size = (x * x).sum(1)
        ids = (2 * inner - size[:, :, None] - size[:, None]).topk(self.near, -1).indices
        rows = x.transpose(1, 2)
        near = torch.stack([rows[n][ids[n]] for n in range(rows.shape[0])])
        here = rows[:, :, None].expand_as(near)
        return torch.cat([near - here, here], -1).permute(0, 3, 1, 2)

    def forward(self, x: Any) -> Any:
        found = []
        for layer in self.layers:
            x = layer(self._edges(x)).amax(-1)
            found.append(x)
        return self.last(self.head(torch.cat(found, 1)).amax(-1))


class Seq2Seq(nn.Module):
    """A recurrent encoder, a decoder that starts where it ended and looks back at it."""

    def __init__(self) -> None:
        super().__init__()
        self.source, self.target = nn.Embedding(50, 16), nn.Embedding(50, 16)
        self.encode = nn.GRU(16, 24, batch_first=True)
        self.decode = nn.GRU(16, 24, batch_first=True)
        self.look = nn.Linear(24, 24, bias=False)
        self.head = nn.Linear(48, 50)

    def forward(self, source: Any, target: Any) -> Any:
        seen, state = self.encode(self.source(source))
        found, _ = self.decode(self.target(target), state)
        weights = (self.look(found) @ seen.transpose(1, 2)).softmax(-1)
        return self.head(torch.cat([found, weights @ seen], -1))


class Memory(nn.Module):
    """Cells of LSTM and GRU called step by step, as code without a layer does."""

    def __init__(self) -> None:
        super().__init__()
        self.one, self.two = nn.LSTMCell(8, 20), nn.GRUCell(20, 16)
        self.head = nn.Linear(16, 3)

    def forward(self, x: Any) -> Any:
        h, c = x.new_zeros(x.shape[0], 20), x.new_zeros(x.shape[0], 20)
        state = x.new_zeros(x.shape[0], 16)
        for step in x.unbind(1):
            h, c = self.one(step, (h, c))
            state = self.two(h, state)
        return self.head(state)


class Experts(nn.Module):
    """A router weighs four experts; all of them work, as in a dense export of a mixture."""

    def __init__(self, width: int = 24, hidden: int = 48, count: int = 4) -> None:
        super().__init__()
        self.first = nn.Linear(width, width)
        self.route = nn.Linear(width, count)
        self.up = nn.Parameter(torch.randn(count, width, hidden) / width**0.5)
        self.down = nn.Parameter(torch.randn(count, hidden, width) / hidden**0.5)
        self.last = nn.Linear(width, 5)

    def forward(self, x: Any) -> Any:
        x = self.first(x)
        weights = self.route(x).softmax(-1)
        best, which = weights.topk(2, -1)
        gate = torch.zeros_like(weights).scatter(1, which, best)
        y = F.gelu(torch.einsum("nd,edh->enh", x, self.up))
        y = torch.einsum("enh,ehd->end", y, self.down)
        return self.last(x + torch.einsum("end,ne->nd", y, gate))


class Spatial(nn.Module):
    """Attention over pixels with one head and a gain, and gates for channels and places."""

    def __init__(self, width: int = 16) -> None:
        super().__init__()
        self.first = ConvBlock(width, 32)
        self.query, self.key = nn.Conv2d(32, 8, 1), nn.Conv2d(32, 8, 1)
        self.value, self.gain = nn.Conv2d(32, 32, 1), nn.Parameter(torch.ones(1))
        self.squeeze = nn.Sequential(nn.Linear(32, 8), nn.ReLU(), nn.Linear(8, 32))
        self.place = nn.Conv2d(2, 1, 7, padding=3)
        self.last = nn.Conv2d(32, 4, 1)

    def forward(self, x: Any) -> Any:
        x = self.first(x)
        n, c, h, w = x.shape
        q, k, v = (f(x).flatten(2) for f in (self.query, self.key, self.value))
        look = (q.transpose(1, 2) @ k).softmax(-1)
        x = x + self.gain * (v @ look.transpose(1, 2)).view(n, c, h, w)
        gate = self.squeeze(x.mean((2, 3))) + self.squeeze(x.amax((2, 3)))
        x = x * gate.sigmoid()[:, :, None, None]
        seen = torch.cat([x.mean(1, keepdim=True), x.amax(1, keepdim=True)], 1)
        return self.last(x * self.place(seen).sigmoid())
