"""Evaluates single nodes on small arrays with ONNX's own reference implementations.

Shape arithmetic runs through here (about 20 microseconds a node), so that the shapes behind it
are known without starting an inference engine.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import numpy as np
import onnx

SMALL = 4096  # elements up to which a tensor counts as small enough to be evaluated and kept


def words(text: str) -> frozenset[str]:
    """The words of a text as a set: how this package writes lists of op names."""
    return frozenset(text.split())


RANDOM = words(
    "Bernoulli Multinomial RandomNormal RandomNormalLike RandomUniform RandomUniformLike"
)
QUANTIZERS = words("QuantizeLinear DequantizeLinear DynamicQuantizeLinear")
BOUNDED = words("NonZero Unique Compress")
"""Ops whose output size depends on data but is bounded by the size of what they read."""
WILD = words(
    "TfIdfVectorizer RegexFullMatch StringNormalizer StringSplit StringConcat "
    "NonMaxSuppression RoiAlign MaxRoiPool"
)
"""Ops whose work their sizes do not bound; no shape and no weight is made by one."""

MEASURES = words(
    "kernel_shape pads dilations output_padding strides size sampling_ratio hidden_size"
)
"""Attributes that say how much is computed beyond what the sizes say."""


DATA_DEPENDENT = BOUNDED | words("NonMaxSuppression Loop StringSplit TfIdfVectorizer")
"""Ops whose output size one run says nothing about."""


def attribute_of(node: onnx.NodeProto, name: str, default: object = None) -> Any:
    """The value of an attribute as onnx gives it, or `default`."""
    stated = (a for a in node.attribute if a.name == name)
    return next(map(onnx.helper.get_attribute_value, stated), default)


def has_subgraph(node: onnx.NodeProto) -> bool:
    """Whether a node carries graphs of its own (If, Loop, Scan, SequenceMap)."""
    graphs = (onnx.AttributeProto.GRAPH, onnx.AttributeProto.GRAPHS)
    return any(attribute.type in graphs for attribute in node.attribute)


def is_pure(node: onnx.NodeProto) -> bool:
    """Whether a node's outputs follow from its inputs alone, by rules that ONNX states."""
    if node.domain not in ("", "ai.onnx") or node.op_type in RANDOM or has_subgraph(node):
        return False
    if node.op_type in WILD:
        return False
    # Dropout with a third input may be in training mode.
    return node.op_type != "Dropout" or len(node.input) < 3


def windows(node: onnx.NodeProto) -> float:
    """How many elements one element of a result is made of, as attributes say it."""
    factor = 1.0
    for attribute in node.attribute:
        if attribute.name in ("kernel_shape", "size", "sampling_ratio"):
            factor *= math.prod(max(1.0, abs(float(i))) for i in (*attribute.ints, attribute.i))
    return factor


def _measured(node: onnx.NodeProto) -> bool:
    """Whether attributes ask for no more than a small tensor has."""
    stated = (a for a in node.attribute if a.name in MEASURES)
    most = [max(map(abs, (*attribute.ints, attribute.i))) for attribute in stated]
    return max(most, default=0) <= SMALL and windows(node) <= SMALL


@lru_cache(maxsize=1024)
def schema_of(op: str, version: int, domain: str) -> onnx.defs.OpSchema | None:
    """The schema of an operator, or None if ONNX has none."""
    try:
        return onnx.defs.get_schema(op, version, domain)
    except onnx.defs.SchemaError:
        return None


@lru_cache(maxsize=512)
def _implementation(op: str, version: int) -> Any:
    try:
        from onnx.reference.ops._op_list import load_op

        return load_op("", op, version)
    except Exception:  # the reference has no such op or only as a function
        return None


def evaluate(
    node: onnx.NodeProto, version: int, inputs: Sequence[np.ndarray | None]
) -> tuple[np.ndarray, ...] | None:
    """The outputs of `node` on `inputs`, or None where the reference cannot tell."""
    implementation = _implementation(node.op_type, version)
    if implementation is None or not _measured(node):
        return None
    parameters = {"log": _ignore, "opsets": {"": version}, "verbose": 0, "new_ops": None}
    try:
        with warnings.catch_warnings(), np.errstate(all="ignore"):
            warnings.simplefilter("ignore")
            outputs = implementation(node, parameters).run(*inputs)
    except Exception:  # whatever goes wrong in it: the value stays unknown
        return None
    if not all(isinstance(value, np.ndarray | np.generic) for value in outputs):
        return None
    return tuple(np.asarray(value) for value in outputs)


def _ignore(*_: object) -> None:
    """The reference wants somebody to log to."""
