"""The proof of a cut: the pruned model computes what the original does, removed channels at 0.

Models that are compared are made once and run at every size.  Where outputs differ by more than
rounding, harsher comparisons follow, each of which has to hold in full.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray
from onnx import ModelProto, NodeProto

from spa.coupling.model import Coupling, KeptUnits
from spa.errors import VerifyError
from spa.graph.model import FLOW, Graph
from spa.rules import trait_of
from spa.trace import Kept, Reason, is_float
from spa.validate.borders import Border, borders, given_name, steered, watched
from spa.validate.bytes import unsigned
from spa.validate.gap import Gap, floats, gap
from spa.validate.layout import layout_of
from spa.validate.mask import masked
from spa.validate.neutral import neutralised, unquantised, unsaturated
from spa.validate.runs import Arrays, Runner

TOLERANCE = {"float64": 1e-6, "float32": 1e-4, "float16": 5e-2, "bfloat16": 2e-1}
"""Largest difference to the masked original, over the largest output; in float32 3e-6 is usual."""
NOISE, LOOSEST = 10, 1e-2
"""Where that is exceeded: so many times the difference that onnxruntime's optimizer alone makes to
the masked original (8e-5 in a deep recogniser), but never more than this."""


class Pair:
    """The masked original and the cut, in a form in which they have to be equal."""

    def __init__(self, want: Runner, got: Runner) -> None:
        self.want, self.got = want, got

    def gap(self, feeds: Arrays, optimize: bool) -> Gap:
        """How far the outputs of the two lie apart."""
        return gap(self.want(feeds, optimize), self.got(feeds, optimize))

    def noise(self, feeds: Arrays) -> float:
        """What onnxruntime's optimizer alone changes, as a share of the largest output."""
        return gap(self.want(feeds, False), self.want(feeds, True)).error


class Steered(Pair):
    """The cut goes on from what the masked original has at borders (see `spa.validate.borders`)."""

    def __init__(self, pair: Pair, found: Sequence[Border], proof: Proof) -> None:
        self.borders, self.proof = found, proof
        self.given = {name for border in found for name in border.given}
        self.handed = {name for border in found for name in border.handed}
        wanted = [n for b in found for n in (*b.compared, *b.handed)]
        types = proof.coupling.graph.dtypes
        super().__init__(
            pair.want.of(watched(pair.want.model, wanted)),
            pair.got.of(steered(pair.got.model, found, types)),
        )

    def gap(self, feeds: Arrays, optimize: bool) -> Gap:
        """How far all that is compared lies apart."""
        whole = self.want(feeds, optimize)
        known = {name: self.proof.kept(name, value) for name, value in whole.items()}
        steers = {given_name(name): known[name] for name in self.given}
        steers |= {name: known[name] for name in self.handed}
        got = self.got({**feeds, **steers}, optimize)
        return gap({name: value for name, value in known.items() if name in got}, got)


