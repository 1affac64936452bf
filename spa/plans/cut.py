"""From a choice of units to a plan: the kept positions of every stored tensor."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spa import labels
from spa.coupling.describe import tensor_axes
from spa.coupling.model import Coupling, KeptUnits
from spa.plans.model import Entry, GroupEntry, Plan
from spa.trace import Kept, Param, merged


def plan_of(
    coupling: Coupling,
    kept: KeptUnits,
    recipe: Mapping[str, Any] | None = None,
    rotated: tuple[str, ...] = (),
) -> Plan:
    """The plan that keeps the units in `kept` (bool `[labels]`, by unit).

    `rotated` names the tensors whose channels were mixed before the choice.

    Where two uses of one tensor keep different positions, the entry of the tensor describes the
    first use that is cut, and `others` those that keep something else.
    """
    left = Kept(coupling.notes, coupling.root, kept)
    tensors: dict[str, Entry] = {}
    for name, uses in coupling.notes.uses().items():
        cut = [u for u in uses if any(left.touched(p) for _, p in u.maps)]
        if cut:
            tensors[name] = _entry_of_all(coupling, uses, uses.index(cut[0]), left)
    groups: tuple[GroupEntry, ...] = tuple(
        {
            "id": g.id,
            "name": g.name,
            "before": g.channels,
            "after": int(kept[g.cells].sum()),
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
        rotated=tuple(sorted(rotated)),
    )


def _entry_of_all(coupling: Coupling, uses: list[Param], first: int, left: Kept) -> Entry:
    entry = entry_of(coupling, uses[first], left)
    others: list[Entry] = []
    for k, use in enumerate(uses):
        other = entry if k == first else entry_of(coupling, use, left)
        if other != entry:
            node = coupling.graph.at(use.node).name
            others.append({"use": k, "node": node, "input": use.input, **other})
    if not others:
        return entry
    return {**entry, "use": first, "others": others}


def entry_of(coupling: Coupling, param: Param, left: Kept) -> Entry:
    """Shape, new shape and kept positions per axis of what one use keeps of a tensor."""
    shape = coupling.graph.shapes[param.stored]
    where = tensor_axes(coupling.notes, param)
    keep: dict[str, list[int | list[int]]] = {}
    blocks: dict[str, dict[str, int]] = {}
    for axis in sorted(set(where.values())):
        fine = [a for a, t in where.items() if t == axis]
        rows, outer = _kept_rows(param, fine, left)
        if rows.all():
            continue
        if (rows == rows[:1]).all():
            keep[str(axis)] = [*np.flatnonzero(rows[0]).tolist()]
            continue
        keep[str(axis)] = [np.flatnonzero(row).tolist() for row in rows]
        counts: dict[str, int] = {}
        for a, n in outer.items():
            counts[str(where[a])] = counts.get(str(where[a]), 1) * n
        blocks[str(axis)] = counts
    new = merged(shape, param.view, left.view(param)[0])
    entry: Entry = {"shape": list(shape), "new_shape": list(new), "keep": keep}
    if blocks:
        entry["blocks"] = blocks
    return entry


def _kept_rows(
    param: Param, fine: list[int], left: Kept
) -> tuple[NDArray[np.bool_], dict[int, int]]:
    """What is kept along the view's axes `fine`, bool `[kept blocks, positions]`.

    Blocks lie along earlier axes of the same map (the groups of a grouped convolution, for one);
    how many of them are kept, by axis, is the second result.
    """
    mask = np.ones((1,) * len(param.view), bool)
    outer: set[int] = set()
    for p in (labels.tighten(p) for _, p in param.maps if left.touched(p)):
        kept: NDArray[np.bool_] = left.flags[p.ids]
        others = tuple(set(p.axes) - set(fine))
        if len(others) == len(p.axes):
            continue
        if p.axes[-1] in fine:
            outer |= set(others)
        else:  # the blocks of a later axis: kept where anything in them is
            kept = np.any(kept, others, keepdims=True)
        mask = mask & kept
    along = sorted(outer)
    sizes = [n if a in fine or a in outer else 1 for a, n in enumerate(param.view)]
    full = np.moveaxis(np.broadcast_to(mask, sizes), along, range(len(along)))
    blocks = full.reshape(*full.shape[: len(along)], -1)
    stays: NDArray[np.bool_] = np.asarray(blocks.any(-1))
    box = labels.extent(stays) or ()
    return blocks[stays].reshape(-1, blocks.shape[-1]), dict(zip(along, box, strict=False))
