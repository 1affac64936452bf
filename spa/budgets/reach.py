"""What can be removed at most, known before anything is scored, and what holds the rest."""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from spa.budgets.limits import Limit, bound_by, keeper, limits, widest
from spa.coupling.cost import Cost
from spa.coupling.describe import tied_by
from spa.coupling.model import Coupling, Group
from spa.errors import TargetError
from spa.labels import FROZEN, Ids
from spa.recipe import Recipe
from spa.registry import UNITS
from spa.trace import Param

FRIENDLY: tuple[int | Literal["auto"], ...] = ("auto", 8, 4)
"""Widths that `--round-to auto` tries one after the other, before any width will do."""


@dataclass(frozen=True)
class Rest:
    """What holds the largest part of what no cut removes: its share, where, why, and an option."""

    share: float
    where: str
    why: str
    option: str | None = None

    def __str__(self) -> str:
        return f"{100 * self.share:.1f} % of the whole stays {self.where}, as {self.why}"

    @property
    def way_out(self) -> str:
        """What a person can do."""
        return f"lower --ratio, or loosen {self.option}" if self.option else "lower --ratio"


def demand(coupling: Coupling, recipe: Recipe) -> None:
    """Refuse a target that no scores could reach.

    Raises:
        TargetError: says what can be removed at most, and what holds the largest part of the rest.
    """
    widths = (*FRIENDLY, 1) if recipe.round_to == "auto" else (recipe.round_to,)
    bounds = [limits(coupling, replace(recipe, round_to=width)) for width in widths]
    if all(len(limit.steps) == 1 for each in bounds for limit in each):
        raise TargetError(f"nothing to prune: {obstacle(coupling, recipe, bounds[-1])}")
    if not UNITS.says(recipe.of, "counted"):
        return  # only a clock can tell, or the search
    cost = Cost(coupling)
    whole = cost(coupling.everything()).share(recipe.of)
    kept = [_kept(coupling, each) for each in bounds]
    left = [cost.least(each)[0].share(recipe.of) for each in kept]
    deepest = int(np.argmin(left))
    most = (whole - left[deepest]) / whole if whole else 0.0
    if most >= recipe.share - 1e-9:
        return
    rest = largest_rest(coupling, recipe, cost, kept[deepest])
    raise TargetError(
        f"at most {math.floor(1000 * most + 1e-9) / 10:g} % of the {recipe.of} can be removed, not "
        f"{100 * recipe.share:g} % ({rest}); {rest.way_out}"
    )


def _kept(coupling: Coupling, bounds: Sequence[Limit]) -> list[int]:
    """How many units of every cell stay in the deepest cut, by group."""
    pairs = zip(coupling.groups, bounds, strict=True)
    return [group.size - int(limit.steps[-1]) for group, limit in pairs]


def deepest(coupling: Coupling, recipe: Recipe) -> list[int]:
    """How many units of every cell stay at least, by group."""
    return _kept(coupling, limits(coupling, widest(recipe)))


def largest_rest(coupling: Coupling, recipe: Recipe, cost: Cost, kept: Sequence[int]) -> Rest:
    """Where most of what is counted stays when `kept[group]` units of every cell do, and why.

    A target in time, or in what is not counted here, is told by its MACs.
    """
    of = recipe.of if UNITS.says(recipe.of, "counted") else "macs"
    whole = cost(coupling.everything()).share(of) or 1.0
    if of == "channels":
        counts = [n * len(g.cells) for n, g in zip(kept, coupling.groups, strict=True)]
        group = coupling.groups[int(np.argmax(counts))]
        return Rest(max(counts) / whole, f"in the group {group.name}", *_held(group, recipe))
    sizes, uses = cost.least(kept)
    by_node: dict[int, list[tuple[float, Param]]] = defaultdict(list)
    for param, macs, params in uses:
        by_node[param.node].append((macs if of == "macs" else params, param))
    fixed = sizes.share(of) - sum(n for found in by_node.values() for n, _ in found)
    shares = {index: sum(n for n, _ in found) for index, found in by_node.items()}
    index = max(shares, key=lambda k: shares[k], default=None)
    if index is None or fixed > shares[index]:
        kind = "operators" if of == "macs" else "tensors"
        return Rest(fixed / whole, f"in {kind} that carry no channels", "no cut narrows them")
    node = coupling.graph.at(index)
    param = max(by_node[index], key=lambda found: found[0])[1]
    where = f"at node {node.name or node.outputs[0]} ({node.op})"
    return Rest(shares[index] / whole, where, *_why(coupling, recipe, param, kept))


def _held(group: Group, recipe: Recipe) -> tuple[str, str | None]:
    """Why no more of a group goes."""
    option = bound_by(group, recipe)
    if option is None:
        return "at least one channel must stay", None
    return f"{option} lets no more of the group {group.name} go", option


def _why(
    coupling: Coupling, recipe: Recipe, param: Param, kept: Sequence[int]
) -> tuple[str, str | None]:
    """What most of the channels that stay in a tensor stay for."""
    votes: Counter[tuple[str, str | None]] = Counter()
    roots, owner = coupling.roots, coupling.owner
    for _, index_map in param.maps:
        ids = np.unique(index_map.ids)
        units = roots.solid[ids]
        frozen = ids[(units == FROZEN) & (ids != FROZEN)]
        for number, n in zip(*np.unique(roots.why[frozen], return_counts=True), strict=True):
            reason = roots.reasons[number]
            votes[f"its channels are frozen: {_at(reason.text, reason.node)}", None] += int(n)
        lone = ids[(units != FROZEN) & (owner[units] < 0)]
        for unit in np.unique(roots.solid[lone])[:1]:
            own: Ids = lone[roots.solid[lone] == unit]
            reason = tied_by(coupling.notes, roots, own)
            votes[f"its channels are {_at(reason.text, reason.node)}", None] += len(lone)
        held, counts = np.unique(owner[units[owner[units] >= 0]], return_counts=True)
        for k, n in zip(held.tolist(), counts.tolist(), strict=True):
            group = coupling.groups[k]
            votes[_held(group, recipe)] += round(n * kept[k] / group.size)
    if not votes:
        return "no stored weight makes its channels", None
    return votes.most_common(1)[0][0]


def _at(text: str, node: str) -> str:
    return f"{text} (at {node})" if node else text


def obstacle(coupling: Coupling, recipe: Recipe, bounds: Sequence[Limit]) -> str:
    """What stands in the way, in a few words: the options, or the main reason for freezing."""
    if coupling.groups and all(len(limit.steps) == 1 for limit in bounds):
        options = Counter(o for g in coupling.groups if (o := keeper(g, recipe)))
        named = ", ".join(o for o, _ in options.most_common())
        why = "the options keep every group as it is"
        return f"{why} ({named}); loosen them" if named else why
    reasons: Counter[str] = Counter()
    nodes: dict[str, str] = {}
    for frozen in coupling.frozen:
        reasons[frozen.reason.text] += frozen.channels
        nodes.setdefault(frozen.reason.text, frozen.reason.node)
    if not reasons and coupling.groups:
        return "the rest is not made of channels"
    if not reasons:
        return "no channel is made by a stored weight"
    text, channels = reasons.most_common(1)[0]
    of = f"{channels} of {sum(reasons.values())} frozen channels"
    return f"{of} because: {_at(text, nodes[text])}"
