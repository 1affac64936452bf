"""Contradictions between sizes that ONNX's shape inference lets pass.

They matter where sizes are being chosen for symbolic axes: a choice that an engine would refuse
must be seen without starting one.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

import onnx

Shape = tuple[int, ...]
Shapes = Callable[[str], Shape | None]
Known = list[Shape | None]


def mismatch(node: onnx.NodeProto, shape: Shapes) -> str | None:
    """Why the sizes around `node` cannot be right, or None."""
    shapes = [shape(name) if name else None for name in node.input]
    results = [shape(name) if name else None for name in node.output]
    check = CHECKS.get(node.op_type) if node.domain in ("", "ai.onnx") else None
    problem = check(node, shapes, results) if check is not None else None
    return problem or _vanished(shapes, results)


def _vanished(shapes: Known, results: Known) -> str | None:
    """Whether an axis shrank to nothing, as under a window larger than its image."""
    if any(known is not None and 0 in known for known in shapes):
        return None
    for known in results:
        if known is not None and len(known) > 2 and 0 in known:
            return f"an output of shape {list(known)} is empty"
    return None


def _reshape(node: onnx.NodeProto, shapes: Known, results: Known) -> str | None:
    before, after = shapes[0], results[0]
    if before is None or after is None or math.prod(before) == math.prod(after):
        return None
    return f"{list(before)} does not have as many elements as {list(after)}"


def _conv(node: onnx.NodeProto, shapes: Known, results: Known) -> str | None:
    data, weight = shapes[:2]
    if data is None or weight is None or len(data) < 3 or len(weight) < 3:
        return None
    if results[0] is None:
        return f"its window {list(weight[2:])} does not fit into {list(data)}"
    group = _attributes(node).get("group", 1)
    expected = weight[1] * group if node.op_type == "Conv" else weight[0]
    if data[1] != expected:
        return f"reads {data[1]} channels where its weight has {expected}"
    return None


def _pool(node: onnx.NodeProto, shapes: Known, results: Known) -> str | None:
    if shapes[0] is None or results[0] is not None:
        return None
    return f"its window does not fit into {list(shapes[0])}"


def _gemm(node: onnx.NodeProto, shapes: Known, results: Known) -> str | None:
    left, right = shapes[:2]
    if left is None or right is None or len(left) != 2 or len(right) != 2:
        return None
    flags = _attributes(node)
    rows = left[0] if flags.get("transA", 0) else left[1]
    columns = right[1] if flags.get("transB", 0) else right[0]
    return None if rows == columns else f"multiplies {list(left)} by {list(right)}"


def _recurrent(node: onnx.NodeProto, shapes: Known, results: Known) -> str | None:
    data, weight = shapes[:2]
    if data is None or weight is None or len(data) != 3 or len(weight) != 3:
        return None
    batch = data[0 if _attributes(node).get("layout", 0) else 1]
    if data[2] != weight[2]:
        return f"reads {data[2]} features where its weight has {weight[2]}"
    for initial in shapes[5:7]:
        axis = 0 if _attributes(node).get("layout", 0) else 1
        if initial is not None and len(initial) == 3 and initial[axis] != batch:
            return f"starts {initial[axis]} sequences where its input has {batch}"
    return None


def _attributes(node: onnx.NodeProto) -> Mapping[str, int]:
    return {attribute.name: attribute.i for attribute in node.attribute}


CHECKS = {
    "Reshape": _reshape,
    "Conv": _conv,
    "ConvTranspose": _conv,
    "MaxPool": _pool,
    "AveragePool": _pool,
    "LpPool": _pool,
    "Gemm": _gemm,
    "LSTM": _recurrent,
    "GRU": _recurrent,
    "RNN": _recurrent,
}
