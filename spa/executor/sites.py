"""Sites: the nodes that contract stored weights, seen as `out = W X + b` on the original graph."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spa.coupling.model import Coupling
from spa.executor.columns import places_for, rows_of, unfold
from spa.trace.param import READS

OPS = frozenset(("Conv", "Gemm", "MatMul"))


@dataclass(frozen=True, eq=False)
class Site:
    """One contraction: `weight` float64 `[rows, features]`, `units` `[features]` by column.

    `shape` is that of the stored weight.  The columns of one channel are its kernel positions;
    `units` is 0 where a column cannot go.
    """

    node: Any
    weight: NDArray[np.float64]
    units: NDArray[np.int64]
    shape: tuple[int, ...]

    def columns(
        self, x: NDArray[Any], y: NDArray[Any], samples: int
    ) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """(X `[features, m]`, Y `[rows, m]`) of one batch: input `x`, output `y` of the node.

        `samples` in all batches together decide how many positions of each are enough.
        """
        if self.node.op == "Conv":
            places = places_for(self.weight.shape[1], samples, y.shape[2:], self.node.index)
            columns = unfold(x, self.shape, self.node.attrs, y.shape[2:], places)
            return columns, np.ascontiguousarray(rows_of(y, places), np.float32)
        flat = x.reshape(-1, x.shape[-1]).T, y.reshape(-1, y.shape[-1]).T
        return tuple(np.ascontiguousarray(a, np.float32) for a in flat)  # type: ignore[return-value]


def sites_of(coupling: Coupling) -> Iterator[Site]:
    """Dense (not grouped) contractions with a stored weight of which some input channel may go."""
    notes = coupling.notes
    for node in coupling.graph.nodes:
        param = notes.params.get((node.index, 1))
        if node.op not in OPS or node.domain or param is None or param.tensor is None:
            continue
        plane = param.plane(READS)
        if plane is None or not coupling.root[plane.ids].any() or not _simple(node, param):
            continue
        made = _made(node)
        read = [1 if a in made else n for a, n in enumerate(param.view)]
        units = np.broadcast_to(coupling.root[plane.ids], read)
        array = np.asarray(coupling.graph.consts[param.tensor]).astype(np.float64)
        shape = array.shape
        if node.op == "MatMul" or (node.op == "Gemm" and not node.attrs.get("transB", 0)):
            array = array.T
        yield Site(node, array.reshape(array.shape[0], -1), units.ravel().astype(np.int64), shape)


def _made(node: Any) -> tuple[int, ...]:
    """The axes of the view that run over rows."""
    if node.op == "Conv":
        return (0, 1)
    return (1,) if node.op == "MatMul" or not node.attrs.get("transB", 0) else (0,)


def _simple(node: Any, param: Any) -> bool:
    a = node.attrs
    if node.op == "Conv":
        return int(a.get("group", 1)) == 1
    if node.op == "Gemm":
        return a.get("alpha", 1.0) == 1.0 and not a.get("transA", 0)
    return len(param.view) == 2
