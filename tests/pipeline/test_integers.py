"""Files that are quantised already: the default scorer says so at once, others cut them."""

from __future__ import annotations

import ml_dtypes
import numpy as np
import pytest

import spa
from spa.coupling import analyse
from spa.coupling.quantised import quantised_share
from spa.errors import ReadError
from spa.graph import read
from tests.nets import MOTIFS, Net
from tests.support import needs_runtime

QUANTISED = ("quantised_weights", "convolutions_of_bytes", "packed_in_bits")


@pytest.mark.parametrize("name", QUANTISED)
@pytest.mark.parametrize("run", [spa.prune, spa.plan])
def test_pruning_comes_before_quantising(name, run):
    with pytest.raises(ReadError, match=r"quantised already.*prune the model it was made from"):
        run(MOTIFS[name].build(), ratio=0.3)


@pytest.mark.parametrize("name", QUANTISED)
def test_who_asks_for_a_cut_gets_one(name):
    needs_runtime(MOTIFS[name].build())
    done = spa.prune(MOTIFS[name].build(), ratio=0.3, of="channels", scorer="l2", round_to=1)
    assert done.report["reduction"]["channels"] > 0


def test_ids_and_sizes_are_no_weights():
    n = Net(opset=17)
    y = n.Gather(n.weight(9, 8), n.ints(*range(5)))
    y = n.linear(n.Add(n.input("x", 5, 8), y), 8, 4)
    assert quantised_share(analyse(read(n.done(y)))) == 0.0


def stored(net, dtype, *shape):
    """A weight of few bits, made whole."""
    return net.DequantizeLinear(
        net.const(net.random.normal(size=shape).astype(dtype)), net.scalar(1)
    )


def rounded(net, _, *shape):
    """A weight of floats that the graph rounds to a scale, as for training with quantisers."""
    given = net.scalar(0.01), net.const(np.int8(0))
    return net.DequantizeLinear(net.QuantizeLinear(net.weight(*shape), *given), *given)


KINDS = {
    "int16": (stored, np.int16),
    "int4": (stored, ml_dtypes.int4),
    "e4m3": (stored, ml_dtypes.float8_e4m3fn),
    "e5m2": (stored, ml_dtypes.float8_e5m2),
    "pairs": (rounded, None),
}


def of_kind(kind, large=True):
    """Two layers, of which the large or the small one is quantised."""
    weight, dtype = KINDS[kind]
    n = Net(opset=21, ir=10)
    sizes = ((5, 24), (24, 5)) if large else ((5, 1), (1, 5))
    y = n.Relu(n.MatMul(n.input("x", 6, 5), weight(n, dtype, *sizes[0])))
    y = n.MatMul(y, weight(n, dtype, *sizes[1]))
    return n.done(n.linear(n.Relu(n.linear(y, 5, 8)), 8, 4))


@pytest.mark.parametrize("kind", KINDS)
def test_weights_of_few_bits_are_quantised(kind):
    with pytest.raises(ReadError, match="quantised already"):
        spa.plan(of_kind(kind), ratio=0.3)
    assert quantised_share(analyse(read(of_kind(kind, large=False)))) < 0.5


def test_a_few_integers_do_not_stand_in_the_way():
    assert 0 < quantised_share(analyse(read(MOTIFS["quantized_inside"].build()))) < 0.5
