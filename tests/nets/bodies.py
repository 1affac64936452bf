"""Bodies of If, Loop and Scan: whatever is appended while `make` runs goes into the body."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from onnx import GraphProto, TensorProto, helper

from tests.nets.net import Net

Given = tuple[str, Any, Sequence[int | str | None] | None]
"""An input of a body: name, dtype, and its shape, where it is to be written down."""

STEP: list[Given] = [("step", np.int64, ()), ("go", np.bool_, ())]


def body(
    n: Net, make: Callable[..., Sequence[str]], given: Sequence[Given] = (),
    inside: bool = False, states: int = 0,
) -> GraphProto:  # fmt: skip
    """A body with the outputs that `make` names; with `inside` it holds its own weights.

    The first `states` outputs have the shapes of the first inputs.
    """
    around = n.nodes, n.constants
    n.nodes, n.constants = [], {} if inside else n.constants
    inputs = [
        helper.make_tensor_value_info(
            n.name(stem), helper.np_dtype_to_tensor_dtype(np.dtype(dtype or n.dtype)), shape
        )
        for stem, dtype, shape in given
    ]
    outputs = make(*(info.name for info in inputs))
    own = helper.np_dtype_to_tensor_dtype(n.dtype)
    kinds = {info.name: info.type.tensor_type.elem_type for info in inputs} | n.kinds
    kinds |= {o: TensorProto.BOOL for o in outputs if o.startswith("cond")}
    results = [helper.make_tensor_value_info(o, kinds.get(o, own), None) for o in outputs]
    for result, (_, _, shape) in zip(results, given[:states], strict=False):
        if shape is not None:  # a state keeps its shape
            result.type.CopyFrom(helper.make_tensor_type_proto(kinds.get(result.name, own), shape))
    weights = list(n.constants.values()) if inside else []
    graph = helper.make_graph(n.nodes, n.name("body"), inputs, results, weights)
    n.nodes, n.constants = around
    return graph


def choose(
    n: Net, condition: str, then: Callable[[], Sequence[str]], other: Callable[[], Sequence[str]],
    outs: int = 1, inside: bool = False,
) -> Any:  # fmt: skip
    """An If; both sides make as many tensors."""
    bodies = {
        "then_branch": body(n, then, inside=inside),
        "else_branch": body(n, other, inside=inside),
    }
    return n.If(condition, **bodies, outs=outs)


def on(n: Net, go: str) -> str:
    """A condition that stays what it is."""
    name = n.name("cond")
    n.nodes.append(helper.make_node("Identity", [go], [name]))
    return name


def positive(n: Net, x: str) -> str:
    """Whether the sum of a tensor is above zero."""
    return n.Greater(n.ReduceSum(x, keepdims=0), n.scalar(0))


def loop(
    n: Net, trips: int, step: Callable[..., Sequence[str]], states: Sequence[str], outs: int,
    *, inside: bool = False, shapes: Sequence[Any] = (),
) -> Any:  # fmt: skip
    """A Loop of so many steps; `step` takes its number and the states, and hands them on."""
    given = [
        *STEP,
        *(("state", None, shapes[k] if shapes else None) for k in range(len(states))),
    ]

    def make(number: str, go: str, *before: str) -> Sequence[str]:
        return [on(n, go), *step(number, *before)]

    graph = body(n, make, given, inside)
    return n.Loop(n.const(np.int64(trips)), n.const(np.bool_(True)), *states, body=graph, outs=outs)


def scan(
    n: Net, step: Callable[..., Sequence[str]], states: Sequence[str], walked: Sequence[str],
    outs: int, *, inside: bool = False, shapes: Sequence[Any] = (), **attrs: Any,
) -> Any:  # fmt: skip
    """A Scan; `step` takes states and slices, and hands on states and what is stacked."""
    several = len(states) + len(walked)
    given: list[Given] = [("part", None, shapes[k] if shapes else None) for k in range(several)]
    graph = body(n, step, given, inside, len(states))
    return n.Scan(*states, *walked, body=graph, num_scan_inputs=len(walked), outs=outs, **attrs)
