"""A file of integers behind DequantizeLinear chooses the channels that its floats choose."""

from __future__ import annotations

import numpy as np
import pytest

from spa.coupling import analyse
from spa.criteria import Context, score
from spa.graph import read
from tests.nets import Net

DATALESS = ("l1", "l2", "fpgm", "lamp", "bn-scale")


class Twin(Net):
    """A net whose weights are integers of few bits, as they are or as the floats they stand for."""

    def __init__(self, quantised: bool) -> None:
        super().__init__(opset=13, batch=2, seed=4)
        self.quantised = quantised

    def stored(self, *shape: int, axis: int = 0, dtype: type = np.int8) -> str:
        """Integers with a scale for each position of an axis."""
        most = 100 if dtype == np.int8 else 10_000
        whole = self.random.integers(-most, most, shape).astype(dtype)
        scale = (self.random.random(shape[axis]) + 0.1).astype(np.float32) / most
        if self.quantised:
            return self.DequantizeLinear(self.const(whole), self.const(scale), axis=axis)
        along = [-1 if a == axis else 1 for a in range(len(shape))]
        return self.const(whole.astype(np.float32) * scale.reshape(along))


def net(quantised: bool):
    """Convolutions, one of them depthwise, and products of matrices, with biases of 32 bits."""
    n = Twin(quantised)
    y = n.Conv(n.input("x", 3, 8, 8), n.stored(8, 3, 3, 3), n.stored(8, dtype=np.int32))
    y = n.Relu(n.batch_norm(y, 8))
    y = n.Relu(n.Conv(y, n.stored(8, 1, 3, 3), group=8))
    y = n.Relu(n.Conv(y, n.stored(12, 8, 3, 3), n.stored(12, dtype=np.int32)))
    y = n.Flatten(n.GlobalAveragePool(y))
    y = n.Relu(n.Add(n.MatMul(y, n.stored(12, 10, axis=1)), n.stored(10, dtype=np.int32)))
    y = n.Relu(n.Gemm(y, n.stored(9, 10), n.stored(9, dtype=np.int32), transB=1))
    return n.done(n.MatMul(y, n.stored(9, 4, axis=1)))


def scores(model, scorer):
    """The scores of every group's channels, groups in the order of their sizes."""
    coupling = analyse(read(model), strict=True)
    found = score(Context(coupling), scorer, normalize="none")
    own = [found[group.cells].ravel() for group in coupling.groups]
    return {len(each): each for each in own}


def roles(model):
    """What the tensors of every group do, by the group's size."""
    coupling = analyse(read(model), strict=True)
    ranks = {name: len(shape) for name, shape in coupling.graph.shapes.items()}
    return {
        group.size: {(m.role, m.axis, ranks[m.tensor]) for m in group.members} - LEFT_OUT
        for group in coupling.groups
    }


LEFT_OUT = {
    ("follows", 0, 1),  # scales
    ("reads", 0, 4),  # a depthwise filter reads what it makes
}


def test_integers_do_what_their_floats_do():
    found = roles(net(True))
    assert found == roles(net(False))
    assert found[12] == {("makes", 0, 4), ("reads", 0, 2), ("scales", 0, 1)}


def test_what_weights_do_does_not_hang_on_what_stands_between():
    """A table that is looked up; floats that are rounded; a bias that is the first of its sum."""
    n = Net(opset=13, batch=2)
    step = n.const(np.float32(0.01))
    table = n.DequantizeLinear(n.const(n.random.integers(-9, 9, (20, 8)).astype(np.int8)), step)
    y = n.Gather(table, n.input("ids", 4, dtype=np.int64))
    weight = n.DequantizeLinear(n.QuantizeLinear(n.weight(8, 6), step), step)
    bias = n.DequantizeLinear(n.const(n.random.integers(-9, 9, 6).astype(np.int8)), step)
    y = n.Tanh(n.Add(bias, n.MatMul(n.Tanh(y), weight)))
    assert roles(n.done(n.MatMul(y, n.weight(6, 3)))) == {
        8: {("makes", 1, 2), ("reads", 0, 2)},
        6: {("makes", 1, 2), ("reads", 0, 2), ("scales", 0, 1)},
    }


@pytest.mark.parametrize("scorer", DATALESS)
def test_integers_are_worth_what_their_floats_are(scorer):
    whole, floats = scores(net(True), scorer), scores(net(False), scorer)
    assert set(whole) == set(floats) == {8, 9, 10, 12}
    for size, want in floats.items():
        np.testing.assert_allclose(whole[size], want, rtol=1e-5)
        assert len(set(want)) == size, "nothing would be told apart"
