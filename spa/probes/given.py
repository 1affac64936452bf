"""Calibration data, fitted to the inputs of a model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from spa.errors import UsageError
from spa.graph.model import Graph
from spa.probes import files
from spa.probes.held import fitting
from spa.probes.pictures import Picture
from spa.probes.probe import Array, Rows
from spa.probes.roles import Role
from spa.probes.scale import Scale
from spa.probes.sizes import Sizes
from spa.recipe import Held

Pictures = Mapping[str, tuple[Picture, Scale]]


def from_data(
    graph: Graph,
    sizes: Sizes,
    data: files.Data | Held,
    pictures: Pictures,
    others: Mapping[str, Role],
) -> dict[str, Role]:
    """Roles of the inputs that `data` has something for; a note on each of the others.

    Raises:
        UsageError: nothing in the data fits, or what has the name of an input does not fit it.
    """
    if isinstance(data, Held):
        data = fitting(data, graph, sizes, pictures)
    only = next(iter(pictures)) if len(pictures) == 1 else None
    only = graph.inputs[0] if len(graph.inputs) == 1 else only
    if data.pictures and (only is None or only not in pictures):
        raise UsageError(
            "a folder of pictures is for a model with one picture input; "
            f"give a .npz with arrays named {', '.join(graph.inputs)}"
        )
    found: dict[str, Role] = {}
    for name in graph.inputs:
        if data.pictures and name == only:
            found[name] = _from_pictures(data.pictures, *pictures[name], None)
            continue
        rank = len(graph.shapes[name])
        array = files.pick(data, name, name == only, rank)
        if array is None:
            continue
        if not len(array):
            raise UsageError(f"there are no rows for input '{name}'; give at least one")
        if name in pictures:
            picture, wanted = pictures[name]
            single = (array.ndim == 3 and picture.channels > 1) or array.ndim == 1
            rows = array[None] if single else array
            found[name] = _from_pictures(rows, picture, wanted, data.scale)
        else:
            found[name] = _from_rows(graph, sizes, name, array)
    if not found:
        keys = ", ".join(key for key in data.arrays if key) or "one array"
        raise UsageError(
            f"the data holds {keys}, but the model's inputs are {', '.join(graph.inputs)}; "
            "name the arrays after the inputs"
        )
    for name, role in others.items():
        if name not in found:
            note = "is not in the data and was made up"
            found[name] = Role(role.kind, role.words, role.draw, role.sequence, note=note)
    return found


def _from_pictures(
    source: Sequence[Array] | Array, picture: Picture, wanted: Scale, divisor: float | None
) -> Role:
    rows = files.as_pictures(source, picture, wanted, divisor)
    rows([0])  # complains now rather than later

    def draw(wanted: Rows, shape: tuple[int, ...]) -> Array:
        return picture.arrange(rows(wanted), shape)

    if source[0].dtype.kind not in "iu":
        values = "as they are"
    else:
        values = wanted.words if divisor is None else f"divided by {divisor:g}"
    words = f"{picture.layout} pictures given, {values}"
    return Role("calib", words, draw, available=len(source), picture=picture)


def _from_rows(graph: Graph, sizes: Sizes, name: str, array: Array) -> Role:
    """Rows of anything else, of the shape the model wants."""
    axis, shape, symbols = sizes.batch[name], graph.shapes[name], sizes.open[name]
    row = [size for k, size in enumerate(shape) if k != axis]
    free = [size is not None for k, size in enumerate(symbols) if k != axis]
    if array.ndim == len(row):  # one row, or the whole of an input without a batch
        array = array[None]
    elif axis:
        array = np.moveaxis(array, axis, 0)
    fits = array.ndim == len(row) + 1 and all(
        have == want or open_ for have, want, open_ in zip(array.shape[1:], row, free, strict=False)
    )
    if not fits:
        raise UsageError(
            f"the data for input '{name}' has shape {list(array.shape)} but the model takes "
            f"{list(shape)}; give [rows, {', '.join(map(str, row))}]"
        )
    if graph.dtypes[name].kind in "iu" and array.dtype.kind == "f" and (array % 1 != 0).any():
        raise UsageError(
            f"the data for input '{name}' has fractions but the model takes "
            f"{graph.dtypes[name]}; give whole numbers"
        )
    lengths = [have for have, open_ in zip(array.shape[1:], free, strict=True) if open_]
    kind = graph.dtypes[name].kind
    sequence = bool(lengths) and kind in "iu"

    def draw(rows: Rows, wanted: tuple[int, ...]) -> Array:
        return np.asarray(array[np.asarray(rows) % len(array)])

    length = lengths[0] if sequence else None
    if axis is None:
        return Role("calib", "rows given", draw, sequence, length, turns=len(array))
    return Role("calib", "rows given", draw, sequence, length, len(array))
