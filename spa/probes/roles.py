"""What each input that is not a picture is for, and the stream that feeds it."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from spa.coupling.view import trait_at
from spa.graph.model import Graph
from spa.probes import uses
from spa.probes.noise import vectors
from spa.probes.pictures import Picture
from spa.probes.probe import Array, Draw, Inputs, Rows
from spa.probes.tokens import Vocabulary, positions, tokens, vocabulary
from spa.probes.uses import Integers
from spa.registry import INPUTS
from spa.rules import trait_of

LONG = 256  # numbers along an axis from which they may be a signal
TYPES = 4  # rows of a table of token types at most
PLACES = 64  # rows of a table of positions at least


@dataclass(frozen=True)
class Role:
    """What an input is (`kind`), in words, and how its rows are drawn."""

    kind: str
    words: str
    draw: Draw
    sequence: bool = False  # token ids, whose open axes are lengths
    length: int | None = None  # of sequences read from files
    available: int | None = None  # rows there are, None for any number
    turns: int | None = None  # different runs there are, where an input from files has no rows
    note: str = ""
    picture: Picture | None = None


def integer_roles(graph: Graph, names: list[str], seed: int) -> dict[str, Role]:
    """The roles of all integer and boolean inputs, which hang together."""
    found = {name: uses.integers(graph, name) for name in names}
    widest: dict[tuple[int, ...], int] = {}
    for name, use in found.items():
        shape = graph.shapes[name]
        widest[shape] = max(widest.get(shape, 0), use.limit or 0)
    return {
        name: _integer(graph, name, use, widest[graph.shapes[name]], seed)
        for name, use in found.items()
    }


def _integer(graph: Graph, name: str, use: Integers, widest: int, seed: int) -> Role:
    dtype, shape = graph.dtypes[name], graph.shapes[name]
    if dtype.kind == "b":
        value = not uses.masks_out(graph, name)
        return _constant("mask", "nothing masked", float(value))
    if use.limit is not None:
        if use.limit <= TYPES and widest > TYPES:
            return _constant("types", "token types 0", 0)
        if PLACES <= use.limit < widest and "pos" in name.lower():
            return Role("positions", "positions", positions)
        return _tokens(graph, name, use, seed)
    if use.compared:
        return _constant("known", f"{use.compared[0]}, which the model knows", use.compared[0])
    if dtype.itemsize == 1:
        return Role("bytes", "bytes", _bytes(dtype, seed, name))
    words = "mask of ones" if len(shape) > 1 else "ones"
    return _constant("mask" if len(shape) > 1 else "scalar", words, 1)


def _constant(kind: str, words: str, value: float) -> Role:
    return Role(kind, words, lambda rows, shape: np.full((len(rows), *shape), value))


def _tokens(graph: Graph, name: str, use: Integers, seed: int) -> Role:
    limit = use.limit or 1
    known = [graph.consts.get(table) for table in use.tables]
    table = next((t for t in known if t is not None and len(t) == limit), None)
    fixed = table is not None or not use.tables
    words = vocabulary(limit, table) if fixed else Vocabulary("", np.arange(limit))
    named = f"tokens of {limit:,} ({words.name})" if words.name else f"indices below {limit:,}"
    draw = partial(tokens, vocabulary=words, seed=seed, name=name)
    return Role("tokens", named, draw, sequence=fixed)


def _bytes(dtype: np.dtype[Any], seed: int, name: str) -> Draw:
    low, high = np.iinfo(dtype).min, np.iinfo(dtype).max

    def draw(rows: Rows, shape: tuple[int, ...]) -> Array:
        normal = vectors(rows, shape, seed=seed, name=name)
        middle, spread = (0, 32) if low < 0 else (115, 57)
        return np.asarray(np.clip(np.rint(middle + spread * normal), low, high))

    return draw


def signal_axis(graph: Graph, name: str, shape: tuple[int, ...]) -> int | None:
    """The time axis of a row of `shape` that is a signal; None if it is not one."""
    if len(shape) not in (1, 2):
        return None
    symbols = graph.dynamic.get(name) or (None,) * len(graph.shapes[name])
    is_open = [symbol is not None for symbol in symbols[len(symbols) - len(shape) :]]
    convolved = _convolved(graph, name)
    if len(shape) == 1:
        inside = _convolved_inside(graph, name)
        return 0 if (shape[0] >= LONG or is_open[0]) and (convolved or inside) else None
    if convolved:
        return 0 if shape[1] <= 8 < LONG <= shape[0] else 1
    return None


def _convolved_inside(graph: Graph, name: str) -> bool:
    """Whether a subgraph that sees the input convolves something."""
    bodies = [
        value
        for node in graph.readers.get(name, ())
        if name in node.captured
        for value in node.attrs.values()
        if hasattr(value, "node")
    ]
    while bodies:
        for node in bodies.pop().node:
            like = trait_at(node)
            if like.convolves or like.spectral:
                return True
            bodies += [a.g for a in node.attribute if a.HasField("g")]
    return False


def _convolved(graph: Graph, name: str) -> bool:
    """Whether a convolution or a transform along time is among the first things done to it."""
    todo, seen = [(name, 0)], {name}
    while todo:
        tensor, depth = todo.pop()
        for node in graph.readers.get(tensor, ()):
            like = trait_of(node)
            if like.convolves or like.spectral:
                return True
            carried = like.linear not in (None, "multiplies") or uses.passes(node)
            if carried and depth < 16 and node.outputs[0] not in seen:
                seen.add(node.outputs[0])
                todo.append((node.outputs[0], depth + 1))
    return False


def float_role(graph: Graph, name: str, shape: tuple[int, ...], seed: int, kind: str) -> Role:
    """The role of a float input that is no picture; `kind` overrides what it looks like."""
    of = subject(kind)
    time = signal_axis(graph, name, shape) if kind == "auto" or of == "signals" else None
    if time is None and of == "signals" and shape:
        time = len(shape) - 1
    if time is None:
        kind = kind if of == "numbers" else "vectors"
        return Role(kind, noun_of(kind), partial(INPUTS.get(kind), seed=seed, name=name))
    kind = kind if of == "signals" else "audio"
    return Role(kind, noun_of(kind), _signal(INPUTS.get(kind), seed, name, time))


def subject(kind: str) -> str:
    """What a kind is about: `pictures`, `signals` or `numbers`; empty if it is none of these."""
    if kind not in INPUTS.own and not INPUTS.offers(kind):
        return ""
    return "" if kind in INPUTS.more else str(INPUTS.says(kind, "of"))


def noun_of(kind: str) -> str:
    """What a sentence calls the inputs of a kind."""
    return str(INPUTS.says(kind, "noun")) or kind


def normal(seed: int, name: str, kind: str, words: str) -> Role:
    """Standard normal numbers."""
    return Role(kind, words, partial(vectors, seed=seed, name=name))


def _signal(make: Inputs, seed: int, name: str, time: int) -> Draw:
    def draw(rows: Rows, shape: tuple[int, ...]) -> Array:
        length = shape[time]
        channels = int(np.prod(shape)) // max(1, length)
        found = make(rows, (channels, length), seed=seed, name=name)
        moved = tuple(size for axis, size in enumerate(shape) if axis != time)
        return np.moveaxis(found.reshape(len(rows), *moved, length), -1, time + 1)

    return draw


def default(array: Array) -> Role:
    """The same value for every row: what spa feeds a model it knows nothing else for."""

    def draw(rows: Rows, shape: tuple[int, ...]) -> Array:
        value = np.asarray(array.reshape(-1)[0]) if array.size else np.asarray("", object)
        return np.full((len(rows), *shape), value, array.dtype)

    return Role("default", "one value", draw, note="holds strings; all rows get the same")
