"""Evaluates, node by node, what an engine refuses to evaluate as a whole.

One node without a kernel (bfloat16 arithmetic on a CPU, say) makes onnxruntime refuse all of them.
Then each node is tried there by itself, and ONNX's reference code computes what it refuses.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
from onnx import TensorProto, numpy_helper

from spa.graph.budget import PRODUCTS, SLOW_PRODUCT, SLOW_WORK, Budget, work
from spa.graph.evaluate import evaluate
from spa.graph.facts import Facts, Program, Step
from spa.runtime import evaluate_constants, single

TRIED = 4096  # nodes that an engine is started for; what is left after so many is for the reference
Arrays = dict[str, np.ndarray]


def evaluate_node_by_node(
    program: Program, facts: Facts, chosen: set[int], known: Mapping[str, np.ndarray]
) -> Arrays:
    """What is `known`, and what the chosen nodes make of it."""
    values = dict(known)
    budget = Budget(math.inf, SLOW_WORK, SLOW_PRODUCT)
    refused: set[tuple[object, ...]] = set()
    for tried, index in enumerate(sorted(chosen)):
        step = program.steps[index]
        inputs = [_value(name, program, values) for name in step.node.input]
        if any(n and value is None for n, value in zip(step.node.input, inputs, strict=True)):
            continue
        kind = _kind(step, inputs)
        made = None
        if tried < TRIED and kind not in refused:
            made = _by_engine(step, program, inputs)
        if made is None:
            refused.add(kind)
            made = _by_reference(step, facts, inputs, budget)
        values |= made
    return values


def _value(name: str, program: Program, values: Arrays) -> np.ndarray | None:
    """A tensor's value; None where it is not known, or where the name is empty."""
    known = values.get(name)
    return known if known is not None or not name else program.consts.get(name)


def _kind(step: Step, inputs: list[np.ndarray | None]) -> tuple[object, ...]:
    """What decides whether an engine has a kernel for a node."""
    types = tuple([None if value is None else value.dtype for value in inputs])
    attributes = b"".join([a.SerializeToString(deterministic=True) for a in step.node.attribute])
    return step.node.op_type, attributes, types


def _by_engine(step: Step, program: Program, inputs: list[np.ndarray | None]) -> Arrays | None:
    tensors: dict[str, TensorProto] = {}
    for name, value in zip(step.node.input, inputs, strict=True):
        if value is not None:
            tensors[name] = numpy_helper.from_array(value, name)
    names = [name for name in step.node.output if name]
    return evaluate_constants(single(step.node, program.opsets, {}, tensors), names, None)


def _by_reference(
    step: Step, facts: Facts, inputs: list[np.ndarray | None], budget: Budget
) -> Arrays:
    node = step.node
    shapes = [None if value is None else value.shape for value in inputs]
    made = sum(math.prod(facts.shape(name) or ()) for name in node.output if name)
    if not budget.take(0, work(node, shapes, made), node.op_type in PRODUCTS):
        return {}
    outputs = evaluate(node, step.version, inputs) or ()
    pairs = zip(node.output, outputs, strict=False)
    return {name: value for name, value in pairs if name}