class Proof:
    """Compares a cut with the masked original, at any sizes.

    `limits` says in sentences what the proof leaves out.
    """

    def __init__(self, coupling: Coupling, kept: KeptUnits, whole: Runner, small: Runner) -> None:
        self.coupling, self.original = coupling, whole
        self.whole, self.small = whole, small
        if has_quantizers(coupling.graph):
            self.whole, self.small = whole.in_floats(), small.in_floats()
        self.left = Kept(coupling.notes, coupling.root, kept)
        self.lossy = lossy_at(coupling, kept)
        self.masked = masked(coupling, kept)
        self.limits: dict[str, None] = {}
        self._broken: set[str] = set()
        self._steers: dict[Pair, Steered | None] = {}
        self._calm: Pair | None = None

    def at(self, feeds: Arrays, optimize: bool, where: str, advice: str) -> Gap:
        """The difference between the two.

        Raises:
            VerifyError: it is more than rounding explains.
            ReadError: the masked original does not run at these sizes.
        """
        found = self._compared(feeds, optimize, where, advice)
        self.limits.update(dict.fromkeys(map(end_of, self.original.unknown)))
        if found.silent:
            found = self._before_it_breaks(feeds, optimize, where, advice) or found
        return found

    def kept(self, name: str, value: NDArray[Any]) -> NDArray[Any]:
        """What is left of a tensor of the masked original."""
        image = self.coupling.notes.images.get(name)
        if image is None or not any(map(self.left.touched, image.maps)):
            return value
        return layout_of(image, self.left).kept(value)

    def _compared(self, feeds: Arrays, optimize: bool, where: str, advice: str) -> Gap:
        limit = tolerance(self.coupling.graph)
        for pair in self._ways(feeds):
            found = pair.gap(feeds, optimize)
            if found.error <= limit:
                break
        else:
            limit = max(limit, min(NOISE * pair.noise(feeds), LOOSEST))
        if not found.error <= limit:
            raise VerifyError(
                f"the pruned model differs from the masked original by {found.error:.1e}{where}, "
                f"more than {limit:.0e}; {advice}"
            )
        if isinstance(pair, Steered):
            self.limits.update(dict.fromkeys(limit_of(b) for b in pair.borders if b.handed))
        return found

    def _before_it_breaks(
        self, feeds: Arrays, optimize: bool, where: str, advice: str
    ) -> Gap | None:
        """Compare what enters the nodes that make no finite numbers from finite ones, too."""
        origins = breaking(self.whole.of(self.masked), feeds, self.coupling.graph)
        if origins - self._broken:
            self._broken |= origins
            self._steers.clear()
        if not origins:
            return None
        return self._compared(feeds, optimize, where, advice)

    def _ways(self, feeds: Arrays) -> Iterator[Pair]:
        """Pairs of models to compare, the plainest first."""
        plain, opaque = self._plain
        steers = self._steered(plain, opaque)
        if steers is not None and (opaque or self._broken or any(b.draws for b in steers.borders)):
            yield steers
            return
        yield plain
        if steers is not None:
            yield steers
        yield self._unsaturated
        if self.lossy:
            self._calm = self._calm or self._comparable(self._sizes(feeds))[0]
            yield self._calm
            steers = self._steered(self._calm, opaque)
            if steers is not None:
                yield steers

    def _pair(self, want: ModelProto, got: ModelProto) -> Pair:
        return Pair(self.whole.of(want), self.small.of(got))

    def _steered(self, pair: Pair, opaque: Collection[str]) -> Steered | None:
        if pair not in self._steers:
            found = borders(pair.got.model, self.coupling.graph.dtypes, opaque, self._broken)
            self._steers[pair] = Steered(pair, found, self) if found else None
        return self._steers[pair]

    @cached_property
    def _plain(self) -> tuple[Pair, frozenset[str]]:
        return self._comparable()

    @cached_property
    def _unsaturated(self) -> Pair:
        plain, _ = self._plain
        return self._pair(unsaturated(plain.want.model), unsaturated(plain.got.model))

    def _comparable(
        self, usual: dict[str, np.ndarray] | None = None
    ) -> tuple[Pair, frozenset[str]]:
        """Both without lossy ops, and the first outputs of those that have to stay.

        Quantisers go too: a difference of 1e-7 before one may be a whole step behind it.
        """
        types = self.coupling.graph.dtypes
        models = unsigned(self.masked, types), unsigned(self.small.model, types)
        if is_quantised(self.coupling.graph):
            models = unquantised(models[0]), unquantised(models[1])
        if not self.lossy:
            return self._pair(*models), frozenset()
        names, name_of = self._named()
        found = [neutralised(m, names, name_of, usual) for m in models]
        opaque: frozenset[str] = frozenset()
        if None in found:
            without = {n for n in names if neutralised(self.masked, {n}, name_of) is None}
            opaque = frozenset(n.output[0] for n in models[1].graph.node if name_of(n) in without)
            found = [neutralised(m, names - without, name_of, usual) for m in models]
        first, second = found
        assert first is not None and second is not None
        return self._pair(first, second), opaque

    def _named(self) -> tuple[set[str], Callable[[NodeProto], str]]:
        called = names_of(self.coupling.graph)

        def name_of(node: NodeProto) -> str:
            return called.get((node.op_type, node.output[0]), "")

        return {reason.node for reason in self.lossy}, name_of

    def _sizes(self, feeds: Arrays) -> dict[str, np.ndarray]:
        """The size (root of the mean square) of what goes into lossy ops in the masked original."""
        names, name_of = self._named()
        graph = self.masked.graph
        given = {port.name for port in (*graph.input, *graph.output)}
        entering = dict.fromkeys(n.input[0] for n in graph.node if name_of(n) in names)
        extra = [name for name in entering if name not in given]
        found = self.whole.of(watched(self.masked, extra))(feeds, False)
        sizes = {
            n: np.sqrt(np.mean(np.square(found[n], dtype=np.float64))).astype(found[n].dtype)
            for n in extra
        }
        return {name: size for name, size in sizes.items() if np.isfinite(size) and size > 0}


