"""A reference for bypasses: the original in which what a sum adds is multiplied by zero.

It knows of a branch only which tensor of which node it ends in, and nothing of the rewriter.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from onnx import ModelProto, helper, numpy_helper

from spa.depth import Branch
from tests.fuzz.reference import Agreement, session


def silenced(
    whole: ModelProto, drawn: Sequence[Branch], short: ModelProto, feeds: Mapping[str, np.ndarray]
) -> Agreement:
    """Every output of the short model is that of the silenced one, to the bit but for zeros."""
    model = ModelProto()
    model.CopyFrom(whole)
    makers = {name: node for node in model.graph.node for name in node.output}
    before = session(whole).run(None, dict(feeds))
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
        silent = helper.make_node("Mul", [each.end, f"{name}_zero"], [name])
        model.graph.node.insert(place, silent)
        add.input[[*add.input].index(each.end)] = name
    want, got = (session(each).run(None, dict(feeds)) for each in (model, short))
    names = [o.name for o in model.graph.output]
    assert names == [o.name for o in short.graph.output], "other outputs"
    for name, a, b, old in zip(names, want, got, before, strict=True):
        assert np.shape(a) == np.shape(b) == np.shape(old), f"{name} is {np.shape(b)}"
        assert np.array_equal(a, b, equal_nan=np.asarray(a).dtype.kind == "f"), f"{name} differs"
    return Agreement(0.0, len(names))
