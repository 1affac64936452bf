"""Layers in a row and one residual block: the nets of tests that only need something to cut."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from typing import Any

import numpy as np
from onnx import ModelProto

from tests.nets.net import Net

Between = Callable[[Net, str], str]


def rectified(n: Net, x: str) -> str:
    """What stands between two layers unless a test wants something else there."""
    return str(n.Relu(x))


def convolved(n: Net, *widths: int, area: tuple[int | str, ...] = (8, 8), bias: bool = True) -> str:
    """Convolutions with a ReLU between each two, of `x [batch, widths[0], *area]`."""
    y = n.input("x", widths[0], *area)
    for k, (read, make) in enumerate(pairwise(widths)):
        y = n.conv(n.Relu(y) if k else y, read, make, bias=bias)
    return y


def multiplied(
    n: Net, x: str, *widths: int, bias: bool = True, between: Between = rectified
) -> str:
    """Matrix products with a ReLU `between` each two, of `x [batch, ..., widths[0]]`."""
    for k, (read, make) in enumerate(pairwise(widths)):
        x = n.linear(between(n, x) if k else x, read, make, bias)
    return x


def convolutions(
    *widths: int,
    area: tuple[int | str, ...] = (8, 8),
    head: int = 0,
    bias: bool = True,
    **options: Any,
) -> ModelProto:
    """A model of what is `convolved`; `options` are those of `Net`.

    With a head, a ReLU and a classifier of that many classes follow.
    """
    n = Net(**options)
    y = convolved(n, *widths, area=area, bias=bias)
    return n.done(n.head(n.Relu(y), widths[-1], head) if head else y)


def products(
    *widths: int,
    shape: tuple[int, ...] = (),
    bias: bool = True,
    between: Between = rectified,
    **options: Any,
) -> ModelProto:
    """A model of what is `multiplied`, of `x [batch, *shape, widths[0]]`."""
    n = Net(**options)
    x = n.input("x", *shape, widths[0])
    return n.done(multiplied(n, x, *widths, bias=bias, between=between))


def residual_sum(n: Net, norm: bool = False) -> str:
    """Two convolutions into one stream of 4 channels, the second behind 6 of its own.

    `x [batch, 3, 6, 6]`; with `norm` a BatchNormalization has the bias of the second.
    """
    stem = n.conv(n.input("x", 3, 6, 6), 3, 4)
    deep = n.conv(n.Relu(n.conv(stem, 4, 6)), 6, 4, bias=not norm)
    return str(n.Add(stem, n.batch_norm(deep, 4) if norm else deep))


def of_integers(
    first: np.ndarray,
    scale: np.ndarray,
    zero: int,
    second: np.ndarray,
    step: float,
    *,
    floats: bool = False,
) -> ModelProto:
    """Two convolutions of stored integers, or of the floats that these stand for.

    Args:
        first: the integers of the first, `w`; each output channel has its scale, all one zero.
        scale: float32 `[channels]`.
        zero: the integer that stands for zero in `first`.
        second: the integers of the second, `v`, whose zero is zero.
        step: their scale.
        floats: whether the file has the floats.
    """
    n = Net(opset=13, batch="N")
    if floats:
        wide = scale.reshape(-1, *[1] * (first.ndim - 1))
        w = n.const(((first.astype(np.float32) - zero) * wide).astype(np.float32), "w")
        v = n.const(second.astype(np.float32) * np.float32(step), "v")
    else:
        zeros = n.const(np.full(len(first), zero, first.dtype))
        w = n.DequantizeLinear(n.const(first, "w"), n.const(scale), zeros, axis=0)
        v = n.DequantizeLinear(n.const(second, "v"), n.const(np.float32(step)))
    y = n.Conv(n.input("x", first.shape[1], 8, 8), w, pads=[1] * 4)
    return n.done(n.Conv(n.Relu(y), v, pads=[1] * 4))


def looked_up(rows: int, width: int, length: int | str, **options: Any) -> ModelProto:
    """A table of vectors that `input_ids` number, behind an `attention_mask` that nobody reads."""
    n = Net(**options)
    ids, mask = (n.input(name, length, dtype=np.int64) for name in ("input_ids", "attention_mask"))
    return n.done(n.Identity(mask), n.Gather(n.weight(rows, width, scale=1.0), ids))
