"""Which bases are free, and that what is called free really is."""

from __future__ import annotations

import numpy as np
import pytest

from spa.bases import free, mix, mixed
from spa.coupling import analyse
from spa.graph import read
from tests.carried import coupling_of
from tests.nets import MOTIFS, Net, random_net
from tests.nets.layers import products, residual_sum
from tests.support import needs_runtime

FREE = {  # the stream, values, and queries with keys; not what a position turns, nor two axes
    "attention_separate": 3,
    "attention_fused_by_gather": 3,
    "attention_fused_per_head": 3,
    "attention_fused_by_split": 3,
    "attention_fused_by_squeeze": 3,
    "attention_grouped_queries": 3,
    "attention_by_einsum": 1,
    "rope_on_half": 2,
}


def coupled(model):
    return analyse(read(model), strict=True)


def feeds_of(graph, rows=8):
    rng = np.random.default_rng(3)
    made = {}
    for name in graph.inputs:
        shape = (graph.shapes[name][0], *graph.shapes[name][1:])
        if graph.dtypes[name].kind == "f":
            made[name] = rng.standard_normal(shape).astype(graph.dtypes[name])
        else:
            made[name] = rng.integers(0, 2, shape).astype(graph.dtypes[name])
    return [made]


def at_random(coupling, parts, feeds, *_):
    """Any invertible matrices, and their inverses transposed."""
    rng = np.random.default_rng(5)
    found = []
    for part in parts:
        n = part.cells.shape[1]
        one = np.eye(n) + rng.standard_normal((len(part.cells), n, n)) / (2 * n)
        found.append((one, np.linalg.inv(one).swapaxes(1, 2)))
    return found


@pytest.mark.parametrize(("name", "count"), FREE.items())
def test_attention_is_free_where_nothing_tells_channels_apart(name, count):
    assert len(free(coupling_of(name))) == count


@pytest.mark.parametrize("name", sorted(MOTIFS))
def test_what_is_free_may_be_mixed_at_random(name, monkeypatch):
    coupling = coupling_of(name)
    parts = free(coupling)
    if parts:
        needs_runtime(MOTIFS[name].build())
        monkeypatch.setattr(mix, "directions", at_random)
        found = mixed(coupling, parts, feeds_of(coupling.graph))
        assert found is not None and found[1]


@pytest.mark.parametrize("seed", range(60))
def test_random_nets_compute_the_same_in_a_free_basis(seed, monkeypatch):
    coupling = coupled(random_net(seed).model)
    parts = free(coupling)
    if parts:
        needs_runtime(random_net(seed).model)
        monkeypatch.setattr(mix, "directions", at_random)
        assert mixed(coupling, parts, feeds_of(coupling.graph)) is not None


def bottleneck(op=None, factor=None):
    """Two linear layers with something in between."""

    def between(n, x):
        x = getattr(n, op)(x) if op else x
        return n.Mul(x, n.const(np.asarray(factor, np.float32))) if factor is not None else x

    return products(10, 8, 5, shape=(6,), between=between)


def test_only_what_is_linear_and_alike_leaves_a_basis_free():
    assert len(free(coupled(bottleneck()))) == 1
    assert len(free(coupled(bottleneck("Identity", 3.0)))) == 1
    assert not free(coupled(bottleneck("Relu")))
    assert not free(coupled(bottleneck(factor=np.arange(1, 9))))


def residual(last="Identity"):
    """Two projections into one linear stream, read in two places."""
    n = Net(opset=17)
    return n.done(n.head(n.Relu(n.conv(getattr(n, last)(residual_sum(n)), 4, 6)), 6))


def test_a_linear_residual_stream_is_free():
    (part,) = free(coupled(residual()))
    assert part.cells.shape == (1, 4) and len(part.readers) == 2
    assert not free(coupled(residual("Sigmoid")))


def test_a_tensor_used_elsewhere_gets_a_copy(monkeypatch):
    n = Net(opset=17)
    shared = n.weight(8)
    x, y = (n.Add(n.MatMul(n.input(name, 6, 8), n.weight(8, 8)), shared) for name in "xy")
    x, y = n.MatMul(x, n.weight(8, 6)), n.Relu(y)
    coupling = coupled(n.done(n.Concat(x, n.MatMul(y, n.weight(8, 6)), axis=1)))
    parts = free(coupling)
    monkeypatch.setattr(mix, "directions", at_random)
    found = mixed(coupling, parts, feeds_of(coupling.graph))
    assert parts and found is not None
    assert len(found[0].graph.initializer) > len(coupling.graph.proto.graph.initializer)


def test_a_change_that_shows_is_refused(monkeypatch):
    coupling = coupled(bottleneck())

    def wrong(coupling, parts, feeds, *_):
        return [(2.0 * one, other) for one, other in at_random(coupling, parts, feeds)]

    monkeypatch.setattr(mix, "directions", wrong)
    assert mixed(coupling, free(coupling), feeds_of(coupling.graph)) is None
