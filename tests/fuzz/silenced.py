"""A reference for bypasses: the original in which what a sum adds is multiplied by zero.

It knows of a branch only which tensor of which node it ends in, and nothing of the rewriter.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from onnx import ModelProto, NodeProto, TensorProto, helper, numpy_helper

from spa.depth import Branch
from tests.fuzz.reference import TOLERANCE, Agreement, session

BIAS = {"SkipLayerNormalization": 4, "SkipSimplifiedLayerNormalization": 3}
"""Which input of a norm is added to the operand that it sums, and goes with it.

What is left of such a norm is another kernel, which rounds otherwise."""


def silenced(
    whole: ModelProto, drawn: Sequence[Branch], short: ModelProto, feeds: Mapping[str, np.ndarray]
) -> Agreement:
    """Every output of the short model is that of the silenced one, to the bit but for zeros.

    Behind a norm that was summed in one node they are as close as its two kernels.
    """
    model = ModelProto()
    model.CopyFrom(whole)
    makers = {name: node for node in model.graph.node for name in node.output}
    before, loose = session(whole).run(None, dict(feeds)), False
    for each in drawn:
        add, name = makers[each.name], f"{each.name}_silent"
        nothing = np.zeros((), np.float32)
        model.graph.initializer.append(numpy_helper.from_array(nothing, f"{name}_zero"))
        place = [node.output[:1] == add.output[:1] for node in model.graph.node].index(True)
        if each.kind == "run":
            add.output[[*add.output].index(each.name)] = f"{name}_own"
            less = helper.make_node("Mul", [f"{name}_own", f"{name}_zero"], [name])
            equal = helper.make_node("Add", [name, each.shortcut], [each.name])
            model.graph.node.insert(place + 1, less)
            model.graph.node.insert(place + 2, equal)
            continue
        for step in _silent(add, each.end, name)[::-1]:
            model.graph.node.insert(place, step)
        add.input[[*add.input].index(each.end)] = name
        loose = loose or add.op_type in BIAS
        if add.op_type in BIAS and len(add.input) > BIAS[add.op_type]:
            add.input[BIAS[add.op_type]] = ""
    want, got = (session(each).run(None, dict(feeds)) for each in (model, short))
    names, far = [o.name for o in model.graph.output], [0.0]
    assert names == [o.name for o in short.graph.output], "other outputs"
    for name, a, b, old in zip(names, want, got, before, strict=True):
        assert np.shape(a) == np.shape(b) == np.shape(old), f"{name} is {np.shape(b)}"
        if loose:
            far.append(_far(a, b))
            assert far[-1] <= TOLERANCE, f"{name} differs by {far[-1]:.1e}"
        else:
            same = np.array_equal(a, b, equal_nan=np.asarray(a).dtype.kind == "f")
            assert same, f"{name} differs"
    return Agreement(max(far), len(names))


def _silent(add: NodeProto, end: str, name: str) -> list[NodeProto]:
    """What makes nothing of an operand: zeros, of bytes what stands for them."""
    if add.op_type != "QLinearAdd":
        return [helper.make_node("Mul", [end, f"{name}_zero"], [name])]
    point = add.input[[*add.input].index(end) + 2]
    return [
        helper.make_node("Cast", [end], [f"{name}_wide"], to=TensorProto.FLOAT),
        helper.make_node("Mul", [f"{name}_wide", f"{name}_zero"], [f"{name}_less"]),
        helper.make_node("Cast", [point], [f"{name}_point"], to=TensorProto.FLOAT),
        helper.make_node("Add", [f"{name}_less", f"{name}_point"], [f"{name}_equal"]),
        helper.make_node("Cast", [f"{name}_equal"], [name], to=TensorProto.UINT8),
    ]


def _far(want: np.ndarray, got: np.ndarray) -> float:
    """The largest difference, as a share of the largest number."""
    return float(np.abs(want - got).max(initial=0) / max(np.abs(want).max(initial=0), 1e-9))
