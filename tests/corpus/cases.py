"""Node tests of the onnx wheel, and every way of feeding labels to them."""

from __future__ import annotations

import itertools
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from onnx import ModelProto, TensorProto, numpy_helper

Layout = tuple[tuple[int, ...], ...]
"""The index maps to lay over an input: each is a tuple of axes."""

ACROSS = 3
"""Up to so many inputs get labels in every combination of single axes."""


@dataclass(frozen=True)
class Case:
    """One node test: `key` is its operator, with a word where that is spelt out in others."""

    name: str
    key: str
    model: ModelProto
    arrays: Mapping[str, np.ndarray]


@dataclass(frozen=True)
class Variant:
    """A case of which only the inputs `moving` are activations; the others are stored."""

    case: Case
    model: ModelProto
    feeds: Mapping[str, np.ndarray]


@lru_cache(maxsize=1)
def cases() -> tuple[Case, ...]:
    """Every node test whose inputs are tensors."""
    from onnx.backend.test.case.node import collect_testcases

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        tests = collect_testcases(None)
    single = {t.name: t.model.graph.node[0] for t in tests if len(t.model.graph.node) == 1}
    found = []
    for test in tests:
        arrays = [_array(x) for x in test.data_sets[0][0]]
        inputs = [info.name for info in test.model.graph.input]
        if any(a is None for a in arrays) or len(inputs) != len(arrays):
            continue
        whole = test.name.partition("_expanded")[0]
        node = single.get(whole) or test.model.graph.node[0]
        key = f"{node.domain}.{node.op_type}" if node.domain else node.op_type
        if test.name != whole:
            key += " (expanded)"
        elif len(test.model.graph.node) > 1:
            key += " (several)"
        found.append(Case(test.name, key, test.model, dict(zip(inputs, arrays, strict=True))))
    return tuple(found)


def _array(value: Any) -> np.ndarray | None:
    if isinstance(value, TensorProto):
        value = numpy_helper.to_array(value)
    return None if value is None or isinstance(value, list) else np.asarray(value)


def variants(case: Case) -> Iterator[Variant]:
    """All inputs as activations; only those of the main type; each alone beside stored ones."""
    names = [n for n, a in case.arrays.items() if a.size]  # sizes of 0 mean nothing to a reader
    first = (
        [n for n in names if case.arrays[n].dtype == case.arrays[names[0]].dtype] if names else []
    )
    choices = [tuple(names), tuple(first), *((n,) for n in names if case.arrays[n].size > 1)]
    for moving in dict.fromkeys(filter(None, choices)):
        yield Variant(case, _stored(case, moving), {n: case.arrays[n] for n in moving})


def _stored(case: Case, moving: tuple[str, ...]) -> ModelProto:
    """The model with every input that is not moving made an initializer."""
    model = ModelProto()
    model.CopyFrom(case.model)
    inputs = [info for info in case.model.graph.input if info.name in moving]
    del model.graph.input[:]
    model.graph.input.extend(inputs)
    for name, array in case.arrays.items():
        if name not in moving:
            model.graph.initializer.append(numpy_helper.from_array(array, name))
    for info in model.graph.input:
        shape(info, case.arrays[info.name].shape)
    return model


def shape(info: Any, sizes: tuple[int, ...] | None) -> None:
    """Declare the shape of a graph input or output; None: do not declare any."""
    info.type.tensor_type.ClearField("shape")
    for n in sizes or ():
        info.type.tensor_type.shape.dim.add().dim_value = n
    if sizes == ():
        info.type.tensor_type.shape.SetInParent()


def layouts(variant: Variant) -> list[dict[str, Layout]]:
    """Every way of feeding labels: none, one axis or two of one input, one axis of several."""
    ways: list[dict[str, Layout]] = [{}]
    single: dict[str, list[Layout]] = {}
    for name, array in variant.feeds.items():
        axes = [a for a, n in enumerate(array.shape) if n > 1 and 0 not in array.shape]
        axes = [] if array.dtype == object else axes
        single[name] = [((a,),) for a in axes]
        for a, b in itertools.combinations(axes, 2):
            ways += [{name: ((a, b),)}, {name: ((a,), (b,))}]
    movable = [n for n in single if single[n]]
    if len(movable) <= ACROSS:
        combinations = itertools.product(*([None, *single[n]] for n in movable))
        for chosen in combinations:
            ways.append({n: c for n, c in zip(movable, chosen, strict=True) if c})
    else:  # many inputs: the same axis, from the front or from the back, on all of them
        ranks = {n: variant.feeds[n].ndim for n in movable}
        ways += [{n: way} for n in movable for way in single[n]]
        for a in range(-max(ranks.values()), max(ranks.values())):
            at = {n: a if a >= 0 else a + ranks[n] for n in movable}
            ways.append({n: ((at[n],),) for n in movable if ((at[n],),) in single[n]})
    return [dict(w) for w in dict.fromkeys(tuple(sorted(w.items())) for w in ways)]
