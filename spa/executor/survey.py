"""One dense pass before anything is fitted: BatchNorm on the batch's statistics, and covariances.

Probe inputs are not what a model was trained on, and every BatchNormalization would pass the
difference on.  Normalising by the statistics of the probe itself, layer after layer, puts the
activations back where the weights expect them, and so does what can be recovered of statistics
that were folded into the weights (see `recovered`).  Sites are fitted before either, in raw
numbers, so that nothing has to be converted when the true statistics return.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from weakref import WeakKeyDictionary

import numpy as np
from numpy.typing import NDArray

from spa.coupling.model import Coupling
from spa.devices import Device
from spa.executor.channels import moments
from spa.executor.columns import places_for
from spa.executor.least_squares import Moments
from spa.executor.recovered import recover
from spa.executor.stream import Stream
from spa.graph.model import Graph, Node
from spa.rules import trait_of

WIDEST = 4096  # channels whose covariance is kept
ENOUGH = 256  # numbers per channel below which statistics of a batch are noise
Array = NDArray[Any]


class Runs(tuple[Mapping[str, Array], ...]):
    """Inputs, one dict per run, and the statistics of graphs on them: one pass for all who ask.

    `labels` are the classes of the rows of each run, int64 `[rows]`, where they are known.
    """

    def __init__(self, _: Iterable[Mapping[str, Array]] = ()) -> None:
        self.labels: tuple[NDArray[np.int64], ...] | None = None
        self.known: WeakKeyDictionary[Graph, dict[str, Array]] = WeakKeyDictionary()

    def part(self, runs: Iterable[Mapping[str, Array]]) -> Runs:
        """Some of the inputs, in runs of any size; what is known of graphs is shared with them."""
        found = Runs(runs)
        found.known = self.known
        return found

    def recovered(self, graph: Graph) -> tuple[str, ...]:
        """The activations that the statistics of a graph move; see `recover`."""
        return tuple(name for name in self.known.get(graph, ()) if name not in graph.consts)


@dataclass
class Survey:
    """`statistics` replace stored tensors, and move activations, by name (see `Stream`).

    `covariance` is that of a tensor's channels `[channels, channels]`, their variances `[channels]`
    where there are more than `WIDEST`, or the variance of all its numbers `[1, 1]` where no axis of
    channels was named; `energy` is the mean square of a channel.
    """

    statistics: dict[str, Array] = field(default_factory=dict)
    covariance: dict[str, Array] = field(default_factory=dict)
    energy: dict[str, float] = field(default_factory=dict)


def survey(
    coupling: Coupling,
    feeds: Sequence[Mapping[str, Array]],
    wanted: Collection[tuple[str, int | None]] = (),
    *,
    batch_norm: bool = True,
    device: Device = "cpu",
    looks: Mapping[int, Callable[[Stream], None]] | None = None,
) -> Survey:
    """Run the dense model once on probe inputs.

    `wanted` are tensors whose covariance is asked for, with their channel axis; `batch_norm` says
    whether BatchNormalization takes the statistics of the batch, folded or not; `looks` is what
    else wants to see the activations, by the number of the node that comes next.
    """
    graph, looks = coupling.graph, looks or {}
    runs = feeds if isinstance(feeds, Runs) else Runs(feeds)
    found = Survey()
    if batch_norm:
        known = runs.known.get(graph)
        if known is not None and not wanted and not looks:
            return Survey(dict(known))
        found.statistics |= recover(graph, feeds, device) if known is None else known
    stream = Stream(graph.proto, graph, feeds, device, found.statistics)
    stops: dict[int, list[tuple[str, int | None]]] = {}
    for name, axis in wanted:
        if name in stream.values:
            _measure(found, name, axis, stream)
        else:
            stops.setdefault(stream.find(name) + 1, []).append((name, axis))
    norms = _norms(graph) if batch_norm else {}
    for stop in sorted({*stops, *norms, *looks}):
        names = [name for name, _ in stops.get(stop, ())]
        stream.run_to(stop, names)
        for name, axis in stops.get(stop, ()):
            _measure(found, name, axis, stream)
        if stop in looks:
            looks[stop](stream)
        if stop in norms:
            own = _statistics(graph, norms[stop], stream)
            found.statistics |= own
            stream.instead |= own
    if batch_norm:
        runs.known[graph] = dict(found.statistics)
    return found


def _statistics(graph: Graph, norm: Node, stream: Stream) -> dict[str, Array]:
    """Mean and variance of what a BatchNormalization reads, by the names of those it has stored."""
    mean, var, count = moments(stream.values[norm.inputs[0]])
    if count < ENOUGH or not (np.isfinite(mean).all() and np.isfinite(var).all()):
        return {}
    names = stored_statistics(norm)
    return {n: v.astype(graph.consts[n].dtype) for n, v in zip(names, (mean, var), strict=True)}


def stored_statistics(norm: Node) -> tuple[str, str]:
    """The tensors of mean and variance of a node that has them."""
    at = trait_of(norm).statistics
    assert at is not None
    return norm.inputs[at.mean], norm.inputs[at.variance]


def _norms(graph: Graph) -> dict[int, Node]:
    """BatchNormalizations in the mode for use, whose statistics are stored for them alone."""
    uses = Counter(name for node in graph.nodes for name in (*node.inputs, *node.captured))
    return {
        node.index: node
        for node in graph.nodes
        if trait_of(node).statistics is not None
        and all(n in graph.consts and uses[n] == 1 for n in stored_statistics(node))
    }


def _measure(found: Survey, name: str, axis: int | None, stream: Stream) -> None:
    """Covariance of a tensor, from as many places as are enough for its channels."""
    batches = stream.values[name]
    rows = batches[0].shape[axis] if axis is not None else 1
    if axis is not None and rows > WIDEST:
        mean, var, _ = moments([np.moveaxis(x, axis, 1) for x in batches])
        found.covariance[name] = var
        found.energy[name] = float((var + np.square(mean)).mean())
        return
    sums = Moments(1, rows, device=stream.device)
    for x in batches:
        moved = x.reshape(1, -1) if axis is None else np.moveaxis(x, axis, 0)
        at = places_for(rows, x.size // max(rows, 1), len(batches), 0)
        if at is None:
            taken = moved.reshape(rows, -1)
        else:
            index: tuple[Any, ...] = (slice(None), *np.unravel_index(at, moved.shape[1:]))
            taken = moved[index]
        sums.add(np.asarray(taken, np.float32)[None])
    gram, _ = sums.centred()
    found.covariance[name] = gram[0] / max(sums.count, 1)
    found.energy[name] = float(np.trace(sums.xx[0])) / max(sums.count * rows, 1)
