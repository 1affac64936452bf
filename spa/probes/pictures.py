"""Which inputs are pictures, and how their axes are laid out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spa.graph.model import Graph, Node
from spa.probes.uses import Entry
from spa.rules import trait_of

COLOURS = (1, 3, 4)
SMALLEST = 8  # pixels of the shorter side of anything that is a picture
FLAT = {784: (28, 28, 1), 3072: (32, 32, 3)}
"""Pictures that come as one long row in well-known data sets."""


@dataclass(frozen=True)
class Picture:
    """One picture: its size and whether channels come last; `flat` if it comes as one row."""

    channels: int
    height: int
    width: int
    last: bool = False
    flat: bool = False

    @property
    def layout(self) -> str:
        """As people write it."""
        return ("flattened " if self.flat else "") + ("NHWC" if self.last else "NCHW")

    def arrange(self, pixels: NDArray[Any], shape: tuple[int, ...]) -> NDArray[Any]:
        """From `[rows, channels, height, width]` to what the model takes."""
        laid = np.moveaxis(pixels, 1, -1) if self.last else pixels
        return laid.reshape(len(pixels), *shape)

    def pixels(self, given: NDArray[Any]) -> NDArray[Any]:
        """Back, from what the model takes to `[rows, channels, height, width]`."""
        if self.flat:
            sides = self.height, self.width
            inner = (*sides, self.channels) if self.last else (self.channels, *sides)
            given = given.reshape(len(given), *inner)
        return np.moveaxis(given, -1, 1) if self.last else given


def picture_of(graph: Graph, shape: tuple[int, ...], found: Entry) -> Picture | None:
    """How an input of `shape`, without its batch axis, is a picture; None if it is not."""
    if len(shape) == 3:
        return _layout(shape, _channels_last(graph, found))
    if len(shape) == 1:
        return _unfolded(graph, shape[0], found)
    return None


def _layout(shape: tuple[int, ...], last: bool | None) -> Picture | None:
    first = Picture(shape[0], shape[1], shape[2])
    final = Picture(shape[2], shape[0], shape[1], last=True)
    if last is None:
        last = first.channels not in COLOURS and final.channels in COLOURS
    chosen = final if last else first
    return chosen if min(chosen.height, chosen.width) >= SMALLEST else None


def _channels_last(graph: Graph, found: Entry) -> bool | None:
    """Whether the model itself moves channels from the end to the front; None if unclear."""
    if any(list(n.attrs.get("perm", ())) in ([0, 3, 1, 2], [2, 0, 1]) for n in found.passed):
        return True
    direct = found.node is not None and trait_of(found.node).convolves
    return False if direct and not any(_reshapes(graph, n) for n in found.passed) else None


def _reshapes(graph: Graph, node: Node) -> bool:
    """Whether a node makes a tensor of another form of the same numbers."""
    before, after = (graph.shapes.get(name) for name in (node.inputs[0], node.outputs[0]))
    return trait_of(node).linear == "reshapes" and before != after


def _unfolded(graph: Graph, size: int, found: Entry) -> Picture | None:
    """A row of numbers that the model folds into a picture first thing, or one of a known size."""
    for node in found.passed:
        shape = graph.shapes.get(node.outputs[0], ())
        if _reshapes(graph, node) and len(shape) == 4 and shape[1] * shape[2] * shape[3] == size:
            inner = _layout(shape[1:], None)
            if inner is not None and inner.channels in COLOURS:
                return Picture(inner.channels, inner.height, inner.width, inner.last, flat=True)
    if size in FLAT:
        height, width, channels = FLAT[size]
        return Picture(channels, height, width, flat=True)
    return None
