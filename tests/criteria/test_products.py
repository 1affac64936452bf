"""Queries and keys: what their channels cost is tried, not guessed."""

from __future__ import annotations

import numpy as np

from spa.coupling import analyse
from spa.criteria import Context
from spa.criteria.obspa import obspa
from spa.criteria.products import _Next
from spa.graph import read
from tests.nets import Net

HEADS, WIDTH, TOKENS, SIZE = 2, 4, 6, 12


def attention(scale):
    """One layer of attention whose query channels are multiplied by `scale` `[heads · width]`."""
    n = Net(opset=17, batch="N")
    y = n.linear(n.input("x", TOKENS, 10), 10, SIZE)
    q, k, v = (
        n.heads(n.linear(y, SIZE, HEADS * WIDTH), TOKENS, HEADS, WIDTH, key=i == 1)
        for i in range(3)
    )
    flat = np.asarray(scale, np.float32).reshape(HEADS, 1, WIDTH)
    o = n.merge(n.attend(n.Mul(q, n.const(flat)), k, v), TOKENS, HEADS * WIDTH)
    return n.done(n.linear(n.Add(y, n.linear(o, HEADS * WIDTH, SIZE)), SIZE, 5))


def feeds_for(graph, rows=64):
    rng = np.random.default_rng(1)
    return [
        {n: rng.standard_normal((rows, *graph.shapes[n][1:]), np.float32) for n in graph.inputs}
        for _ in range(2)
    ]


def multiplied(coupling):
    """The group whose channels two activations share."""
    found = _Next(coupling, np.zeros(coupling.notes.size))
    return next(g for g in coupling.groups if found.products(g) and not reads(coupling, g))


def reads(coupling, group):
    return any(m.role == "reads" for m in group.members)


def test_channels_that_weigh_nothing_cost_nothing():
    scale = np.ones(HEADS * WIDTH)
    scale[[1, 6]] = 0.0
    coupling = analyse(read(attention(scale)), strict=True)
    scores = obspa(Context(coupling, feeds_for(coupling.graph)))
    group = multiplied(coupling)
    found = np.sort(scores[group.cells], axis=1)
    assert (found[:, 0] < 1e-6 * found[:, -1]).all()
    dead = group.cells.ravel()[[1, 6]]
    np.testing.assert_array_equal(np.sort(dead), np.sort(group.cells.ravel()[scores[
        group.cells].ravel() < 1e-6 * found.max()]))  # fmt: skip


def test_sums_of_scores_are_errors_of_the_next_site():
    coupling = analyse(read(attention(np.ones(HEADS * WIDTH))), strict=True)
    scores = obspa(Context(coupling, feeds_for(coupling.graph)))
    faint = analyse(read(attention(np.full(HEADS * WIDTH, 0.1))), strict=True)
    less = obspa(Context(faint, feeds_for(faint.graph)))
    strong, weak = (s[multiplied(c).cells].sum() for s, c in ((scores, coupling), (less, faint)))
    assert weak < strong / 20  # scores that are a tenth as large hardly weigh the values


def test_scores_stay_numbers_where_inputs_overflow():
    coupling = analyse(read(attention(np.ones(HEADS * WIDTH))), strict=True)
    feeds = feeds_for(coupling.graph)
    feeds[0][coupling.graph.inputs[0]][0] = np.nan
    assert np.isfinite(obspa(Context(coupling, feeds))).all()
