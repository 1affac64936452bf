"""How far each group may be cut: globs, ratios and minima from the recipe."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from math import gcd
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spa.coupling.cost import is_parameter
from spa.coupling.model import Coupling, Group
from spa.depth import Branch, branches
from spa.depth.reach import within
from spa.errors import UsageError
from spa.graph.model import Graph
from spa.recipe import Recipe, option
from spa.registry import UNITS

LOOSE: dict[str, Any] = {
    "round_to": 1,
    "layer_ratio": {},
    "min_channels": 1,
    "max_layer_ratio": 1.0,
}
"""Options that hold back a group, and the value at which they do not."""


@dataclass(frozen=True, eq=False)
class Limit:
    """Allowed numbers of removed positions per cell, ascending from 0; `forced` of them at once."""

    steps: NDArray[np.int64]
    forced: int = 0


def names(group: Group) -> tuple[str, ...]:
    """Everything a glob may call a group by: its name, its tensors, its nodes."""
    found = {group.name, *(m.tensor for m in group.members), *(m.node for m in group.members)}
    return tuple(sorted(found))


def matches(group: Group, globs: Sequence[str]) -> bool:
    """Whether any glob matches any of the group's names."""
    return _any(names(group), globs)


def limits(coupling: Coupling, recipe: Recipe) -> tuple[Limit, ...]:
    """One limit per group.

    Raises:
        UsageError: a glob of --ignore, --only or --layer-ratio matches nothing.
    """
    globs = (*recipe.ignore, *recipe.only, *recipe.layer_ratio)
    known = _names_in(coupling) if globs else ()
    for glob in globs:
        if not any(fnmatchcase(name, glob) for name in known):
            if any(fnmatchcase(each.name, glob) for each in branches(coupling).found):
                continue
            raise UsageError(
                f"the pattern {glob!r} matches no node, initializer, group or branch; "
                "`spa inspect` lists the names"
            )
    return tuple(_limit(group, recipe) for group in coupling.groups)


def _names_in(coupling: Coupling) -> set[str]:
    """Everything a glob may call: groups, their tensors and nodes, other nodes, other constants."""
    known = {name for group in coupling.groups for name in names(group)}
    known.update(node.name for node in coupling.graph.order)
    known.update(coupling.graph.consts)
    return known


def holds(graph: Graph, branch: Branch, recipe: Recipe) -> str | None:
    """The option that keeps a branch from being bypassed, or None where it may be.

    It may not where anything in it is to be left alone, or where not all that it stores is named by
    `--only`, and neither is the branch.
    """
    end = graph.nodes[branch.add]
    own = {branch.name, end.name}
    inside = [graph.nodes[k] for k in branch.nodes]
    inside += [inner for node in inside for inner in within(node)]
    stored = {
        (name, node.name)
        for node in inside
        for name in (*node.inputs, *node.captured)
        if name in graph.consts and is_parameter(graph, name)
    }
    every = own.union(*stored, (node.name for node in inside))
    if _any(every, recipe.ignore):
        return "--ignore"
    parts = stored or [(node.name,) for node in inside]
    if not recipe.only or _any(own, recipe.only):
        return None
    return None if all(_any(part, recipe.only) for part in parts) else "--only"


def _any(names: Iterable[str], globs: Sequence[str]) -> bool:
    return any(fnmatchcase(name, glob) for name in names for glob in globs)


def _limit(group: Group, recipe: Recipe) -> Limit:
    if matches(group, recipe.ignore) or (recipe.only and not matches(group, recipe.only)):
        return Limit(np.zeros(1, np.int64))
    size, cells = group.cells.shape[1], len(group.cells) * group.width
    least = max(1, -(-recipe.min_channels // cells))
    for glob, share in recipe.layer_ratio.items():
        if matches(group, [glob]):
            # what is asked for by name goes before what "auto" would like
            multiple = 1 if recipe.round_to == "auto" else recipe.round_to
            steps = _rounded(size, cells, size - least, multiple)
            wanted = steps[np.abs(steps - share * size).argmin()]
            return Limit(np.unique([0, wanted]), int(wanted))
    most = min(size - least, int(np.floor(size * recipe.max_layer_ratio + 1e-9)))
    return Limit(_rounded(size, cells, most, recipe.round_to))


def widest(recipe: Recipe) -> Recipe:
    """The recipe at the widths that go furthest: `auto` takes odd ones where nothing else will do.

    Only a target in measured time keeps to multiples of 4.
    """
    if recipe.round_to != "auto":
        return recipe
    return replace(recipe, round_to=4 if UNITS.says(recipe.of, "timed") else 1)


def keeper(group: Group, recipe: Recipe) -> str | None:
    """The option that keeps a group as it is, or None where some of it may go."""
    if any(len(_limit(group, each).steps) > 1 for each in (recipe, widest(recipe))):
        return None
    return bound_by(group, recipe)


def bound_by(group: Group, recipe: Recipe) -> str | None:
    """The option without which more of a group could go, or None where none holds it."""
    if matches(group, recipe.ignore):
        return "--ignore"
    if recipe.only and not matches(group, recipe.only):
        return "--only"
    loose = widest(recipe)
    most = _limit(group, loose).steps[-1]
    for name, free in LOOSE.items():
        loose = replace(loose, **{name: free})
        if _limit(group, loose).steps[-1] > most:
            return option(name)
    return None


def _rounded(size: int, cells: int, most: int, round_to: int | str) -> NDArray[np.int64]:
    """Removable numbers per cell that leave a multiple of `round_to` channels in the group.

    `cells` is how many channels go with every unit of a cell.
    """
    removed = np.arange(max(most, 0) + 1)
    multiple = multiple_for(size * cells) if round_to == "auto" else int(round_to)
    if multiple > 1:
        step = multiple // gcd(multiple, cells)
        removed = removed[((size - removed) % step == 0) | (removed == 0)]
    return removed


def multiple_for(channels: int) -> int:
    """The multiple `--round-to auto` keeps: whole blocks of onnxruntime's CPU kernels.

    They hold 16 channels with AVX-512, 8 with AVX2; what is no multiple of 4 runs on slower
    kernels.  Layers of at most one block may go below it.  Measured in docs/round_to.md.
    """
    return 16 if channels > 16 else 8 if channels > 8 else 4
