"""What the original gives on the rows to tune on: computed once, kept in half precision."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from spa.torch.module import OnnxModule
from spa.torch.tuning.match import Matched, variances
from spa.torch.tuning.rows import Chunk, Pool, chunks, cut

LARGEST_HALF = 3e4
"""Values up to which half precision is used; beyond, single."""
SEEN = 256
"""Rows that variances are taken of."""


class Teacher:
    """Targets of every row.

    Args:
        dense: the original.
        pools: the rows.
        matched: what to look at.
        batch: rows that run at once.
        room: bytes that may be kept; where that is too little, the original runs at every step.
        told: is called with the number of rows that are done.

    Attributes:
        scales: by tensor, one over its variance.
        kept: whether the targets are kept.
    """

    def __init__(
        self,
        dense: OnnxModule,
        pools: Sequence[Pool],
        matched: Matched,
        batch: int,
        room: int,
        told: Callable[[int], object],
    ) -> None:
        self._dense, self._pools, self._matched = dense, pools, matched
        self._device = dense.device
        parts: list[list[list[Tensor]]] = [[[] for _ in matched.names] for _ in pools]
        seen: dict[str, list[Tensor]] = {name: [] for name in matched.names}
        rows = sum(pool.rows for pool in pools)
        looked, self.kept = 0, True
        for chunk in chunks(pools, batch):
            if not self.kept and looked >= SEEN:
                break
            values = self._run(chunk)
            if not looked:
                size = sum(value.numel() for value in values) * 2
                self.kept = size * rows / chunk.rows <= room
            if looked < SEEN:
                for name, value in zip(matched.names, values, strict=True):
                    seen[name].append(value.cpu())
            looked += chunk.rows
            if self.kept:
                for held, value in zip(parts[chunk.pool], values, strict=True):
                    held.append(_narrow(value))
            told(chunk.rows)
        self.scales = [1 / v for v in variances(seen, matched.axes)]
        axes = [matched.axes[name] for name in matched.names]
        self._values = [
            [_joined(p, axis) for p, axis in zip(pool, axes, strict=True)] if self.kept else []
            for pool in parts
        ]

    def targets(self, chunk: Chunk) -> list[Tensor]:
        """The original's values on a chunk, in single precision, in the order of the names."""
        if not self.kept:
            return self._run(chunk)
        axes = (self._matched.axes[name] for name in self._matched.names)
        held = zip(self._values[chunk.pool], axes, strict=True)
        return [cut(v, axis, chunk.index).to(self._device).float() for v, axis in held]

    def _run(self, chunk: Chunk) -> list[Tensor]:
        feeds = on(self._pools[chunk.pool].taken(chunk.index), self._device)
        with torch.no_grad():
            found = self._dense.run(feeds, self._matched.names)
        return [found[name].float() for name in self._matched.names]


def on(feeds: dict[str, Tensor], device: torch.device) -> dict[str, Tensor]:
    """Inputs on a device."""
    return {name: each.to(device) for name, each in feeds.items()}


def _narrow(value: Tensor) -> Tensor:
    value = value.detach().cpu()
    fits = value.numel() == 0 or float(value.abs().max()) < LARGEST_HALF
    return value.half() if fits else value


def _joined(parts: list[Tensor], axis: int | None) -> Tensor:
    if len(parts) == 1 or axis is None:
        return parts[0]
    wide = any(part.dtype == torch.float32 for part in parts)
    return torch.cat([part.float() if wide else part for part in parts], axis)
