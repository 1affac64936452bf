"""Losses that files carry, and a few more functions of whole tensors."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from spa.torch.registry import op
from spa.torch.values import dtype_of


@op("NegativeLogLikelihoodLoss", steer=(1, 2))
def negative_log_likelihood_loss(
    x: Tensor,
    target: Tensor,
    weight: Tensor | None = None,
    *,
    ignore_index: int | None = None,
    reduction: str = "mean",
) -> Tensor:
    skipped = -100 if ignore_index is None else ignore_index
    return functional.nll_loss(x, target.long(), weight, ignore_index=skipped, reduction=reduction)


@op("SoftmaxCrossEntropyLoss", steer=(1, 2))
def softmax_cross_entropy_loss(
    x: Tensor,
    target: Tensor,
    weight: Tensor | None = None,
    *,
    ignore_index: int | None = None,
    reduction: str = "mean",
    outputs: int,
) -> Tensor | tuple[Tensor, Tensor]:
    shares = x.log_softmax(1)
    y = negative_log_likelihood_loss(
        shares, target, weight, ignore_index=ignore_index, reduction=reduction
    )
    return y if outputs == 1 else (y, shares)


@op("Det")
def det(x: Tensor) -> Tensor:
    return torch.linalg.det(x)


@op("BitCast", moves=True)
def bit_cast(x: Tensor, *, to: int) -> Tensor:
    return x.view(dtype_of(to, "a cast"))
