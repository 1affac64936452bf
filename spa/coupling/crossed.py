"""Weights that the graph computes: rows and columns of what they are computed from.

A bank of experts holds every expert's weight laid out flat, and only a Reshape behind its product
tells which of the numbers are of one output and which of one input.  Labels are made before that:
so a first sweep finds out where they cross, and a second gives each axis labels of its own.
"""

from __future__ import annotations

import numpy as np

from spa import labels
from spa.labels import Ids, Shape
from spa.trace import Collect, Factors


def factors(notes: Collect) -> Factors:
    """Of which axes those of a stored tensor are made whose labels belong to a computed weight."""
    return {**_met(notes), **_crossed(notes)}


def _met(notes: Collect) -> dict[tuple[int, int], tuple[Shape, ...]]:
    """Stored tensors that are scaled to become a weight: each axis makes labels of its own."""
    if not notes.built:
        return {}
    found: dict[tuple[int, int], tuple[Shape, ...]] = {}
    seen: set[str] = set()
    todo = list(notes.built)
    while todo:
        name = todo.pop()
        node = notes.graph.made_by.get(name)
        if name in seen or node is None:
            continue
        seen.add(name)
        todo += [n for n in node.inputs if n and n not in notes.stored]
        rank = len(notes.graph.shapes.get(name, ()))
        for i, given in enumerate(node.inputs):
            shape = notes.graph.shapes.get(given, ()) if given in notes.stored else ()
            param = notes.params.get((node.index, i))
            if param is not None and len(param.view) != rank:
                continue  # a product's weight has a form of its own
            if shape and len(shape) <= rank:
                found[node.index, i] = tuple((n,) for n in (1,) * (rank - len(shape)) + shape)
    return found


def _crossed(notes: Collect) -> dict[tuple[int, int], tuple[Shape, ...]]:
    """Weights whose labels cross behind them.

    Told by the finest form that the labels take anywhere, in the order in which they were made.
    """
    if not notes.crossings:
        return {}
    crossing = np.zeros(notes.size, bool)
    for index_map in notes.crossings:
        crossing[index_map.ids] = True
    wanted = {
        key: ids
        for key, ids in notes.made_at.items()
        if key[:2] in notes.params and crossing[ids].any()
    }
    found: dict[tuple[int, int], tuple[Shape, ...]] = {}
    for (node, i, k), ids in wanted.items():
        param = notes.params[node, i]
        index_map = param.maps[k][1]
        alone = sum(key[:2] == (node, i) for key in wanted) == 1
        form = _finest(notes, ids) if alone and index_map.ids.size == ids.size else ()
        runs = labels.cut(tuple(index_map.dense.shape), form) if len(form) > 1 else None
        if runs is None or any(len(before) > 1 and len(after) > 1 for before, after in runs):
            continue
        made_of: dict[int, Shape] = {a: (n,) for a, n in enumerate(param.view)}
        for before, after in runs:
            if len(before) == 1:
                made_of[index_map.axes[before[0]]] = tuple(form[a] for a in after)
        found[node, i] = tuple(made_of[a] for a in range(len(param.view)))
    return found


def _finest(notes: Collect, ids: Ids) -> Shape:
    """The longest shape in which some tensor has just these labels, in their order."""
    best: Shape = ()
    for image in notes.images.values():
        for p in image.maps:
            times, rest = divmod(p.ids.size, ids.size)
            if rest or not times or len(p.axes) <= len(best) or p.ids.flat[0] != ids.flat[0]:
                continue
            form = _once(p.dense.shape, times)
            rows = p.ids.reshape(times, -1)
            if len(form) > len(best) and (rows == ids.reshape(1, -1)).all():
                best = form
    return best


def _once(shape: Shape, times: int) -> Shape:
    """The shape of one of so many that lie one after the other; nothing if they do not."""
    sizes = list(shape)
    for a, size in enumerate(shape):
        if times == 1:
            break
        sizes[a] = size // times if size % times == 0 else 1
        if size % times and times % size:
            return ()
        times = 1 if size % times == 0 else times // size
    return tuple(n for n in sizes if n > 1) if times == 1 else ()
