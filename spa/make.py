"""Nodes to be made: `make.Mul([a, b], [c])` multiplies, `make.Cast([a], [b], to=kind)` casts."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from onnx import NodeProto


class _Make:
    """Its attributes make nodes of the operators of the same names."""

    def __getattr__(self, op: str) -> Callable[..., NodeProto]:
        from onnx import helper

        return partial(helper.make_node, op)


make = _Make()
