"""Weights that several nodes use: cut in one way, so that they stay stored once.

A layer that is applied again and again (a tower over several scales, a cell over time, a block of
which all layers are one) is one layer.  Were its uses cut apart, every one would need a copy.
"""

from __future__ import annotations

from math import prod

from spa.coupling.cost import is_parameter
from spa.labels import IndexMap
from spa.trace import MAKES, READS, TIED, Collect, Param, Reason

LIGHT = 0.01  # of all parameters: copies that weigh less are made where uses go apart
Place = tuple[tuple[int, ...], tuple[int, ...], int]
"""Where an index map lies: its axes, its lengths along them, and which of those there it is."""


def shared(notes: Collect) -> dict[str, list[Param]]:
    """The uses of every weight that is better stored once.

    Weights are what is multiplied with channels: not factors and biases, and not tables that are
    looked up, of which a copy costs less than what the streams behind it would have in common.
    """
    uses = {n: found for n, found in notes.uses().items() if is_parameter(notes.graph, n)}
    several = {name: found for name, found in uses.items() if len(found) > 1}
    if not several:
        return {}
    sizes = {name: prod(notes.graph.shapes[name]) for name in uses}
    light = LIGHT * sum(sizes.values())
    return {
        name: found
        for name, found in several.items()
        if sizes[name] * (len(found) - 1) > light
        and all(p.times > 0 and any(r in (READS, MAKES) for r, _ in p.maps) for p in found)
    }


def tie_shared(notes: Collect) -> None:
    """Let all uses of a shared weight keep the same of its positions.

    Where one of them needs an axis whole, the others keep it whole as well.  Uses that see the
    weight in another shape are left to themselves.
    """
    for name, uses in shared(notes).items():
        tied = Reason(f"{TIED} by the uses of {name}", "", "")
        alike = [p for p in uses if p.view == uses[0].view]
        places = [_places(p) for p in alike]
        for place in dict.fromkeys(key for found in places for key in found):
            maps = [found[place] for found in places if place in found]
            for index_map in maps[1:]:
                notes.tie(maps[0].ids, index_map.ids, tied)
            if len(maps) < len(alike):
                notes.hold(maps[0].ids, Reason(f"another use needs all of {name}", "", ""))


def _places(param: Param) -> dict[Place, IndexMap]:
    found: dict[Place, IndexMap] = {}
    for _, index_map in param.maps:
        number = sum(key[:2] == (index_map.axes, index_map.ids.shape) for key in found)
        found[index_map.axes, index_map.ids.shape, number] = index_map
    return found
