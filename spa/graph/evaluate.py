"""Evaluates single nodes on small arrays with ONNX's own reference implementations.

Shape arithmetic runs through here (about 20 microseconds a node), so that the shapes behind it
are known without starting an inference engine.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import numpy as np
import onnx

SMALL = 4096
"""Elements up to which a tensor counts as small enough to be evaluated and kept."""


def words(text: str) -> frozenset[str]:
    """The words of a text as a set: how this package writes lists of op names."""
    return frozenset(text.split())


RANDOM = words(
    "Bernoulli Multinomial RandomNormal RandomNormalLike RandomUniform RandomUniformLike"
)
QUANTIZERS = words("QuantizeLinear DequantizeLinear DynamicQuantizeLinear")
BOUNDED = words("NonZero Unique Compress")
"""Ops whose output size depends on data but is bounded by the size of what they read."""
DATA_DEPENDENT = BOUNDED | words("NonMaxSuppression Loop StringSplit")
"""Ops whose output size one run says nothing about."""


def has_subgraph(node: onnx.NodeProto) -> bool:
    """Whether a node carries graphs of its own (If, Loop, Scan, SequenceMap)."""
    graphs = (onnx.AttributeProto.GRAPH, onnx.AttributeProto.GRAPHS)
    return any(attribute.type in graphs for attribute in node.attribute)


def is_pure(node: onnx.NodeProto) -> bool:
    """Whether a node's outputs follow from its inputs alone, by rules that ONNX states."""
    if node.domain not in ("", "ai.onnx") or node.op_type in RANDOM or has_subgraph(node):
        return False
    # Dropout with a third input may be in training mode.
    return node.op_type != "Dropout" or len(node.input) < 3


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
    if implementation is None:
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
