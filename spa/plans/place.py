"""From a plan back to a choice of units, on the same model, a fresh export, or a changed one."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from spa.coupling.describe import tensor_axes
from spa.coupling.model import Coupling
from spa.errors import UsageError
from spa.plans.cut import plan_of
from spa.plans.model import Plan
from spa.trace.param import Param


def place(coupling: Coupling, plan: Plan) -> tuple[NDArray[np.bool_], tuple[str, ...]]:
    """Find what the plan keeps in this graph.

    Returns:
        bool `[labels]` by unit, and the plan's tensors that this model does not have (they follow
        from the others, as after folding BatchNormalization).

    Raises:
        UsageError: a tensor has another shape, cannot be cut, or would be cut differently.
    """
    alive = coupling.everything()
    uses: dict[str, list[Param]] = {}
    for param in coupling.notes.params.values():
        if param.tensor is not None:
            uses.setdefault(param.tensor, []).append(param)
    missing = tuple(sorted(set(plan.tensors) - set(uses)))
    _demand_cover(plan, set(uses))
    for name, entry in plan.tensors.items():
        for param in uses.get(name, ())[:1]:
            if list(coupling.graph.shapes[name]) != list(entry["shape"]):
                raise UsageError(
                    f"the plan does not fit: {name} has shape {list(coupling.graph.shapes[name])}, "
                    f"the plan was made for {entry['shape']}; make a new plan with `spa plan`"
                )
            _kill(coupling, param, entry, alive)
    if not alive[0]:
        alive[0] = True
        raise UsageError(
            "the plan does not fit: it removes channels that are frozen in this model; "
            "`spa inspect --frozen` says why"
        )
    _compare(coupling, plan, alive)
    return alive, missing


def _demand_cover(plan: Plan, known: set[str]) -> None:
    """Every group that is cut must own at least one tensor that this model has."""
    for group in plan.groups:
        if group["after"] < group["before"] and not known & set(group["tensors"]):
            raise UsageError(
                f"the plan does not fit: the model has no initializer {group['name']}, nor any other "
                "of its group; export with the same names, or make a new plan with `spa plan`"
            )


def _kill(coupling: Coupling, param: Param, entry: dict[str, Any], alive: NDArray[np.bool_]) -> None:
    """Mark the units dead that own the positions the entry drops."""
    where = tensor_axes(coupling.notes, param)
    for axis, kept in entry["keep"].items():
        fine = [a for a, t in where.items() if t == int(axis)]
        size = int(np.prod([param.view[a] for a in fine]))
        nested = bool(kept) and isinstance(kept[0], list)
        if any(i < 0 or i >= size for row in (kept if nested else [kept]) for i in row):
            raise UsageError(f"the plan does not fit: it keeps positions beyond axis {axis} of {param.tensor}")
        for _, plane in param.planes:
            inside = [a for a in plane.axes if a in fine]
            if not inside or (nested and set(plane.axes) <= set(fine)):
                continue
            if nested:
                _kill_rows(coupling, plane, inside, kept, alive)
            elif set(plane.axes) <= set(fine):
                mask = np.zeros(size, bool)
                mask[kept] = True
                shape = [n if a in fine else 1 for a, n in enumerate(param.view)]
                gone = np.broadcast_to(plane.ids, shape)[~mask.reshape(shape)]
                stays = np.broadcast_to(plane.ids, shape)[mask.reshape(shape)]
                alive[np.setdiff1d(coupling.root[gone], coupling.root[stays])] = False


def _kill_rows(coupling, plane, inside, kept, alive) -> None:
    rows = coupling.root[plane.rows()]
    if len(rows) != len(kept) or len(plane.axes) == len(inside):
        return  # whole blocks are gone: another axis says so
    mask = np.zeros(rows.shape, bool)
    for row, positions in zip(mask, kept, strict=True):
        row[positions] = True
    alive[np.setdiff1d(rows[~mask], rows[mask])] = False


def _compare(coupling: Coupling, plan: Plan, alive: NDArray[np.bool_]) -> None:
    """What the found choice keeps of every tensor must be what the plan says."""
    try:
        found = plan_of(coupling, alive).tensors
    except Exception as error:
        raise UsageError(
            f"the plan does not fit this model ({error}); make a new plan with `spa plan`"
        ) from error
    for name, entry in plan.tensors.items():
        if name in coupling.graph.consts and found.get(name, {}).get("keep") != entry["keep"]:
            raise UsageError(
                f"the plan does not fit: this model couples {name} differently; "
                "make a new plan with `spa plan`"
            )
