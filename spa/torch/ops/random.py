"""Chance: noise, and Dropout, which is none outside training."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from spa.torch.program import Mode
from spa.torch.registry import ALL, op
from spa.torch.values import dtype_of


@op("Dropout", until=11)
def dropout_1(
    x: Tensor, *, ratio: float = 0.5, is_test: int = 1, state: Mode, outputs: int
) -> Tensor | tuple[Tensor, Tensor]:
    """A file of before opset 12 does not say that it trains."""
    return x if outputs == 1 else (x, torch.ones_like(x, dtype=torch.bool))


@op("Dropout", since=12, host=(1, 2))
def dropout(
    x: Tensor,
    ratio: Tensor | None = None,
    training: Tensor | None = None,
    *,
    seed: int = 0,
    state: Mode,
    outputs: int,
) -> Tensor | tuple[Tensor, Tensor]:
    """Only in `train()`, and only where the file says that it trains."""
    share = 0.5 if ratio is None else float(ratio.item())
    if not state.training or training is None or not training.item() or share == 0:
        return x if outputs == 1 else (x, torch.ones_like(x, dtype=torch.bool))
    kept = torch.rand_like(x) >= share
    y = x * kept / (1 - share)
    return y if outputs == 1 else (y, kept)


@op("RandomNormal")
def random_normal(
    *,
    dtype: int = 1,
    mean: float = 0.0,
    scale: float = 1.0,
    seed: float = 0.0,
    shape: Sequence[int],
) -> Tensor:
    return (torch.randn(tuple(shape)) * scale + mean).to(dtype_of(dtype, "noise"))


@op("RandomUniform")
def random_uniform(
    *, dtype: int = 1, high: float = 1.0, low: float = 0.0, seed: float = 0.0, shape: Sequence[int]
) -> Tensor:
    return (torch.rand(tuple(shape)) * (high - low) + low).to(dtype_of(dtype, "noise"))


@op("RandomNormalLike", steer=ALL)
def random_normal_like(
    x: Tensor, *, dtype: int | None = None, mean: float = 0.0, scale: float = 1.0, seed: float = 0.0
) -> Tensor:
    made = torch.randn(x.shape, device=x.device) * scale + mean
    return made.to(x.dtype if dtype is None else dtype_of(dtype, "noise"))


@op("RandomUniformLike", steer=ALL)
def random_uniform_like(
    x: Tensor, *, dtype: int | None = None, high: float = 1.0, low: float = 0.0, seed: float = 0.0
) -> Tensor:
    made = torch.rand(x.shape, device=x.device) * (high - low) + low
    return made.to(x.dtype if dtype is None else dtype_of(dtype, "noise"))


@op("Bernoulli", steer=ALL)
def bernoulli(x: Tensor, *, dtype: int | None = None, seed: float = 0.0) -> Tensor:
    made = torch.bernoulli(x)
    return made.to(x.dtype if dtype is None else dtype_of(dtype, "noise"))


@op("Multinomial", steer=ALL)
def multinomial(x: Tensor, *, dtype: int = 6, sample_size: int = 1, seed: float = 0.0) -> Tensor:
    """Of logits that are not normalised."""
    drawn = torch.multinomial(x.softmax(-1), sample_size, replacement=True)
    return drawn.to(dtype_of(dtype, "drawn classes"))
