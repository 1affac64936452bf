"""Layers in a row, the net of tests that only need something to cut."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

from onnx import ModelProto

from tests.nets.net import Net


def convolutions(
    *widths: int, area: tuple[int | str, ...] = (8, 8), head: int = 0, **options: Any
) -> ModelProto:
    """Convolutions with a ReLU between each two, `x [batch, widths[0], *area]`.

    With a head, a ReLU and a classifier of that many classes follow; `options` are those of `Net`.
    """
    n = Net(**options)
    y = n.input("x", widths[0], *area)
    for k, (read, make) in enumerate(pairwise(widths)):
        y = n.conv(n.Relu(y) if k else y, read, make)
    return n.done(n.head(n.Relu(y), widths[-1], head) if head else y)


def products(
    *widths: int, shape: tuple[int, ...] = (), bias: bool = True, **options: Any
) -> ModelProto:
    """Matrix products with a ReLU between each two, `x [batch, *shape, widths[0]]`."""
    n = Net(**options)
    y = n.input("x", *shape, widths[0])
    for k, (read, make) in enumerate(pairwise(widths)):
        y = n.linear(n.Relu(y) if k else y, read, make, bias)
    return n.done(y)
