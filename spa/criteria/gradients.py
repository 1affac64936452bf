"""Criteria of gradients: what the loss, or the flow of its gradient, would feel of a weight's loss.

Gradients are those of what the graph stores after it was read: folded constants have their own, and
integers that a DequantizeLinear makes floats of are judged as these floats.  Nothing is known of
integers that are multiplied as they are, and of what bodies of loops keep to themselves; these
count by their size, at the mean score of all other weights.  With labels (`--labels`) the loss is
the cross-entropy; without them targets are drawn about the model's own outputs, see
`spa.torch.gradients`.

BatchNormalization uses statistics of the inputs, layer after layer, as for all criteria that
measure (`--set batch-norm=false`: those that are stored).  Where all that is stored is what
training begins with, means of 0 and variances of 1, each run is normalised by itself, as in
training, and gradients pass through its statistics.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from spa.coupling.cost import is_parameter
from spa.coupling.model import Coupling
from spa.coupling.rows import batch_symbols
from spa.criteria.aggregate import Weigh
from spa.criteria.context import Context, criterion
from spa.criteria.meant import counts
from spa.events import Advance, counted_in
from spa.executor.survey import stored_statistics, survey
from spa.graph.model import Graph
from spa.graph.single import at_hand, batch_axes
from spa.rules import trait_of
from spa.trace import FOLLOWS, is_float

if TYPE_CHECKING:
    from spa.torch.gradients import Gradients

Found = Mapping[str, NDArray[np.float32]]
FEW = 512
"""Rows that gradients are taken of one by one, at most."""


@criterion(measures=True, comparable=True, gradients=True, relative=True)
def snip(context: Context) -> Weigh:
    """Connection sensitivity: the gradient's share that hangs on a weight (SNIP).

    s = |w g| / Σ |w g|, the sum over all weights and g = dL/dw of the mean loss over all inputs
    (Lee et al., ICLR 2019, arXiv 1810.02340, eq. 6).  Made for nets before training.
    """
    gradients, done = _gradients(context)
    values, found = gradients.values(), gradients.mean(done)
    scores = {name: np.abs(values[name] * g) for name, g in found.items()}
    whole = sum(float(s.sum(dtype=np.float64)) for s in scores.values())
    return _by_name(context, {name: s / np.float32(whole) for name, s in scores.items()})


@criterion(measures=True, comparable=True, gradients=True, relative=True)
def grasp(context: Context) -> Weigh:
    """What the flow of gradients would lose with a weight (GraSP).

    w H g, with the Hessian H and the gradient g of the mean loss.  It is -S(-w) of the paper (Wang
    et al., ICLR 2020, arXiv 2002.07376, eq. 8), where weights of the largest S = -w H g go first,
    as |g|² grows without them; here those of the least score go.  Scores may be negative.  Made for
    nets before training.
    """
    values, found = _flow(context)
    return _by_name(context, {name: values[name] * hg for name, hg in found.items()})


@criterion(measures=True, comparable=True, gradients=True, relative=True)
def crop(context: Context) -> Weigh:
    """How far the flow of gradients would change without a weight (CroP).

    |w H g|: what changes |g|² least goes first, be it for more or for less (Rachwan et al., ICML
    2022, arXiv 2206.10451).  Made for nets before training, or early in it.
    """
    values, found = _flow(context)
    return _by_name(context, {name: np.abs(values[name] * hg) for name, hg in found.items()})


@criterion(measures=True, comparable=True, gradients=True)
def taylor(context: Context) -> Weigh:
    """Squared first-order change of the loss without a weight (Taylor).

    (w g)², the mean over runs of the model, each with the gradient g of its mean loss (Molchanov et
    al., CVPR 2019, arXiv 1906.10771, eq. 8).  Made for trained nets.
    """
    gradients, done = _gradients(context)
    values, rows = gradients.values(), 0
    total = {name: np.zeros_like(value) for name, value in values.items()}
    for found, count in gradients.each_run(done):
        rows += count
        for name, g in found.items():
            total[name] += np.float32(count) * np.square(values[name] * g)
    return _by_name(
        context, {name: each / np.float32(max(rows, 1)) for name, each in total.items()}
    )


@criterion(measures=True, comparable=True, gradients=True)
def fisher(context: Context) -> Weigh:
    """Second-order change of the loss without a weight, by the Fisher information.

    w² Σ g² / 2N, with the gradient g of each of N rows: the Hessian's diagonal is taken for that of
    the empirical Fisher information (Theis et al., 2018, arXiv 1801.05787).  Made for trained nets.
    BatchNormalization uses fixed statistics always, and at most 512 rows are looked at; where the
    model fixes the size of a batch, each batch counts as a row.
    """
    gradients, done = _gradients(context, rows=FEW)
    values = gradients.values()
    graph = context.coupling.graph
    size = 1 if batch_symbols(graph) else at_hand(graph)
    found = gradients.squares(batch_axes(graph), size, done)
    return _by_name(
        context, {n: np.square(values[n]) * (own * np.float32(0.5)) for n, own in found.items()}
    )


def _by_name(context: Context, scores: Found) -> Weigh:
    """Scores of weights by tensor; those without count by size, at the mean of the others."""
    count = sum(each.size for each in scores.values())
    mean = sum(float(np.abs(s).sum(dtype=np.float64)) for s in scores.values()) / max(count, 1)
    rest = _weights(context.coupling) - scores.keys()

    def weigh(tensor: str, array: NDArray[np.float32]) -> NDArray[np.float32] | None:
        if tensor in rest:
            size = np.abs(array)
            return size * np.float32(mean / (float(size.mean()) or 1.0))
        own = scores.get(tensor)
        return None if own is None else own.reshape(array.shape)

    return weigh


def _weights(coupling: Coupling) -> set[str]:
    """Stored tensors that count."""
    return {
        param.stored
        for param in coupling.notes.weights
        if counts(coupling, param) and any(r != FOLLOWS for r, _ in param.maps)
    }


def _flow(context: Context) -> tuple[Found, Found]:
    """Weights, and H g."""
    gradients, done = _gradients(context, passes=2)
    return gradients.values(), gradients.hessian(done)


def _gradients(
    context: Context, passes: int = 1, rows: int | None = None
) -> tuple[Gradients, Advance]:
    """The model as a module with a loss, and what hears of every run.

    Args:
        context: what there is to judge by.
        passes: how often every run is run.
        rows: how many are wanted, at most, where they are taken one by one.
    """
    import spa.torch

    spa.torch.load  # noqa: B018  # says in a sentence where torch is missing
    from spa.torch.gradients import Gradients
    from spa.torch.values import device_of

    coupling, graph = context.coupling, context.coupling.graph
    trained = rows is not None or not _is_fresh(graph)
    runs, labels = list(context.feeds), context.labels
    if rows is not None:
        every = max(1, -(-sum(map(_rows, runs)) // rows))
        runs, labels = runs[::every], None if labels is None else labels[::every]
    statistics: Mapping[str, Any] = {}
    if trained and context.batch_norm:
        seen = survey(coupling, context.feeds, device=context.device).statistics
        statistics = {name: value for name, value in seen.items() if name in graph.consts}
    made = Gradients(
        graph.proto,
        places(coupling),
        [{**run, **statistics} for run in runs],
        labels,
        trained=trained,
        seed=context.seed,
        device=device_of(context.device).type,
        base_dir=graph.source.base_dir,
    )
    done = counted_in("score", context.callback)(passes * len(runs), "runs")
    return made, done


def _rows(run: Mapping[str, NDArray[Any]]) -> int:
    return max((len(each) for each in run.values() if each.ndim), default=1)


def places(coupling: Coupling) -> dict[str, str]:
    """By name of a stored weight, the tensor that holds it in floating point."""
    graph, found = coupling.graph, {}
    for param in coupling.notes.weights:
        node = graph.at(param.node)
        if is_float(graph.dtypes.get(param.stored)) and is_parameter(graph, param.stored):
            found[param.stored] = param.stored
        elif trait_of(node).dequantizes and param.input == 0:
            found[param.stored] = node.outputs[0]
    return found


def _is_fresh(graph: Graph) -> bool:
    """Whether all that BatchNormalizations have stored is what training begins with."""
    norms = [node for node in graph.nodes if trait_of(node).statistics is not None]
    held = [stored_statistics(node) for node in norms]
    return bool(held) and all(
        n in graph.consts and bool(np.all(graph.consts[n] == start))
        for names in held
        for n, start in zip(names, (0, 1), strict=True)
    )
