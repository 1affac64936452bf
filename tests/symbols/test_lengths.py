"""Nets with positions, masks and bounds that are computed from the length of the input."""

from __future__ import annotations

import numpy as np
import pytest
from onnx import ModelProto

from spa import runtime
from spa.coupling import analyse
from spa.graph import read
from spa.rewrite import rewrite
from tests.nets.net import Net
from tests.oracles import single
from tests.symbols.lengths import look, zeroed
from tests.symbols.nets import NETS, ROWS, WIDTH, build


@pytest.mark.parametrize("name", NETS)
@pytest.mark.parametrize("seed", [0, 1])
def test_is_right_at_every_length(name, seed):
    look(name, seed)


@pytest.mark.parametrize("name", NETS)
def test_every_row_of_a_table_keeps_the_same(name):
    coupling = analyse(read(build(name)))
    tables = [p for p in coupling.notes.params.values() if p.view[-2:] == (ROWS, WIDTH)]
    for param in tables:
        for _, index_map in param.maps:
            assert index_map.axes == (len(param.view) - 1,)


def few(positions) -> ModelProto:
    """Three channels, a tensor of positions that is added to them, and a layer."""
    n = Net(batch="N", sizes="computed")
    x = n.input("x", "T", 5)
    length = n.Gather(n.Shape(x), n.ints(1))
    return n.done(n.linear(n.Add(n.linear(x, 5, 3), positions(n, length)), 3, 2))


def test_a_row_that_is_written_out_may_shrink_to_one_number():
    def row(n: Net, length: str) -> str:
        sizes = n.Concat(n.ints(1), length, n.ints(3), axis=0)
        return n.Expand(n.weight(1, 3), sizes)

    coupling = analyse(read(few(row)), strict=True)
    assert [group.size for group in coupling.groups] == [3]
    alive = single(0)(coupling)
    assert same(zeroed(coupling, alive), rewrite(coupling, alive), tokens=4)


def test_rows_that_are_looked_up_at_other_sizes_only():
    """At the size of the analysis all positions lie behind the end of the table."""

    def rows(n: Net, length: str) -> str:
        behind = n.Mul(length, n.ints(3))
        places = n.Slice(n.const(np.arange(12)), n.Sub(behind, length), behind, n.ints(0))
        return n.Gather(n.weight(12, 3, scale=1.0), places)

    coupling = analyse(read(few(rows)), strict=True)
    assert coupling.graph.dims["T"] * 2 > 12
    for alive in (single(0)(coupling), coupling.everything()):
        assert same(zeroed(coupling, alive), rewrite(coupling, alive), tokens=4)


def same(whole: ModelProto, small: ModelProto, tokens: int) -> bool:
    x = np.random.default_rng(0).standard_normal((2, tokens, 5)).astype(np.float32)
    sessions = [runtime.session(model, threads=1) for model in (whole, small)]
    (want,), (got,) = (list(runtime.run(s, {"x": x}).values()) for s in sessions)
    return bool(np.allclose(want, got, atol=1e-5))
