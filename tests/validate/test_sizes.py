"""The sizes of a proof: of every symbol a smaller and a larger one, unless the original refuses."""

from __future__ import annotations

import onnx
import pytest

from spa import runtime
from spa.coupling import analyse
from spa.errors import VerifyError
from spa.graph import read
from spa.rewrite import rewrite
from spa.validate import verify
from spa.validate.layout import Axis
from spa.validate.sizes import MOST_REFUSED, each_other, is_heavy, steps
from tests import oracles
from tests.nets import Net
from tests.nets.layers import products
from tests.validate.test_verify import changed, weights


def proved(dims, accepted=lambda sizes: True, batches=()):
    """Other sizes by symbol, and how often a model was asked."""
    asked = []

    def ask(sizes):
        asked.append(dict(sizes))
        return accepted(sizes)

    found = each_other(dims, ask, batches)
    return {s: sorted({f[s] for f in found} - {n}) for s, n in dims.items()}, len(asked)


def both_ways(dims, found):
    return all(found[s][0] < n < found[s][-1] for s, n in dims.items())


def test_where_runs_are_much_work_the_nearest_sizes_come_first():
    assert is_heavy({"x": (2, 1 << 12, 1 << 12)}) and not is_heavy({"x": (1 << 12, 1 << 12)})
    for size, first in ((7, 1), (64, 32), (640, 32), (1024, 32)):
        assert steps(size, 1, nearest=True)[0] == first
        assert {*steps(size, 1)} <= {*steps(size, 1, nearest=True)}
        assert steps(size, -1, nearest=True) == steps(size, -1)
    asked = []
    each_other({"H": 1024}, lambda sizes: asked.append(sizes["H"]) or True, nearest=True)
    assert asked == [512, 1056]


@pytest.mark.parametrize(("size", "half"), [(224, 128), (640, 320), (1024, 512), (100, 68)])
def test_the_smaller_size_is_about_half_of_pictures_for_little_work(size, half):
    """And as large as before beyond multiples of 32, as nets halve pictures five times."""
    assert size + steps(size, -1)[0] == half
    asked = []
    each_other({"H": size}, lambda sizes: asked.append(sizes["H"]) or True)
    assert len(asked) == 2 and asked[0] == half and size < asked[1] <= 1.5 * size


def test_a_session_keeps_no_memory_unless_it_is_timed():
    model = products(6, 3, batch="N")
    every = {}, {"timed": True}, {"timed": True, "arena": False}
    options = [runtime.session(model, **asked).get_session_options() for asked in every]
    assert [each.enable_cpu_mem_arena for each in options] == [False, True, False]


