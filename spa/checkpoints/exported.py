"""An exported file as checkpoints see it: what it stores, and what stands side by side."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from spa.graph.model import Graph
from spa.rules import trait_of

Array: TypeAlias = NDArray[Any]
Arrays: TypeAlias = Mapping[str, Array]


@dataclass(frozen=True)
class Exported:
    """What an ONNX file stores of floating point.

    Attributes:
        tensors: by name.
        beside: by tensor, the others that the nodes which read it read as well, in order.
        next: by tensor, those that the nodes which read what comes of it read, also where it was
            only moved between.
        adds: those that nodes add to something.
        subtracts: those that nodes subtract from something.
    """

    tensors: Arrays
    beside: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    next: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    adds: frozenset[str] = frozenset()
    subtracts: frozenset[str] = frozenset()

    @classmethod
    def of(cls, graph: Graph) -> Exported:
        """What the nodes of a graph read that is stored, or computed of nothing but that."""
        read = {name for node in graph.order for name in node.inputs}
        known = {name: graph.consts[name] for name in graph.consts if name in read}
        tensors = {name: value for name, value in known.items() if is_float(value)}
        beside: dict[str, tuple[str, ...]] = {}
        after: dict[str, tuple[str, ...]] = {}
        made: dict[str, list[str]] = {}
        adds: set[str] = set()
        subtracts: set[str] = set()
        for node in graph.order:
            trait = trait_of(node)
            stored = [name for name in node.inputs if name in tensors]
            before = {n for name in node.inputs for n in made.get(name, ())}
            for name in stored:
                _add(beside, name, [n for n in stored if n != name])
            for name in before:
                _add(after, name, stored)
            if trait.linear == "adds":
                adds.update(stored)
            if trait.linear == "subtracts" and node.inputs[0] not in tensors:
                subtracts.update(stored)
            passed = sorted(before) if not stored and (trait.moves or trait.hands_on) else stored
            made.update(dict.fromkeys(node.outputs, passed))
        return cls(tensors, beside, after, frozenset(adds), frozenset(subtracts))


def _add(links: dict[str, tuple[str, ...]], name: str, others: Iterable[str]) -> None:
    links[name] = tuple(dict.fromkeys((*links.get(name, ()), *others)))


def is_float(array: Array) -> bool:
    """Whether an array holds numbers that are trained: floats of any width, bfloat16 as well."""
    return array.dtype.kind == "f" or array.dtype.name in ("bfloat16", "float8_e4m3fn")


def same_numbers(left: Array, right: Array) -> bool:
    """Whether two arrays hold the same single-precision numbers in the same order."""
    return np.array_equal(left.reshape(-1).astype(np.float32), right.reshape(-1).astype(np.float32))
