"""Put names to groups and reasons to frozen channels, for plans and reports."""

from __future__ import annotations

from collections import defaultdict
from functools import lru_cache

import numpy as np

from spa import labels
from spa.coupling.model import Frozen, Group, Member
from spa.graph.model import FLOW
from spa.labels import ROCK, Ids, Shape
from spa.trace.collect import Collect, Reason, Roots
from spa.trace.param import MAKES, Param


def tensor_axes(notes: Collect, param: Param) -> dict[int, int]:
    """Which axis of the stored tensor each axis of a param's view lies in."""
    return _axes_in(notes.graph.shapes[param.tensor], param.view)


@lru_cache(maxsize=4096)
def _axes_in(shape: Shape, view: Shape) -> dict[int, int]:
    runs = labels.cut(shape, view) or ()
    return {fine: (coarse or (0,))[0] for coarse, fines in runs for fine in fines}


def groups_of(notes: Collect, roots: Roots, cells: tuple[Ids, ...]) -> tuple[Group, ...]:
    """Groups with their members; a group is named after the first tensor that makes it."""
    owner = np.full(notes.size, -1)
    for k, units in enumerate(cells):
        owner[units] = k
    # a member may be in many groups: it is hashed once, then known by its id()
    members: list[dict[int, Member]] = [{} for _ in cells]
    known: dict[Member, Member] = {}
    names: dict[int, str] = {}
    held: dict[int | None, list[int]] = {}
    of_label = owner[roots.solid]
    for param in notes.params.values():
        if param.tensor is None:
            continue
        where = tensor_axes(notes, param)
        at = notes.graph.at(param.node)
        node, domain = at.name, at.domain
        for role, plane in param.planes:
            place = notes.meetings.place(plane)
            inside = held.get(place)
            if inside is None:
                present = np.zeros(len(cells) + 1, bool)  # the last is for what no group owns
                present[of_label[plane.ids]] = True
                inside = held[place] = present[:-1].nonzero()[0].tolist()
            if not inside:
                continue
            axes = labels.tighten(plane).axes or (0,)
            member = Member(param.tensor, where.get(axes[-1], 0), role, node)
            member = known.setdefault(member, member)
            for k in inside:
                members[k][id(member)] = member
            if role == MAKES and domain != FLOW:  # the weights, not a state's first value
                for k in inside:
                    names.setdefault(k, param.tensor)
    result = []
    for k, units in enumerate(cells):
        units.setflags(write=False)
        own = tuple(members[k].values())
        result.append(Group(k, names.get(k, own[0].tensor), units, own))
    return tuple(result)


def frozen_of(notes: Collect, roots: Roots) -> tuple[Frozen, ...]:
    """Classes of channels that some tensor makes but that cannot go, with the first reason."""
    seen = np.zeros(notes.size, bool)
    seen[ROCK] = True
    found: list[Frozen] = []
    for param in notes.params.values():
        plane = param.plane(MAKES)
        if plane is None or param.tensor is None:
            continue
        stuck = roots.solid[plane.ids] == ROCK
        if not np.count_nonzero(stuck):
            continue
        loose = np.unique(roots.loose[plane.ids][stuck])
        fresh = loose[~seen[loose]]
        seen[fresh] = True
        by_reason: dict[Reason, int] = defaultdict(int)
        for k, n in zip(*np.unique(roots.why[fresh], return_counts=True), strict=True):
            by_reason[roots.reasons[k]] += int(n)
        found += [Frozen(n, param.tensor, reason) for reason, n in by_reason.items()]
    return tuple(found)