@pytest.mark.parametrize("size", [2, 3, 7, 31, 32, 64, 224, 640, 16000])
def test_steps_lie_near_and_leave_something(size):
    for way in (-1, 1):
        assert all(size + step > 0 and step * way > 0 for step in steps(size, way))
        assert abs(steps(size, way)[0]) <= max(size // 2, 32)
    assert steps(1, -1) == []


def test_all_symbols_at_once():
    dims = {"N": 2, "H": 64, "W": 96}
    found, asked = proved(dims)
    assert both_ways(dims, found) and asked == 2


def test_the_batch_goes_the_other_way():
    seen = []
    each_other({"N": 2, "H": 64}, lambda sizes: seen.append(sizes) or True, {"N"})
    assert seen == [{"N": 3, "H": 32}, {"N": 1, "H": 96}]


def test_a_fixed_one_among_others_is_left_out():
    dims = {"N": 1, "T": 7}
    found, _ = proved(dims, lambda sizes: sizes["N"] == 1)
    assert found == {"N": [], "T": [4, 10]}


def test_a_cache_and_the_mask_that_covers_it_move_together():
    dims = {"past": 7, "new": 9, "all": 16}
    found, asked = proved(dims, lambda s: s["past"] + s["new"] == s["all"])
    assert both_ways(dims, found) and asked < 2 * MOST_REFUSED


def test_multiples_are_found():
    dims = {"H": 64, "T": 6}
    found, _ = proved(dims, lambda s: s["H"] % 32 == 0 and s["T"] % 6 == 0)
    assert found == {"H": [32, 128], "T": [12]}


def test_nothing_is_asked_for_ever():
    _, asked = proved({f"s{k}": 20 + k for k in range(30)}, lambda sizes: False)
    assert asked <= 2 * MOST_REFUSED


def test_nothing_is_asked_where_there_is_no_symbol():
    assert proved({}) == ({}, 0)


# What only shows at other sizes


def positioned(rows: int = 12) -> onnx.ModelProto:
    """Rows of a table are added, as many as the input is long."""
    n = Net(batch="N")
    x = n.input("x", "T", 6)
    y = n.linear(n.Relu(n.linear(x, 6, 8)), 8, 3)
    length = n.Shape(x, start=1, end=2)
    return n.done(n.Add(y, n.Slice(n.weight(rows, 3), n.ints(0), length, n.ints(0))))


def test_rows_that_the_analysis_did_not_see():
    """A mistake in rows behind those that the analysed length reaches."""
    coupling = analyse(read(positioned()))
    alive = oracles.scattered(0.5, 1)(coupling)
    small = rewrite(coupling, alive)
    seen = coupling.graph.dims["T"]
    verdict = verify(coupling, alive, small)
    assert sorted(sizes["T"] for sizes in verdict.sizes) == [seen - 3, seen, seen + 3]
    table = next(name for name, array in weights(small).items() if array.shape == (12, 3))

    def shifted(array):
        array[seen:] += 1
        return array

    with pytest.raises(VerifyError, match=rf"at N=1, T={seen + 3}"):
        verify(coupling, alive, changed(small, table, shifted))


def test_a_size_that_the_original_refuses_is_no_mistake():
    """The table is too short for most longer inputs; one that is longer by one is proved."""
    coupling = analyse(read(positioned(rows=8)))
    alive = oracles.scattered(0.5, 1)(coupling)
    sizes = verify(coupling, alive, rewrite(coupling, alive)).sizes
    assert sorted({s["T"] for s in sizes}) == [4, 7, 8]


def many_heads(outer: bool) -> onnx.ModelProto:
    """Products of matrices whose first axis is the batch times the heads, or the reverse."""
    n = Net(batch="N")
    x = n.input("x", 7, 12)

    def split() -> str:
        y = n.Reshape(n.linear(x, 12, 12), n.ints(0, 7, 4, 3))
        y = n.Transpose(y, perm=[0, 2, 1, 3] if outer else [2, 0, 1, 3])
        return n.Reshape(y, n.ints(-1, 7, 3))

    scores = n.MatMul(n.Relu(split()), n.Transpose(split(), perm=[0, 2, 1]))
    y = n.MatMul(scores, split())
    y = n.Reshape(y, n.ints(-1, 4, 7, 3) if outer else n.ints(4, -1, 7, 3))
    y = n.Transpose(y, perm=[0, 2, 1, 3] if outer else [1, 2, 0, 3])
    return n.done(n.linear(n.Reshape(y, n.ints(0, 7, 12)), 12, 5))


@pytest.mark.parametrize("outer", [True, False])
def test_a_mask_of_batch_times_heads_fits_every_batch(outer):
    coupling = analyse(read(many_heads(outer)))
    assert coupling.groups
    alive = oracles.scattered(0.5, 1)(coupling)
    small = rewrite(coupling, alive)
    verdict = verify(coupling, alive, small)
    assert [sizes["N"] for sizes in verdict.sizes] == [2, 3, 1]
    assert verdict.equivalence < 1e-5
    name = next(k for k, a in weights(small).items() if a.ndim == 2 and len(a) == 12)
    with pytest.raises(VerifyError):
        verify(coupling, alive, changed(small, name, lambda a: a[:, ::-1]))


def test_where_channels_lie_on_axes_of_any_length():
    for axis, length, want in (
        (Axis(0, 1, 3), 9, [0, 1, 2] * 3),
        (Axis(0, 3, 1), 6, [0, 0, 1, 1, 2, 2]),
        (Axis(0, 2, 2), 8, [0, 1, 0, 1, 2, 3, 2, 3]),
        (Axis(0, 2, 2), 4, [0, 1, 2, 3]),
    ):
        assert axis.places(length).tolist() == want
