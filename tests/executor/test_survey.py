"""BatchNorm on batch statistics: what comes out has the mean and spread that the file promises."""

from __future__ import annotations

import numpy as np

from spa.coupling import analyse
from spa.executor import survey as module
from spa.executor.cells import select
from spa.executor.stream import Stream
from spa.executor.survey import Runs, survey
from spa.graph import read
from spa.labels import Image, IndexMap
from spa.trace import Kept
from tests.nets import Net


def two_norms():
    n = Net(opset=17, batch="N")
    y = n.batch_norm(n.conv(n.input("x", 3, 6, 6), 3, 4), 4)
    return analyse(read(n.done(n.batch_norm(n.conv(n.Relu(y), 4, 5), 5))), strict=True)


def test_outputs_have_the_scale_and_shift_of_the_file():
    coupling = two_norms()
    graph = coupling.graph
    rng = np.random.default_rng(0)
    feeds = [{"x": 5 + 3 * rng.standard_normal((8, 3, 6, 6), np.float32)} for _ in range(3)]
    out = graph.outputs[0]
    seen = survey(coupling, feeds, [(out, 1), ("x", 1)])
    assert len(seen.statistics) == 4
    stream = Stream(graph.proto, graph, feeds, "cpu", seen.statistics)
    for node in graph.nodes:
        if node.op != "BatchNormalization":
            continue
        stream.run_to(node.index + 1, (node.outputs[0],))
        y = np.concatenate(stream.values[node.outputs[0]])
        scale, shift = (graph.consts[node.inputs[k]] for k in (1, 2))
        np.testing.assert_allclose(y.mean((0, 2, 3)), shift, atol=1e-3)
        np.testing.assert_allclose(y.std((0, 2, 3)), np.abs(scale), rtol=1e-2)
        stream.run_to(stream.done)
    variances = np.diag(seen.covariance[out])
    np.testing.assert_allclose(variances, scale.astype(float) ** 2, rtol=2e-2)
    np.testing.assert_allclose(seen.covariance["x"], 9 * np.eye(3), atol=1.0)
    np.testing.assert_allclose(seen.energy["x"], 9 + 25, rtol=0.1)


def test_without_it_nothing_is_replaced_and_few_numbers_are_no_statistic():
    coupling = two_norms()
    feeds = [{"x": np.ones((2, 3, 6, 6), np.float32)}]
    assert not survey(coupling, feeds * 8, batch_norm=False).statistics
    assert not survey(coupling, feeds).statistics


def test_one_pass_serves_all_who_ask(monkeypatch):
    coupling = two_norms()
    rng = np.random.default_rng(1)
    feeds = Runs({"x": rng.standard_normal((8, 3, 6, 6), np.float32)} for _ in range(3))
    first = survey(coupling, feeds, [("x", 1)]).statistics
    passes = []
    monkeypatch.setattr(module, "Stream", lambda *args: passes.append(args) or Stream(*args))
    again = survey(coupling, feeds).statistics
    assert not passes and again.keys() == first.keys()
    assert all(np.array_equal(again[name], first[name]) for name in first)
    assert not survey(coupling, feeds, batch_norm=False).statistics and len(passes) == 1
    other = survey(coupling, [{"x": 2 * feed["x"]} for feed in feeds]).statistics
    assert len(passes) == 2 and any((other[name] != first[name]).any() for name in first)


class Left:
    """Kept that only know which labels are kept."""

    def __init__(self, flags):
        self.flags = np.asarray(flags)

    kept = Kept.kept

    def touched(self, index_map):
        return not self.flags[index_map.ids].all()


def test_select_keeps_boxes():
    flags = np.ones(13, bool)
    flags[[2, 7, 12]] = False
    heads = IndexMap(np.arange(1, 13).reshape(1, 3, 1, 4), (1, 3))  # rows 1-4, 5-8, 9-12
    x = np.random.default_rng(0).standard_normal((2, 3, 5, 4))
    kept = select(x, Image(x.shape, (heads,)), Left(flags))
    assert kept.shape == (2, 3, 5, 3)
    np.testing.assert_array_equal(kept[:, 0], x[:, 0][..., [0, 2, 3]])
    np.testing.assert_array_equal(kept[:, 1], x[:, 1][..., [0, 1, 3]])
    single = IndexMap(np.arange(1, 5).reshape(1, 1, 1, 4), (3,))
    np.testing.assert_array_equal(
        select(x, Image(x.shape, (single,)), Left(flags)), x[..., [0, 2, 3]]
    )


def test_a_part_of_the_inputs_shares_the_statistics_of_all():
    coupling = two_norms()
    rng = np.random.default_rng(0)
    runs = Runs({"x": rng.standard_normal((8, 3, 6, 6), np.float32) + k} for k in range(2))
    of_all = survey(coupling, runs).statistics
    part = runs.part(runs[:1])
    assert len(part) == 1
    of_part = survey(coupling, part).statistics
    for name, value in of_all.items():
        np.testing.assert_array_equal(of_part[name], value)
