"""From a plan back to a choice of units, on the same model, a fresh export, or a changed one."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from spa import labels
from spa.coupling import misplaced
from spa.coupling.describe import tensor_axes
from spa.coupling.model import Coupling, KeptUnits
from spa.errors import UsageError
from spa.labels import FROZEN
from spa.plans.cut import plan_of
from spa.plans.model import Entry, Plan, rows_of
from spa.trace import MisplacedError, Param

Mask = NDArray[np.bool_]
ADVICE = "make a new plan with `spa plan`"


def place(coupling: Coupling, plan: Plan) -> tuple[KeptUnits, tuple[str, ...]]:
    """Find what the plan keeps in this graph.

    Returns:
        bool `[labels]` by unit, and the plan's tensors that this model does not have (they follow
        from the others, as after folding BatchNormalization).

    Raises:
        UsageError: a tensor has another shape, cannot be cut, or would be cut differently.
    """
    kept = coupling.everything()
    uses = coupling.notes.uses()
    missing = tuple(sorted(set(plan.tensors) - set(uses)))
    _demand_cover(plan, uses.keys() & plan.tensors.keys())
    for name, entry in plan.tensors.items():
        if name in uses:
            _demand_shape(coupling, name, entry)
            for each in (entry, *entry.get("others", ())):
                number = each.get("use", 0)
                if number < len(uses[name]):
                    _remove(coupling, uses[name][number], each, kept)
    _compare(coupling, plan, kept)
    return kept, missing


def _demand_cover(plan: Plan, known: set[str]) -> None:
    """Every group that is cut must own at least one tensor that plan and model both have."""
    for group in plan.groups:
        if group["after"] < group["before"] and not known & set(group["tensors"]):
            tensors, name = group["tensors"], group["name"]
            tensor = name if name in tensors else next(iter(tensors), name)
            raise UsageError(
                f"the plan does not fit: the model has no initializer {tensor}, nor any "
                f"other of its group; export with the same names, or {ADVICE}"
            )


def _demand_shape(coupling: Coupling, name: str, entry: Entry) -> None:
    shape = list(coupling.graph.shapes[name])
    if shape != list(entry["shape"]):
        raise UsageError(
            f"the plan does not fit: {name} has shape {shape}, the plan was made for "
            f"{entry['shape']}; {ADVICE}"
        )


def _remove(coupling: Coupling, param: Param, entry: Entry, kept: KeptUnits) -> None:
    """Remove the units that own only positions which the entry drops."""
    masks = _masks(coupling, param, entry)
    for _, index_map in param.maps:
        stays = np.ones((1,) * len(param.view), bool)
        for mask in masks:
            rest = tuple(a for a in range(len(param.view)) if a not in index_map.axes)
            stays = stays & mask.any(rest, keepdims=True)
        stays = np.broadcast_to(stays, index_map.ids.shape)
        units = coupling.root[index_map.ids]
        crosses = sum(q.axes == index_map.axes for _, q in param.maps) > 1
        gone = np.setdiff1d(units[~stays], units[stays])
        if FROZEN in (gone if crosses else units[~stays]):  # else it went with what it crosses
            raise UsageError(
                f"the plan does not fit: it removes channels of {param.tensor} that are frozen in "
                "this model; `spa inspect --frozen` says why"
            )
        kept[gone] = False


def _masks(coupling: Coupling, param: Param, entry: Entry) -> list[Mask]:
    """Per axis that the entry cuts, what it keeps, broadcastable to the param's view."""
    where = tensor_axes(coupling.notes, param)
    rank = len(param.view)
    nested = entry.get("blocks", {})
    masks: list[Mask] = []
    for axis in sorted(entry["keep"], key=lambda axis: (axis in nested, int(axis))):
        kept = rows_of(entry, axis)
        fine = [a for a, t in where.items() if t == int(axis)]
        size = int(np.prod([param.view[a] for a in fine]))
        if any(i >= size for row in kept for i in row):
            raise UsageError(
                f"the plan does not fit: it keeps positions beyond axis {axis} of "
                f"{param.tensor}; {ADVICE}"
            )
        outer: list[int] = []
        if axis in nested:
            outer = _outer_axes(param, fine)
            if not outer:
                raise _coupled_differently(param.tensor)
        block = np.ones([param.view[a] for a in outer], bool)
        for mask in masks if outer else ():
            rest = tuple(a for a in range(rank) if a not in outer)
            block = block & mask.any(rest).reshape([mask.shape[a] for a in outer])
        rows = np.zeros((block.size, size), np.int64)
        blocks = np.flatnonzero(block)
        if axis in nested and len(blocks) != len(kept):
            raise _coupled_differently(param.tensor)
        for row, positions in zip(blocks, kept, strict=True):
            rows[row, positions] = 1
        dense = rows.reshape([param.view[a] for a in (*outer, *fine)])
        masks.append(labels.lay(dense, [*outer, *fine], rank).ids != 0)
    return masks


def _outer_axes(param: Param, fine: list[int]) -> list[int]:
    """The axes of the view whose blocks keep different positions along `fine`."""
    inner = [p for _, p in param.maps if p.axes and p.axes[-1] in fine]
    return sorted({a for p in inner for a in p.axes} - set(fine))


def _compare(coupling: Coupling, plan: Plan, kept: KeptUnits) -> None:
    """The found choice must fit, and keep of every tensor what the plan says."""
    try:
        errors = misplaced(coupling, kept)
        if errors:
            raise errors[0]
        found = plan_of(coupling, kept).tensors
    except MisplacedError as error:
        raise UsageError(f"the plan does not fit this model ({error}); {ADVICE}") from error
    for name, entry in plan.tensors.items():
        if name in coupling.graph.consts and _said(found.get(name)) != _said(entry):
            raise _coupled_differently(name)


def _said(entry: Entry | None) -> list[tuple[Any, ...]]:
    """What an entry says about kept positions, use by use."""
    parts = [] if entry is None else [entry, *entry.get("others", ())]
    return [
        (part.get("use", 0), part["new_shape"], part["keep"], part.get("blocks", {}))
        for part in parts
    ]


def _coupled_differently(name: str | None) -> UsageError:
    return UsageError(f"the plan does not fit: this model couples {name} differently; {ADVICE}")
