"""Whether runs of a model that fixes its batch can be made together, as of one that does not.

A fixed batch is mostly a number in the declaration of an input.  Where nothing else in the graph
relies on it, more rows go through at once, and statistics cost one product for many rows, not
one for each.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spa.errors import ReadError
from spa.executor.stream import Stream
from spa.graph.model import Graph

ENOUGH = 4  # runs that are compared
CLOSE = 1e-4  # of the largest number in an output: what another order of additions may make of it
Feeds = Mapping[str, NDArray[Any]]


def stackable(graph: Graph, runs: Sequence[Feeds]) -> bool:
    """Whether the outputs of `runs`, made at once, are those of each of them.

    The first axis of all inputs is the batch; `ENOUGH` runs of one size are compared.
    """
    runs = _of_one_size(runs)
    if len(runs) < 2:
        return False
    outputs = [name for name in graph.outputs if name not in graph.consts]
    whole = {name: np.concatenate([feeds[name] for feeds in runs]) for name in runs[0]}
    try:
        part = Stream(graph.proto, graph, runs).part(len(graph.proto.graph.node), outputs)
        apart = [part({n: feeds[n] for n in part.inputs}) for feeds in runs]
        together = part(whole)
    except (ReadError, KeyError):  # sizes are relied on; an output is an input as it is
        return False
    return all(_alike(together[n], [found[n] for found in apart]) for n in outputs)


def _of_one_size(runs: Sequence[Feeds]) -> list[Feeds]:
    """Those runs whose sizes most have: where lengths are free, they differ from run to run."""
    sizes = [tuple((name, feeds[name].shape) for name in feeds) for feeds in runs]
    usual = max(sizes, key=sizes.count, default=())
    return [feeds for feeds, size in zip(runs, sizes, strict=True) if size == usual][:ENOUGH]


def _alike(together: object, apart: Sequence[object]) -> bool:
    """Whether an output of all runs at once is that of each run, one after the other."""
    arrays = [value for value in (together, *apart) if isinstance(value, np.ndarray) and value.ndim]
    if len(arrays) <= len(apart) or len({value.shape[1:] for value in arrays}) > 1:
        return False
    whole, joined = arrays[0], np.concatenate(arrays[1:])
    if joined.shape != whole.shape:
        return False
    if joined.dtype.kind != "f":
        return bool(np.array_equal(joined, whole))
    one, other = joined.astype(np.float64), whole.astype(np.float64)
    if not (np.isfinite(one).all() and np.isfinite(other).all()):
        return False
    largest = float(np.abs(one).max(initial=0))
    return bool(np.abs(one - other).max(initial=0) <= CLOSE * largest)
