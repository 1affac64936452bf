"""A model without some of its branches: what loses channels, and what it is held to."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from spa.coupling import Coupling, analyse
from spa.depth import Branch, branches
from spa.graph import read
from spa.pipeline.values import Groups
from spa.recipe import Recipe
from spa.repairs import Reference
from spa.rewrite.bypass import bypassed, collapse, stands_for


def without(coupling: Coupling, found: Sequence[Branch], recipe: Recipe) -> Coupling:
    """The analysis of a model without some of its branches."""
    source = coupling.graph.source
    short = bypassed(coupling.graph, found)
    graph = read(short, input_shapes=recipe.input_shape, base_dir=source.base_dir)
    return analyse(replace(graph, source=source), heads=coupling.heads)


def to_cut(groups: Groups, base: Coupling, recipe: Recipe) -> tuple[Coupling, Reference | None]:
    """What loses channels, and what is refitted towards where it has lost branches before.

    Args:
        groups: the model whose channels are to be cut.
        base: its original, perhaps in another basis.
        recipe: sizes of inputs.
    """
    if not groups.bypassed:
        return base, None
    names = {each.name for each in groups.bypassed}
    found = [each for each in branches(base).found if each.name in names]
    own = groups.coupling if base is groups.original.coupling else without(base, found, recipe)
    stands = stands_for(base.graph, found)
    shortcuts = frozenset(collapse(base.graph, found).values())
    return own, Reference(base, stands, shortcuts)
