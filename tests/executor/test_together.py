"""Runs of a fixed batch are made at once only where each row comes out as it does alone."""

from __future__ import annotations

import numpy as np
import pytest
from onnx import numpy_helper

import spa
from spa.executor import least_squares, products
from spa.executor.together import stackable
from spa.graph import read
from spa.pipeline import inputs
from spa.probes import probe_for
from spa.repairs import chunk
from tests.nets.net import Net


def net(flat, batch=1):
    """A small classifier of pictures with a fixed batch."""
    n = Net(batch=batch)
    x = n.input("x", 3, 12, 12)
    y = n.Relu(n.batch_norm(n.conv(n.Relu(n.conv(x, 3, 8)), 8, 8), 8))
    pooled = n.GlobalAveragePool(y)
    return n.done(n.MatMul(n.Reshape(pooled, n.ints(*flat)), n.weight(8, 5)))


@pytest.mark.parametrize(
    ("flat", "batch", "fits"),
    (
        ((0, -1), 1, True),
        ((-1, 8), 1, True),
        ((0, -1), 2, True),
        ((1, 8), 1, False),  # the model relies on the one
        ((1, -1), 1, False),
    ),
)
def test_what_is_run_together(flat, batch, fits):
    graph = read(net(flat, batch))
    runs = list(probe_for(graph).batches(4 * batch))
    assert len(runs) == 4 and stackable(graph, runs) is fits


def test_runs_of_other_lengths_are_compared_with_their_like():
    """One row at a time, of any length: rows of one length go through at once."""
    n = Net(batch=1)
    ids = n.input("ids", "length", dtype=np.int64)
    y = n.Relu(n.MatMul(n.Gather(n.weight(50, 8), ids), n.weight(8, 12)))
    y = n.MatMul(y, n.weight(12, 3))
    model = n.done(y)
    graph = read(model)
    runs = list(probe_for(graph).runs(range(16)))
    assert len({feeds["ids"].shape for feeds in runs}) > 1 and stackable(graph, runs)
    done = spa.prune(model, 0.3, samples=32)
    assert done["verify"]["passed"] and done.plan.recipe["scorer"] == "obspa"


def test_runs_of_large_tensors_are_not_tried_together(monkeypatch):
    """They take the same one by one; what is chosen from them hardly changes."""
    counts = []
    monkeypatch.setattr(inputs, "stackable", lambda *given: counts.append(1) or stackable(*given))
    one = spa.prune(net((0, -1)), 0.3, samples=32, round_to=1)
    assert counts == [1]
    monkeypatch.setattr(inputs, "WIDE", 100)
    other = spa.prune(net((0, -1)), 0.3, samples=32, round_to=1)
    assert counts == [1] and one["reduction"] == other["reduction"]


def test_rows_that_meet_are_run_apart():
    """A mean over the axis of the batch: the same shapes, other numbers."""
    n = Net(batch=1)
    x = n.input("x", 6)
    y = n.MatMul(x, n.weight(6, 4))
    proto = n.done(n.Sub(y, n.ReduceMean(y, axes=[0], keepdims=1)), y)
    graph = read(proto)
    assert not stackable(graph, list(probe_for(graph).batches(4)))


def test_a_batch_that_is_relied_on_costs_no_product_per_row(monkeypatch):
    """Rows are run one by one, but what they say is added up together: the same, to rounding."""
    asked = []

    def count(x, *others):
        asked.append(x.shape[2])
        return products.on_host(x, *others)

    monkeypatch.setattr(least_squares, "products", lambda device: count)
    options = {"round_to": 1, "samples": 64, "verify": "none"}
    found = [spa.prune(net((1, 8)), 0.4, **options)]
    many, asked[:] = len(asked), []
    for module in (least_squares, chunk):
        monkeypatch.setattr(module, "GATHERED", 1)
    found.append(spa.prune(net((1, 8)), 0.4, **options))
    assert 8 * many <= len(asked)
    gathered, single = (
        {t.name: numpy_helper.to_array(t) for t in each.model.graph.initializer} for each in found
    )
    for name, value in gathered.items():
        np.testing.assert_allclose(value, single[name], rtol=1e-3, atol=1e-4)


def test_a_cut_is_the_same_whether_the_batch_is_fixed():
    """Both are fitted on the same rows in the same runs, and so come out alike."""
    options = {"round_to": 1, "samples": 64, "verify": "none"}
    fixed, free = (spa.prune(net((0, -1), batch), 0.4, **options) for batch in (1, "N"))
    weights = [
        {t.name: np.frombuffer(t.raw_data, np.uint8) for t in found.model.graph.initializer}
        for found in (fixed, free)
    ]
    assert weights[0].keys() == weights[1].keys()
    assert all(np.array_equal(weights[0][name], weights[1][name]) for name in weights[0])
    told = [n for n in fixed.report["notes"] if n.startswith("values of these inputs: x ")]
    assert told and ".." in told[0]
