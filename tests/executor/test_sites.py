"""Sites are the products they say, on every operator that contracts a weight."""

from __future__ import annotations

import numpy as np
import pytest

from spa.coupling import analyse
from spa.executor.sites import sites_of
from spa.graph import read
from spa.probes import plain
from tests.carried import coupling_of
from tests.executor.test_stream import all_at_once
from tests.nets import Net


def conv(**attrs):
    def build(n):
        x = n.Relu(n.conv(n.input("x", 3, 9, 7), 3, 8))
        groups = attrs.get("group", 1)
        return n.Conv(x, n.weight(6, 8 // groups, 3, 3), n.weight(6), **attrs)

    return build


def transposed(**attrs):
    def build(n):
        x = n.Relu(n.conv(n.input("x", 3, 5, 4), 3, 8))
        return n.ConvTranspose(x, n.weight(8, 6 // attrs.get("group", 1), 3, 2), **attrs)

    return build


def product(op, *weight, left=False, tokens=(5,), **attrs):
    def build(n):
        x = n.Relu(n.MatMul(n.input("x", *tokens, 4), n.weight(4, 8)))
        pair = (n.weight(*weight), x) if left else (x, n.weight(*weight))
        return getattr(n, op)(*pair, **attrs)

    return build


CASES = {
    "conv": conv(),
    "conv with strides": conv(strides=[2, 3], pads=[1, 0, 2, 1], dilations=[1, 2]),
    "conv, same": conv(auto_pad="SAME_UPPER", strides=[2, 2]),
    "conv in groups": conv(group=2),
    "transposed": transposed(),
    "transposed with strides": transposed(strides=[2, 3], pads=[1, 0, 1, 1]),
    "transposed, more": transposed(strides=[3, 2], dilations=[2, 1], output_padding=[1, 1]),
    "transposed in groups": transposed(group=2, strides=[2, 1], pads=[2, 1, 0, 1]),
    "matmul": product("MatMul", 8, 6),
    "matmul, weight first": product("MatMul", 6, 5, left=True),
    "matmul per head": product("MatMul", 3, 8, 6, tokens=(3, 5)),
    "einsum": product("Einsum", 8, 2, 3, equation="btc,chd->bthd"),
    "einsum per head": product("Einsum", 3, 8, 6, tokens=(3, 5), equation="bhtc,hcd->bhtd"),
    "gemm": lambda n: n.Gemm(n.Relu(n.linear(n.input("x", 4), 4, 8)), n.weight(8, 6)),
    "gemm, transposed": lambda n: n.Gemm(
        n.Relu(n.linear(n.input("x", 4), 4, 8)), n.weight(6, 8), transB=1
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_weight_times_columns_are_the_output(case):
    n = Net(opset=17, batch="N")
    check(analyse(read(n.done(CASES[case](n))), strict=True), {"x"})


def test_sites_of_a_real_model():
    assert len(check(coupling_of("digits"), None)) > 5


def check(coupling, last):
    """Every site of a model; the last one that reads `last` exists."""
    graph = coupling.graph
    feeds = [plain.feeds(graph)]
    values = all_at_once(graph.proto, feeds)[0] | feeds[0]
    sites = list(sites_of(coupling))
    assert sites and (last is None or sites[-1].node.index == len(graph.nodes) - 1)
    for site in sites:
        weight, units = site.weight(coupling), site.units(coupling)
        shape = graph.shapes[site.tensor]
        assert units.shape == weight.shape[::2]
        np.testing.assert_array_equal(
            site.form.stored(weight, shape), graph.consts[site.tensor].astype(np.float64)
        )
        columns, at, samples = site.columns(values[site.x], shape, 1)
        assert columns.shape[2] % samples == 0
        rows = site.form.rows(values[site.y], site.groups(), at)
        assert columns.shape[1] == site.form.features(shape, site.groups())
        miss = rows - weight @ columns  # what is left is the bias
        assert np.ptp(miss, axis=2).max() < 1e-3 * max(1.0, np.abs(rows).max())
    return sites
