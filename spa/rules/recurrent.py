"""Recurrent layers: a hidden unit is one row of every gate, and one column that reads it again.

Inputs of LSTM, GRU and RNN: x, W, R, B, lengths, initial h, initial c, peepholes.  Every direction
has hidden units of its own; what it keeps is a box, as all that is stored lies over directions.
An LSTM of bytes stores W and R transposed, and has their scales and zero points behind the rest.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod

import numpy as np

from spa import labels
from spa.labels import Ids, Image, IndexMap, Shape
from spa.rules.contraction import of_recurrence
from spa.rules.meet import still
from spa.rules.traits import trait
from spa.trace import MAKES, MICROSOFT, Fixes, Op, Sizes, refit, rule

STATE = "state of a recurrent layer"
COMPUTED = "a weight of a recurrent layer is computed"


@dataclass(frozen=True)
class Layer:
    """Sizes of a recurrent layer; views of its weights are made of them."""

    ways: int  # directions
    hidden: int
    gates: int
    read: int
    transposed: bool = False  # whether W and R are stored so

    @property
    def rows(self) -> int:
        """The axis of W and R along which hidden units are made."""
        return 3 if self.transposed else 2

    @property
    def columns(self) -> int:
        """The axis of W and R along which they read."""
        return 1 if self.transposed else 3

    def views(self) -> dict[int, Shape]:
        """Views of W, R, B and the peepholes, by input; the gates are an axis of their own."""
        d, h, g = self.ways, self.hidden, self.gates
        beside = {3: (d, 2, g, h), 7: (d, 3, h)}
        if self.transposed:
            return {1: (d, self.read, g, h), 2: (d, h, g, h), **beside}
        return {1: (d, g, h, self.read), 2: (d, g, h, h), **beside}


def _layer(op: Op, transposed: bool = False) -> Layer:
    """What the weights say; W and R must agree with the attribute."""
    order = (0, 2, 1) if transposed else (0, 1, 2)
    (ways, rows, read), (*again, hidden) = ([op.shape(i)[a] for a in order] for i in (1, 2))
    if op.attr("hidden_size", hidden) != hidden or again != [ways, rows]:
        raise ValueError(f"{op.shape(2)} is not the size of a recurrent weight")
    return Layer(ways, hidden, rows // max(hidden, 1), read, transposed)


@rule("LSTM", "GRU", "RNN", note="a hidden unit goes from all gates at once")
def recurrent(op: Op, x: Image, *_: Image) -> list[Image]:  # t n i, d g h i, d g h h -> t d n h
    return _cell(op, x, _layer(op))[1]


def _cell(op: Op, x: Image, layer: Layer) -> tuple[Ids, list[Image]]:
    """Labels of the hidden units, and the images of the outputs."""
    still(op, 4, reason="lengths of sequences")
    own = _weights(op, layer, x)
    _vectors(op, layer, own)
    batch_first = bool(op.attr("layout", 0))
    for i in (5, 6):
        if op.has(i):
            _over(op, i, op.shape(i), own, (1, 2) if batch_first else (0, 2), "follows")
    return own, [_shown(op, own, k, batch_first) for k in range(op.outputs)]


def _weights(op: Op, layer: Layer, x: Image) -> Ids:
    """Labels of the hidden units, `[directions, hidden]`, which every step reads again."""
    read = op.along(x, 2, "steps of a recurrent layer")
    times = float(prod(x.shape[:2]))
    inputs = labels.lay(read, (layer.columns,), 4)
    w, r = (op.is_const(i) for i in (1, 2))
    views = layer.views()
    if w:
        made = op.param(1, views[1], times=times, makes=(0, layer.rows), reads=inputs)[0]
        own = made.dense.reshape(layer.ways, layer.hidden)
    else:
        own = op.fresh(layer.ways * layer.hidden).reshape(layer.ways, layer.hidden)
    rows, columns = (labels.lay(own, (0, a), 4) for a in (layer.rows, layer.columns))
    if r:
        op.param(2, views[2], times=times, makes=rows, reads=columns)
    for i, stored, reads in ((1, w, inputs), (2, r, columns)):
        if not stored:
            _agree(op, op.operand(i), views[i], (rows, reads), COMPUTED)
    if not w and not r:  # one product for both: they stand side by side
        both = np.concatenate([np.broadcast_to(read, (layer.ways, len(read))), own], axis=1)
        view = (*views[1][:3], both.shape[1])
        op.work(view, times, rows, labels.lay(both, (0, 3), 4))
    elif not w or not r:
        op.work(views[1 if r else 2], times, rows, inputs if r else columns)
    return own


def _vectors(op: Op, layer: Layer, own: Ids) -> None:
    """Biases and peepholes have one number per gate and hidden unit."""
    views = layer.views()
    for i in (3, 7):
        if op.has(i):
            _over(op, i, views[i], own, (0, len(views[i]) - 1), "scales")


def _over(op: Op, i: int, view: Shape, own: Ids, axes: tuple[int, int], role: str) -> None:
    """Input `i`, seen as `view`, has one entry per hidden unit along `axes`."""
    index_map = labels.lay(own, axes, len(view))
    if op.is_const(i):
        op.param(i, view, times=0.0, **{role: index_map})
    else:
        _agree(op, op.operand(i), view, (index_map,), STATE)


def _agree(op: Op, x: Image, view: Shape, maps: Sequence[IndexMap], reason: str) -> None:
    """A tensor that is computed has the labels of `maps`; where it has none they are frozen."""
    runs = op.decide(lambda: labels.cut(x.shape, view))
    if runs is None:
        raise ValueError(f"{x.shape} is not {view}")
    vary = op.decide(lambda: [labels.tighten(p).axes for p in labels.reshape(x, view, runs).maps])
    found = [p for p in labels.reshape(x, view, runs, vary).maps if p.axes]
    free = list(maps)
    for p in found:
        met = [q for q in maps if q.axes[-1] in p.axes]
        q = op.squash(p, met[0].axes if met else (), reason)
        if q is not None:
            op.same(q.ids, met[0].ids, reason)
            free = [f for f in free if f is not met[0]]
    for q in free:
        op.freeze(q, reason)


def _shown(op: Op, own: Ids, k: int, batch_first: bool) -> Image:
    """The image of output `k`: all steps, then the last state, and the last cell."""
    if not op.node.outputs[k]:
        return labels.frozen(())
    way = 1 if batch_first else 0
    return op.shown(own, *((way, 2) if k else (way + 1, 3)), k=k)


RESTING = frozenset(
    ("Tanh", "Relu", "LeakyRelu", "ThresholdedRelu", "ScaledTanh", "Softsign", "Elu")
)
"""Activations that are 0 at 0, so that the state of a unit without weights stays 0."""
RANGED = "the range of all states is measured, and a unit of zeros would not rest at 0"
BYTES = range(8, 12)
"""Scale and zero point of W, then those of R: one number per direction, or per row of a gate."""


@rule("DynamicQuantizeLSTM", domain=MICROSOFT, note="as LSTM; scaled per direction or per row")
def lstm_of_bytes(op: Op, x: Image, *_: Image) -> list[Image]:  # t n i, d i g h, d h g h -> t d n h
    if not all(op.is_const(i) for i in (1, 2, *BYTES)):
        still(op, *range(len(op.x)), reason=COMPUTED)
        return op.all_frozen()
    layer = _layer(op, transposed=True)
    own, shown = _cell(op, x, layer)
    known = [str(f) for f in op.attr("activations", ())]
    if not {f for k, f in enumerate(known) if k % 3} <= RESTING:
        op.same(own, np.zeros_like(own), RANGED)
    for i in BYTES:
        if op.decide(lambda i=i: len(op.shape(i)) > 1):  # type: ignore[misc]
            _over(op, i, (layer.ways, layer.gates, layer.hidden), own, (0, 2), "follows")
    return shown


@refit("DynamicQuantizeLSTM", domain=MICROSOFT)
def hidden_size_of_bytes(new: Sizes) -> Fixes:
    """As for an LSTM; what is stored per direction loses that which went."""
    fixes = hidden_size(new)
    stays = new.left.flags[_units(new)].any(1)
    for i in BYTES if "direction" in fixes else ():
        value = new.value(i)
        if value is not None and value.ndim == 1:
            fixes[i] = value[stays]
    return fixes


trait(
    "DynamicQuantizeLSTM",
    domain=MICROSOFT,
    bytes=((0, 1, 9), (0, 2, 11)),
    quantised=((1, 8, 9), (2, 10, 11)),
    inward=True,
)
trait("DynamicQuantizeLSTM", domain=MICROSOFT, macs=of_recurrence)
trait("LSTM", "GRU", "RNN", macs=of_recurrence)


@refit("LSTM", "GRU", "RNN")
def hidden_size(new: Sizes) -> Fixes:
    """How many hidden units each direction keeps, and which direction is left if one went."""
    kept = new.left.flags[_units(new)]
    fixes: Fixes = {}
    if "hidden_size" in new.node.attrs:
        fixes["hidden_size"] = int(kept.sum(1).max())
    stays = np.flatnonzero(kept.any(1))
    if len(stays) == len(kept):
        return fixes
    if any(new.attr(name) for name in ("activation_alpha", "activation_beta")):
        raise ValueError("a direction goes whose activations have numbers of their own")
    known = list(new.attr("activations", ()))
    own = slice(int(stays[0]) * len(known) // 2, (int(stays[0]) + 1) * len(known) // 2)
    fixes |= {"activations": known[own]} if known else {}
    return {**fixes, "direction": ("forward", "reverse")[int(stays[0])]}


def _units(new: Sizes) -> Ids:
    """Labels of the hidden units, `[directions, hidden]`."""
    fresh = new.notes.created.get(new.node.index)
    if fresh:
        return fresh[0].reshape(new.old_shape(1)[0], -1)
    index_map = new.notes.params[new.node.index, 1].index_map(MAKES)
    assert index_map is not None
    return index_map.ids.reshape(index_map.ids.shape[0], -1)
