"""Which values depend on the size of a symbolic axis, element by element.

A walk at chosen sizes computes positions, masks and bounds as if these sizes were the only ones.
Here it is found out which of them hold at every size: what is made from an axis that has another
length at other sizes is symbolic, and so is all that is computed from it.  Two things must both say
that an element is fixed: it has come from fixed elements only, and walks at other sizes agree.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from onnx import helper

from spa.graph.evaluate import evaluate, words
from spa.graph.model import FLOW, Node

Shape = tuple[int, ...]
Mask = NDArray[np.bool_]

MOVES = words("Gather Slice Split Squeeze Unsqueeze Reshape Flatten Transpose Identity Expand Tile")
"""Ops that move the elements of their first input about, as the others say."""

ELEMENTWISE = words(
    "Abs Add And Cast Ceil Clip Cos Div Equal Exp Floor Greater GreaterOrEqual Less LessOrEqual "
    "Log Max Min Mod Mul Neg Not Or Pow Reciprocal Round Sign Sin Sqrt Sub Where Xor"
)

STEERED = {
    "Reshape": (1,),
    "Expand": (1,),
    "Tile": (1,),
    "ConstantOfShape": (0,),
    "Resize": (2, 3),
    "Slice": (1, 2),
    "Pad": (1,),
    "Range": (0, 1, 2),
    "CenterCropPad": (1,),
    "OneHot": (1,),
    "TopK": (1,),
    "Split": (1,),
}
"""Ops whose result is as long as some inputs say: which."""

ENDS = words("Slice Pad")
"""Those that are told where axes begin or end, and by input 3 which axes these are."""

AXIS_BY_AXIS = words("Reshape Expand Tile ConstantOfShape Resize")
"""Those that are told one number for every axis."""


@dataclass(frozen=True)
class Seen:
    """What one walk found out: shapes and small values, by tensor."""

    shapes: Mapping[str, Shape]
    values: Mapping[str, NDArray[np.generic]]


def symbolic(
    nodes: Sequence[Node],
    seen: Seen,
    elsewhere: Sequence[Seen],
    consts: Mapping[str, NDArray[np.generic]],
    open_loops: frozenset[str] = frozenset(),
) -> dict[str, Mask]:
    """For every value that does not hold at every size: which of its elements do not.

    `nodes` are in the order they run, those of bodies included; data end the `open_loops`.
    """
    tracking = _Tracking(seen, elsewhere, consts)
    for node in nodes:
        tracking.visit(node, node.domain == FLOW and node.name in open_loops)
    return tracking.masks


class _Tracking:
    """One pass over the nodes."""

    def __init__(
        self, seen: Seen, elsewhere: Sequence[Seen], consts: Mapping[str, NDArray[np.generic]]
    ) -> None:
        self.seen, self.elsewhere, self.consts = seen, elsewhere, consts
        self.masks: dict[str, Mask] = {}
        self._axes: dict[str, Mask] = {}  # axes that are symbolic, also where no walk shows it
        self._lengths: dict[str, frozenset[int]] = {}  # of axes that no walk shows

    def visit(self, node: Node, is_open: bool) -> None:
        """Note what of a node's outputs is symbolic."""
        inherited = [self._lengths[n] for n in node.inputs if n in self._lengths]
        lengths = frozenset[int]().union(*inherited)
        steered = self._steered(node)
        for name in node.outputs:
            shape = self.seen.shapes.get(name) if name else None
            if shape is None:
                continue
            hidden = np.isin(shape, list(lengths))
            if steered:
                hidden |= self._told(node, steered, shape)
            if is_open and node.op == "Loop stack":
                hidden |= np.arange(len(shape)) == node.attrs.get("axis", 0)
            hidden &= ~self.axes(name)
            if hidden.any():
                self._axes[name] = self.axes(name) | hidden
                self._lengths[name] = frozenset(n for n, h in zip(shape, hidden, strict=True) if h)
        for k, name in enumerate(node.outputs):
            if name in self.seen.values:
                mask = self._mask(node, k, name)
                if mask.any():
                    self.masks[name] = mask

    def axes(self, name: str) -> Mask:
        """Which axes of a tensor have another length at other sizes."""
        known = self._axes.get(name)
        if known is None:
            shape = self.seen.shapes[name]
            known = np.zeros(len(shape), bool)
            for other in self.elsewhere if name not in self.consts else ():
                there = other.shapes.get(name)
                if there is None or len(there) != len(shape):
                    known |= True
                else:
                    known |= np.not_equal(shape, there)
            self._axes[name] = known
        return known

    def _mask(self, node: Node, k: int, name: str) -> Mask:
        """Which elements of a known output are symbolic."""
        value = self.seen.values[name]
        if self.axes(name).any():
            return np.ones(value.shape, bool)
        mask = np.zeros(value.shape, bool)
        for other in self.elsewhere:
            there = other.values.get(name)
            mask |= True if there is None or there.shape != value.shape else there != value
        return mask | self._carried(node, k, value.shape)

    def _carried(self, node: Node, k: int, shape: Shape) -> Mask:
        """Which elements of output `k` come from symbolic ones."""
        if node.op in ("Shape", "Size"):
            axes = self.axes(node.inputs[0]) if node.inputs[0] in self.seen.shapes else np.zeros(0)
            if node.op == "Size":
                return np.full(shape, axes.any())
            part = axes[node.attrs.get("start", 0) : node.attrs.get("end")]
            return np.asarray(part, bool) if part.shape == shape else np.zeros(shape, bool)
        given = [self.masks.get(name) for name in node.inputs]
        if all(mask is None for mask in given):
            return np.zeros(shape, bool)
        made = None
        if node.op in ELEMENTWISE:
            made = self._side_by_side(node, given)
        elif node.op == "Concat":
            made = self._moved(node, range(len(given)), k)
        elif node.op in MOVES and all(mask is None for mask in given[1:]):
            made = self._moved(node, (0,), k)
        return made if made is not None and made.shape == shape else np.ones(shape, bool)

    def _side_by_side(self, node: Node, given: Sequence[Mask | None]) -> Mask | None:
        made = np.zeros((), bool)
        masks = []
        for name, known in zip(node.inputs, given, strict=True):
            mask = self._whole(name, known) if name else made
            if mask is None:
                return None
            masks.append(mask)
        if node.op == "Where" and given[0] is None:  # what is not chosen does not count
            chosen = self._value(node.inputs[0])
            return None if chosen is None else np.asarray(np.where(chosen, masks[1], masks[2]))
        for mask in masks:
            made = made | mask
        return made

    def _whole(self, name: str, mask: Mask | None) -> Mask | None:
        """A mask for an input, if its shape is known."""
        shape = self.seen.shapes.get(name)
        return mask if mask is not None or shape is None else np.zeros(shape, bool)

    def _moved(self, node: Node, data: Sequence[int], k: int) -> Mask | None:
        """Run a node that only moves elements on masks in their place."""
        inputs: list[NDArray[np.generic] | None] = []
        for i, name in enumerate(node.inputs):
            found = self._whole(name, self.masks.get(name)) if i in data else self._value(name)
            if found is None and name:
                return None
            inputs.append(found)
        proto = helper.make_node(node.op, node.inputs, node.outputs, **node.attrs)
        made = evaluate(proto, node.version, inputs)
        return np.asarray(made[k], bool) if made is not None and len(made) > k else None

    def _value(self, name: str) -> NDArray[np.generic] | None:
        value = self.seen.values.get(name)
        return value if value is not None else self.consts.get(name)

    # lengths that are equal at all sizes that were tried, though something symbolic says them

    def _steered(self, node: Node) -> list[Mask]:
        """The masks of what says how long a node's results are."""
        at = [i for i in STEERED.get(node.op, ()) if i < len(node.inputs)]
        return [self.masks[node.inputs[i]].reshape(-1) for i in at if node.inputs[i] in self.masks]

    def _told(self, node: Node, masks: Sequence[Mask], shape: Shape) -> Mask:
        """The axes of a result of this shape whose length symbolic elements say."""
        if node.op in AXIS_BY_AXIS and all(len(mask) <= len(shape) for mask in masks):
            aligned = [np.pad(m, (len(shape) - len(m), 0)) for m in masks]
            return np.asarray(np.any(aligned, axis=0))
        axes = self._ends(node, masks, len(shape)) if node.op in ENDS else None
        if axes is not None:
            return np.isin(np.arange(len(shape)), axes)
        whole = self.seen.shapes.get(node.inputs[0], ())
        alike = len(whole) == len(shape) and node.op != "Range"
        return np.not_equal(whole, shape) if alike else np.ones(len(shape), bool)

    def _ends(self, node: Node, masks: Sequence[Mask], rank: int) -> list[int] | None:
        """The axes of which a Slice or Pad is told a symbolic end."""
        halves = [half for m in masks for half in np.split(m, 2)] if node.op == "Pad" else masks
        axes: NDArray[np.generic] | None = np.arange(len(halves[0]))
        if node.inputs[3:4] not in ((), ("",)):
            axes = self._value(node.inputs[3])
        if axes is None or any(len(half) != len(axes) for half in halves):
            return None
        return sorted({int(a) % rank for half in halves for a in axes[half]})
