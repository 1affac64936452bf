"""Branches that share weights: what is symmetric in its inputs stays so, however it is stored."""

from __future__ import annotations

import numpy as np
import pytest
from onnx import ModelProto

import spa
from spa import runtime
from spa.graph import read
from spa.probes import plain
from tests.nets import Net

OPTIONS = {
    "default": {"ratio": 0.3},
    "half": {"ratio": 0.5},
    "l2": {"ratio": 0.5, "scorer": "l2"},
    "params": {"ratio": 0.3, "of": "params"},
}
WAYS = ("one name", "transposed", "copies", "products")
HEADS = {"difference": -1, "distance": 1}
SIZES = ((24, 10), (16, 24), (8, 16))


def siamese(way: str, head: str = "difference", convolutions: bool = False) -> ModelProto:
    """Two branches over the same weights, stored once, once but transposed, or once for each."""
    n = Net(opset=17, batch="N")
    form = (3, 3) if convolutions else ()
    sizes = ((24, 3), *SIZES[1:]) if convolutions else SIZES
    weights = [
        (n.random.standard_normal((*size, *form)) / np.sqrt(size[1])).astype(np.float32)
        for size in sizes
    ]
    biases = [n.random.standard_normal(len(w)).astype(np.float32) for w in weights]

    def stored(name: str, value: np.ndarray, branch: int) -> str:
        own = f"{name}_{branch}" if way in ("copies", "products") else name
        return own if own in n.constants else n.const(value, own)

    def layer(k: int, x: str, branch: int) -> str:
        transposed = way in ("transposed", "products")
        weight = weights[k].T.copy() if way == "products" else weights[k]
        w, b = stored(f"w{k}", weight, branch), stored(f"b{k}", biases[k], branch)
        if convolutions:
            return n.Conv(x, w, b, pads=[1] * 4)
        if way == "products":
            return n.Add(n.MatMul(x, w), b)
        w = n.Transpose(w, perm=[1, 0]) if transposed else w
        return n.Gemm(x, w, b, transB=int(not transposed))

    def branch(name: str, number: int) -> str:
        y = n.input(name, *((3, 6, 6) if convolutions else (10,)))
        for k in range(len(weights)):
            y = layer(k, y if k == 0 else n.Relu(y), number)
        return n.Flatten(n.GlobalAveragePool(y)) if convolutions else y

    y = n.Sub(branch("a", 0), branch("b", 1))
    return n.done(n.ReduceSum(n.Abs(y), n.ints(-1)) if head == "distance" else y)


def asymmetry(model: ModelProto, sign: int) -> float:
    """How far f(a, b) is from f(b, a), or from its negative, against its largest value."""
    a, b = plain.feeds(read(model)).values()
    session = runtime.session(model, optimize=False, threads=1)
    (one,), (other,) = (
        runtime.run(session, {"a": x, "b": y}).values() for x, y in ((a, b), (b, a))
    )
    return float(np.abs(one - sign * other).max() / np.abs(one).max())


@pytest.mark.parametrize("options", OPTIONS)
@pytest.mark.parametrize("way", WAYS)
def test_branches_stay_alike(way: str, options: str) -> None:
    for head, sign in HEADS.items():
        model = siamese(way, head)
        assert asymmetry(model, sign) < 1e-6
        assert asymmetry(spa.prune(model, **OPTIONS[options]).model, sign) < 1e-6


@pytest.mark.parametrize("way", ["one name", "copies"])
def test_branches_of_convolutions_stay_alike(way: str) -> None:
    model = siamese(way, convolutions=True)
    assert asymmetry(spa.prune(model, ratio=0.3).model, -1) < 1e-6


def test_copies_are_one_weight() -> None:
    """And nothing else is: numbers that are the same all over, or that no layer multiplies with."""
    graph = read(siamese("copies"))
    assert {name for name in graph.consts if name[0] in "wb"} == {
        f"{kind}{k}_0" for kind in "wb" for k in range(3)
    }
    n = Net(opset=17)
    table, even = np.arange(40, dtype=np.float32).reshape(5, 8), np.ones((8, 8), np.float32)
    y = n.Add(n.Add(n.input("x", 5, 8), n.const(table, "t")), n.const(table, "u"))
    y = n.MatMul(n.MatMul(y, n.const(even, "v")), n.const(even, "w"))
    assert set(read(n.done(y)).consts) == {"t", "u", "v", "w"}
