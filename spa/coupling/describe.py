"""Put names to groups and reasons to frozen channels, for plans and reports."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable
from functools import lru_cache

import numpy as np

from spa import labels
from spa.coupling.model import Frozen, Group, Member
from spa.graph.model import FLOW, Node
from spa.labels import FROZEN, Ids, Shape
from spa.trace import MAKES, Collect, Param, Reason, Roots

ALONE = Reason("the only channel of its kind: no other could stay in its place", "", "")


def tensor_axes(notes: Collect, param: Param) -> dict[int, int]:
    """Which axis of the stored tensor each axis of a param's view lies in."""
    return _axes_in(notes.graph.shapes[param.stored], param.view)


@lru_cache(maxsize=4096)
def _axes_in(shape: Shape, view: Shape) -> dict[int, int]:
    runs = labels.cut(shape, view) or ()
    return {fine: (coarse or (0,))[0] for coarse, fines in runs for fine in fines}


def groups_of(notes: Collect, roots: Roots, cells: tuple[Ids, ...]) -> tuple[Group, ...]:
    """Groups with their members; a group is named after the first tensor that makes it.

    Where an exporter only numbered that, after its node, or what the node gives.
    """
    owner = np.full(notes.size, -1)
    for k, units in enumerate(cells):
        owner[units] = k
    held = notes.couplings.held(owner[roots.solid])  # the groups in each array of labels
    inside: list[list[int]] = [[] for _ in held]  # the members whose labels are that array
    members: list[Member] = []
    users: list[Node] = []  # the node of every member
    makers: set[int] = set()
    for param in notes.weights:
        where = tensor_axes(notes, param)
        at = notes.graph.at(param.node)
        node, domain = at.name, at.domain
        for role, index_map in param.maps:
            place = notes.couplings.place(index_map)
            if place is None or held[place][-1] < 0:
                continue
            axes = labels.tighten(index_map).axes or (0,)
            inside[place].append(len(members))
            if role == MAKES and domain != FLOW:  # the weights, not a state's first value
                makers.add(len(members))
            members.append(Member(param.stored, where.get(axes[-1], 0), role, node))
            users.append(at)
    numbers: list[set[int]] = [set() for _ in cells]
    for owners, own in zip(held, inside, strict=True):
        for k in owners if own else ():
            if k >= 0:
                numbers[k].update(own)
    result = []
    taken: set[str] = set()
    for k, units in enumerate(cells):
        units.setflags(write=False)
        ordered = sorted(numbers[k])
        first = min(makers & numbers[k], default=ordered[0])
        own_members = tuple(dict.fromkeys([members[i] for i in ordered]))
        tensor = members[first].tensor
        name = called(tensor, users[first])
        name = tensor if name in taken else name
        taken.add(name)
        result.append(Group(k, name, units, own_members, tensor=tensor))
    return tuple(result)


def called(tensor: str, node: Node) -> str:
    """What people know a tensor by: its name, or its node's or result's if that is a number."""
    known = (tensor, node.name, *node.outputs[:1])
    return next((name for name in known if not _numbered(name, node.op)), tensor)


def _numbered(name: str, op: str) -> bool:
    """Whether nothing but digits, `onnx` and the op type is left of a name."""
    words = {word.lower() for word in re.split(r"[^A-Za-z]+", name) if word}
    return words <= {"onnx", op.lower()}


def frozen_of(notes: Collect, roots: Roots) -> tuple[Frozen, ...]:
    """Classes of channels that some tensor makes but that cannot go, with the first reason."""
    seen = np.zeros(notes.size, bool)
    seen[FROZEN] = True
    found: list[Frozen] = []
    held = [False in values for values in notes.couplings.held(roots.solid != FROZEN)]
    for tensor, index_map in notes.makers():
        place = notes.couplings.place(index_map)
        if place is None or not held[place]:
            continue
        stuck = roots.solid[index_map.ids] == FROZEN
        loose = np.unique(roots.loose[index_map.ids][stuck])
        fresh = loose[~seen[loose]]
        seen[fresh] = True
        found += _counted(tensor, [roots.reasons[k] for k in np.sort(roots.why[fresh]).tolist()])
    return tuple(found)


def _counted(tensor: str, reasons: Iterable[Reason]) -> list[Frozen]:
    """The channels of a tensor, given the reason of each."""
    return [Frozen(n, tensor, reason) for reason, n in Counter(reasons).items()]


def lone_of(notes: Collect, roots: Roots, cells: tuple[Ids, ...]) -> tuple[Frozen, ...]:
    """Channels that are no group, as they are one unit or nothing could stay in their place.

    With the first node that ties them together, where there is one.
    """
    grouped = np.concatenate([np.zeros(0, np.int64), *(units.ravel() for units in cells)])
    seen = (roots.solid == FROZEN) | np.isin(roots.solid, grouped)
    made: list[tuple[str, Ids]] = []
    several: dict[int, Ids] = {}  # units of which a tensor makes more than one channel, and those
    for tensor, index_map in notes.makers():
        ids = np.unique(index_map.ids)
        ids = ids[~seen[ids]]
        if not ids.size:
            continue
        seen[ids] = True
        made.append((tensor, ids))
        units, often = np.unique(roots.solid[ids], return_counts=True)
        for unit in units[often > 1].tolist():
            if unit not in several:
                several[unit] = ids[roots.solid[ids] == unit]
    ties = _Ties(notes, roots) if several else None
    reasons = {unit: ties.first(ids) for unit, ids in several.items()} if ties else {}
    found: list[Frozen] = []
    for tensor, ids in made:
        units = np.sort(roots.solid[ids]).tolist()
        found += _counted(tensor, [reasons.get(unit, ALONE) for unit in units])
    return tuple(found)


def tied_by(notes: Collect, roots: Roots, ids: Ids) -> Reason:
    """Why these labels of one unit, which is no group, are no channels of their own."""
    own = np.unique(ids)
    return _Ties(notes, roots).first(own) if own.size > 1 else ALONE


class _Ties:
    """Who made several labels one."""

    def __init__(self, notes: Collect, roots: Roots) -> None:
        left, right = notes.pairs()
        said, reasons = notes.ties()
        self._reasons: tuple[Reason, ...] = reasons
        self._loose = roots.loose
        order = roots.loose[left].argsort(kind="stable")
        self._left, self._right, self._said = left[order], right[order], said[order]
        self._home = roots.loose[self._left]

    def first(self, ids: Ids) -> Reason:
        """The reason with which these labels of one unit are one, in the order of the sweep."""
        start, end = np.searchsorted(self._home, [self._loose[ids[0]], self._loose[ids[0]] + 1])
        known, place = np.unique(
            np.stack([self._left[start:end], self._right[start:end]]), return_inverse=True
        )
        left, right = place.reshape(2, -1)
        wanted = np.searchsorted(known, ids)
        said = np.unique(self._said[start:end])
        low, high = 0, len(said) - 1
        while low < high:
            middle = (low + high) // 2
            upto = int(np.searchsorted(self._said[start:end], said[middle], "right"))
            root = labels.components(len(known), left[:upto], right[:upto])[wanted]
            low, high = (low, middle) if (root == root[0]).all() else (middle + 1, high)
        return self._reasons[int(said[low])]
