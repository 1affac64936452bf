"""From a choice of units to a plan: the kept positions of every stored tensor."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spa import labels
from spa.coupling.describe import tensor_axes
from spa.coupling.model import Coupling
from spa.plans.model import Plan
from spa.trace.check import Survivors, merged
from spa.trace.param import Param


def plan_of(
    coupling: Coupling, alive: NDArray[np.bool_], recipe: Mapping[str, Any] | None = None
) -> Plan:
    """The plan that keeps the units in `alive` (bool `[labels]`, by unit).

    Where two uses of one tensor keep different positions, the entry of the tensor describes the
    first use, and `others` the rest, by node and input.
    """
    left = Survivors(coupling.notes, coupling.root, alive)
    tensors: dict[str, dict[str, Any]] = {}
    for param in coupling.notes.params.values():
        if param.tensor is None or not any(left.touched(p) for _, p in param.planes):
            continue
        entry = entry_of(coupling, param, left)
        first = tensors.setdefault(param.tensor, entry)
        if first is not entry and {**first, "others": 0} != {**entry, "others": 0}:
            node = coupling.graph.nodes[param.node].name
            first.setdefault("others", []).append({"node": node, "input": param.input, **entry})
    groups = tuple(
        {
            "id": g.id,
            "name": g.name,
            "before": g.channels,
            "after": int(alive[g.cells].sum()),
            "tensors": sorted({m.tensor for m in g.members}),
        }
        for g in coupling.groups
    )
    source = coupling.graph.source
    return Plan(
        tensors,
        groups,
        {"sha256": source.sha256, "opset": source.opset, "producer": source.producer},
        dict(recipe or {}),
    )


def entry_of(coupling: Coupling, param: Param, left: Survivors) -> dict[str, Any]:
    """Shape, new shape and kept positions per axis of what one use keeps of a tensor."""
    shape = coupling.graph.shapes[param.tensor]
    where = tensor_axes(coupling.notes, param)
    keep: dict[str, Any] = {}
    for axis in sorted(set(where.values())):
        fine = [a for a, t in where.items() if t == axis]
        own = [
            p
            for _, p in param.planes
            if left.touched(p) and any(a in fine for a in labels.tighten(p).axes)
        ]
        if own:
            positions = _positions(param, own, fine, where, left)
            if positions is not None:
                keep[str(axis)] = positions
    new = merged(shape, param.view, left.view(param)[0])
    return {"shape": list(shape), "new_shape": list(new), "keep": keep}


def _positions(param, planes, fine, where, left) -> Any:
    """Kept positions along the view's axes `fine`; one list per block if they differ."""
    mask = np.ones((1,) * len(param.view), bool)
    outer: set[int] = set()
    for p in planes:
        p = labels.tighten(p)
        if all(a in fine for a in p.axes):
            mask = mask & left.alive[p.ids]
        elif where[p.axes[-1]] == where[fine[-1]]:  # inputs of a grouped convolution
            mask = mask & left.alive[p.ids]
            outer |= set(p.axes) - set(fine)
    sizes = [n if a in fine or a in outer else 1 for a, n in enumerate(param.view)]
    inner = int(np.prod([param.view[a] for a in fine]))
    full = np.broadcast_to(mask, sizes)
    rows = np.moveaxis(full, sorted(outer), range(len(outer))).reshape(-1, inner)
    rows = rows[rows.any(1)]
    if rows.all():
        return None
    if (rows == rows[:1]).all():
        return np.flatnonzero(rows[0]).tolist()
    return [np.flatnonzero(row).tolist() for row in rows]