def limit_of(border: Border) -> str:
    """What the proof leaves out, in a sentence."""
    what = f"{border.op} node {border.node or border.first}"
    if border.draws:
        return f"{what} draws random numbers: the same were given to both models"
    return f"{what} is compared at its inputs only, as no form of it has to be equal"


def end_of(node: NodeProto) -> str:
    """Where a proof ends, in a sentence."""
    return (
        f"only up to {node.op_type} node {node.name or node.output[0]}, which onnxruntime "
        "does not know; what follows was not run"
    )


def breaking(runner: Runner, feeds: Arrays, graph: Graph) -> set[str]:
    """First outputs of the nodes that make no finite numbers from finite ones."""
    nodes = [n for n in graph.nodes if any(is_float(graph.dtypes.get(o)) for o in n.outputs)]
    tensors = {o for n in nodes for o in n.outputs if is_float(graph.dtypes.get(o))}
    values = {**feeds, **runner.of(watched(runner.model, sorted(tensors)))(feeds, False)}
    broken = {
        name
        for name, value in values.items()
        if (found := floats(value)) is not None and not np.isfinite(found).all()
    }
    return {
        node.outputs[0]
        for node in nodes
        if broken.intersection(node.outputs) and not broken.intersection(node.inputs)
    }


def names_of(graph: Graph) -> dict[tuple[str, str], str]:
    """Node names by op and first output, also for the masked model, which renames some outputs."""
    found: dict[tuple[str, str], str] = {}
    for node in graph.order:
        if node.domain != FLOW:
            first = node.outputs[0]
            found[node.op, first] = found[node.op, f"{first}__whole"] = node.name
    return found


def has_quantizers(graph: Graph) -> bool:
    """Whether onnxruntime may compute in integers what the file has in floats."""
    traits = map(trait_of, graph.order)
    return any(like.quantizes or like.dequantizes for like in traits)


def is_quantised(graph: Graph) -> bool:
    """Whether activations are quantised, so that onnxruntime may fuse them into integer kernels."""
    return any(trait_of(node).quantizes for node in graph.order)


def tolerance(graph: Graph) -> float:
    """The largest difference that rounding explains, by the coarsest type in the graph."""
    kinds = [np.dtype(graph.dtypes[n]).name for n in graph.outputs if n in graph.dtypes]
    kinds += [np.dtype(graph.dtypes[n]).name for n in graph.consts if n in graph.dtypes]
    return max((TOLERANCE.get(k, 0.0) for k in kinds), default=0.0) or TOLERANCE["float32"]


def lossy_at(coupling: Coupling, kept: KeptUnits) -> tuple[Reason, ...]:
    """The nodes that take statistics over channels of which some are gone."""
    left = Kept(coupling.notes, coupling.root, kept)
    nodes = {n.name: n for n in coupling.graph.order}
    return tuple(
        reason
        for reason in dict.fromkeys(coupling.notes.losses)
        if any(left.touched(p) for p in coupling.notes.couplings.maps(nodes[reason.node]))
    )
