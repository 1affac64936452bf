"""The proof of a cut: the pruned model computes what the original does with dead channels at zero.

Models that are compared are made once and run at every size.  Where outputs differ by more than
rounding, harsher comparisons follow, each of which has to hold in full.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray
from onnx import ModelProto, NodeProto

from spa.coupling.model import Coupling
from spa.errors import VerifyError
from spa.graph.model import FLOW
from spa.trace.collect import Reason
from spa.validate.drift import relative_error
from spa.validate.mask import masked
from spa.validate.runs import Arrays, Runner
from spa.validate.twin import sizes_wanted, twin, unquantised, unsaturated

TOLERANCE = {"float64": 1e-6, "float32": 1e-4, "float16": 5e-2, "bfloat16": 2e-1}
"""Largest difference to the masked original, over the largest output; in float32 3e-6 is usual."""
NOISE, LOOSEST = 10, 1e-2
"""Where that is exceeded: so many times the difference that onnxruntime's optimizer alone makes to
the masked original (8e-5 in a deep recogniser), but never more than this."""

Pair = tuple[Runner, Runner]


class Proof:
    """Compares a cut with the masked original, at any sizes."""

    def __init__(
        self, coupling: Coupling, alive: NDArray[np.bool_], whole: Runner, small: Runner
    ) -> None:
        self.coupling, self.alive, self.whole, self.small = coupling, alive, whole, small
        self.masked = masked(coupling, alive)
        self._pairs: dict[str, Pair | None] = {}

    def at(
        self, feeds: Arrays, optimize: bool, lossy: tuple[Reason, ...], where: str, advice: str
    ) -> float | None:
        """The difference between the two; None where it cannot be said.

        Raises:
            VerifyError: it is more than rounding explains.
            ReadError: the masked original does not run at these sizes.
        """
        limit = tolerance(self.coupling.graph)
        error = None
        for pair in self._ways(feeds, lossy):
            error = None if pair is None else difference(pair, feeds, optimize)
            if error is None or error <= limit:
                return error
        assert error is not None and pair is not None
        limit = max(limit, min(NOISE * noise(pair[0], feeds), LOOSEST))
        if not error <= limit:
            raise VerifyError(
                f"the pruned model differs from the masked original by {error:.1e}{where}, more "
                f"than {limit:.0e}; {advice}"
            )
        return error

    def _ways(self, feeds: Arrays, lossy: tuple[Reason, ...]) -> Iterator[Pair | None]:
        """Pairs of models to compare, the plainest first."""
        yield self._pair("plain", lossy)
        if self._pair("plain", lossy) is None:
            return
        yield self._pair("unsaturated", lossy)
        if lossy:
            if "calm" not in self._pairs:
                usual = self._usual(lossy, feeds)
                self._pairs["calm"] = self._made(self._comparable(lossy, usual))
            yield self._pairs["calm"]

    def _pair(self, way: str, lossy: tuple[Reason, ...]) -> Pair | None:
        if way not in self._pairs:
            models = self._comparable(lossy)
            if models is not None and way == "unsaturated":
                models = unsaturated(models[0]), unsaturated(models[1])
            self._pairs[way] = self._made(models)
        return self._pairs[way]

    def _made(self, models: tuple[ModelProto, ModelProto] | None) -> Pair | None:
        return models and (self.whole.of(models[0]), self.small.of(models[1]))

    def _comparable(
        self, lossy: tuple[Reason, ...], usual: dict[str, np.ndarray] | None = None
    ) -> tuple[ModelProto, ModelProto] | None:
        """The masked original and the cut, both without lossy ops; None where these stay.

        Quantisers go too: a difference of 1e-7 before one may be a whole step behind it.
        """
        models = self.masked, self.small.model
        if is_quantised(self.coupling.graph):
            models = unquantised(models[0]), unquantised(models[1])
        if not lossy:
            return models
        names, name_of = self._named(lossy)
        first, second = (twin(m, names, name_of, usual) for m in models)
        return None if first is None or second is None else (first, second)

    def _named(self, lossy: tuple[Reason, ...]) -> Any:
        called = names_of(self.coupling.graph)

        def name_of(node: NodeProto) -> str:
            return called.get((node.op_type, node.output[0]), "")

        return {reason.node for reason in lossy}, name_of

    def _usual(self, lossy: tuple[Reason, ...], feeds: Arrays) -> dict[str, np.ndarray]:
        """The size (root of the mean square) of what goes into lossy ops in the masked original."""
        model = sizes_wanted(self.masked, *self._named(lossy))
        found = self.whole.of(model)(feeds, False)
        extra = [o.name for o in model.graph.output[len(self.masked.graph.output) :]]
        sizes = {
            n: np.sqrt(np.mean(np.square(found[n], dtype=np.float64))).astype(found[n].dtype)
            for n in extra
        }
        return {name: size for name, size in sizes.items() if np.isfinite(size) and size > 0}


def difference(pair: Pair, feeds: Arrays, optimize: bool) -> float | None:
    """How far the outputs of the two lie apart; None where that cannot be said."""
    want, got = (runner(feeds, optimize) for runner in pair)
    if not all(_finite(v) for v in want.values()):
        return None
    return relative_error(want, got)


def noise(runner: Runner, feeds: Arrays) -> float:
    """What onnxruntime's optimizer alone changes, as a share of the largest output."""
    return relative_error(runner(feeds, False), runner(feeds, True))


def names_of(graph: Any) -> dict[tuple[str, str], str]:
    """Node names by op and first output, also for the masked model, which renames some outputs."""
    found: dict[tuple[str, str], str] = {}
    for node in graph.order:
        if node.domain != FLOW:
            first = node.outputs[0]
            found[node.op, first] = found[node.op, f"{first}__whole"] = node.name
    return found


def is_quantised(graph: Any) -> bool:
    """Whether activations are quantised, so that onnxruntime may fuse them into integer kernels."""
    return any(node.op == "QuantizeLinear" and not node.domain for node in graph.order)


def tolerance(graph: Any) -> float:
    """The largest difference that rounding explains, by the coarsest type in the graph."""
    kinds = [np.dtype(graph.dtypes[n]).name for n in graph.outputs if n in graph.dtypes]
    kinds += [np.dtype(graph.dtypes[n]).name for n in graph.consts if n in graph.dtypes]
    return max((TOLERANCE.get(k, 0.0) for k in kinds), default=0.0) or TOLERANCE["float32"]


def _finite(value: Any) -> bool:
    floats = isinstance(value, np.ndarray) and value.dtype.kind == "f"
    return not floats or bool(np.isfinite(value).all())
