"""Fused operators that no kernel on this machine runs, and nets in half precision."""

from __future__ import annotations

from typing import Any

import ml_dtypes
import numpy as np
import pytest

from spa.coupling import analyse
from spa.graph import read
from spa.rewrite import rewrite
from tests import oracles
from tests.nets import MOTIFS, Net
from tests.support import needs_runtime

FUSED = "com.microsoft"
HALF = (
    "recurrent_layers",
    "attention_with_projection",
    "attention_of_many_heads",
    "attention_of_groups",
    "rotated_by_a_node",
    "rotated_in_part",
    "fused_convolutions",
    "fused_layers",
)


@pytest.mark.parametrize("name", HALF)
def test_half_precision(name: str) -> None:
    model = MOTIFS[name].build(dtype=np.float16, norms=False)
    needs_runtime(model)
    coupling = analyse(read(model), strict=True)
    assert oracles.groups_of(coupling) == MOTIFS[name].groups
    alive = oracles.scattered(0.5, 1)(coupling)
    small = rewrite(coupling, alive)
    oracles.masked(coupling, alive, small)
    kinds = [t.data_type for t in small.graph.initializer if len(t.dims) > 1]
    assert set(kinds) == {10}, "weights are still float16"


def cut(net: Net, *outputs: str, **shapes: Any) -> tuple[str, Any]:
    """The groups of a net, and the net cut by half; shapes are those nobody infers."""
    model = net.done(*outputs)
    for name, shape in shapes.items():
        info = model.graph.value_info.add(name=name)
        info.type.tensor_type.elem_type = 1
        for size in shape:
            info.type.tensor_type.shape.dim.add().dim_value = size
    coupling = analyse(read(model), strict=True)
    return oracles.groups_of(coupling), rewrite(coupling, oracles.scattered(0.5, 1)(coupling))


def sizes(model: Any, op: str) -> list[tuple[int, ...]]:
    """Shapes of what an operator stores."""
    known = {t.name: tuple(t.dims) for t in model.graph.initializer}
    (node,) = [n for n in model.graph.node if n.op_type == op]
    return [known[name] for name in node.input if name in known]


def test_convolution_of_images_with_channels_last() -> None:
    n = Net()
    y = n.Transpose(n.conv(n.input("x", 3, 6, 6), 3, 8), perm=[0, 2, 3, 1])
    given = n.weight(12, 4, 3, 3), n.weight(12)
    z = n.NhwcConv(n.Relu(y), *given, domain=FUSED, group=2, pads=[1] * 4)
    y = n.linear(n.Relu(z), 12, 5)
    groups, small = cut(n, y, **{z: (2, 6, 6, 12)})
    assert groups == "2x4 2x6"
    assert sizes(small, "NhwcConv") == [(6, 2, 3, 3), (6,)]


def test_packed_heads() -> None:
    n = Net()
    packed = n.reshape(n.linear(n.input("x", 6, 5), 5, 24), 6, 2, 3, 4)
    z = n.MultiHeadAttention(packed, domain=FUSED, num_heads=2)
    groups, small = cut(n, n.linear(z, 8, 5), **{z: (2, 6, 8)})
    assert groups == "4x4"
    (node,) = [x for x in small.graph.node if x.op_type == "MultiHeadAttention"]
    assert {a.name: a.i or round(a.f, 4) for a in node.attribute} == {"num_heads": 2, "scale": 0.5}


def test_an_output_of_scores_keeps_heads_whole() -> None:
    n = Net(opset=23)
    q, k, v = (n.linear(n.input(c, 6, 5), 5, 8) for c in "abc")
    y, *_, scores = n.Attention(q, k, v, q_num_heads=2, kv_num_heads=2, outs=4)
    model = n.done(n.linear(y, 8, 5), scores)
    needs_runtime(model)
    coupling = analyse(read(model))
    assert not coupling.groups
    assert "scores of every head" in coupling.frozen[0].reason.text


def test_weights_of_bfloat16() -> None:
    """They are widened where they are read; what is left of them is cut like any other."""
    n = Net()
    stored = n.const((n.random.standard_normal((5, 8)) / 3).astype(ml_dtypes.bfloat16))
    y = n.MatMul(n.input("x", 6, 5), n.Cast(stored, to=1))
    model = n.done(n.linear(n.Relu(y), 8, 3))
    coupling = analyse(read(model), strict=True)
    assert oracles.groups_of(coupling) == "8"
    alive = oracles.scattered(0.5, 1)(coupling)
    assert oracles.masked(coupling, alive, rewrite(coupling, alive)) < 1e-6
