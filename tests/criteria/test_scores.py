"""Scores of channels, against sums written out one channel at a time."""

from __future__ import annotations

from collections import defaultdict

import numpy as np
import pytest

from spa.coupling import analyse
from spa.criteria import Context, score
from spa.criteria.aggregate import AGGREGATES, NORMALIZERS
from spa.errors import UsageError
from spa.graph import read
from tests.carried import coupling_of
from tests.nets import Net
from tests.nets.layers import convolutions

DATA_FREE = ("l1", "l2", "random")


def small_net():
    """A stem that a block of two convolutions, one of them depthwise, is added to."""
    n = Net(opset=17)
    stem = n.batch_norm(n.conv(n.input("x", 3, 4, 4), 3, 4), 4)
    deep = n.Relu(n.conv(n.Relu(n.conv(stem, 4, 6)), 6, 6, group=6))
    return n.done(n.head(n.Add(stem, n.conv(deep, 6, 4, bias=False)), 4))


# What every channel owns, by hand: tensor and the axes it is an index of.
OWNED = {
    "w_1": {  # the residual stream: stem and its norm, first convolution in, last out, head in
        ("w_1", 0), ("w_2", 0), ("w_4", 0), ("w_5", 0), ("w_9", 1), ("w_17", 0), ("w_22", 1),
    },
    "w_9": {("w_9", 0), ("w_10", 0), ("w_13", 0), ("w_14", 0), ("w_17", 1)},
}  # fmt: skip


@pytest.fixture(scope="module")
def coupling():
    return analyse(read(small_net()), strict=True)


def by_hand(graph, weigh, how):
    """S(channel) for each group, one channel and one member at a time."""
    found = {}
    for name, members in OWNED.items():
        parts = defaultdict(list)
        for tensor, axis in sorted(members):
            saliency = weigh(tensor, np.asarray(graph.consts[tensor], np.float64))
            for channel in range(saliency.shape[axis]):
                parts[channel].append(saliency.take(channel, axis).sum())
        put = {"sum": np.sum, "mean": np.mean, "max": np.max}[how]
        found[name] = np.array([put(parts[channel]) for channel in sorted(parts)])
    return found


def by_group(coupling, scores):
    return {group.name: scores[group.cells].ravel() for group in coupling.groups}


def agree(coupling, scores, want):
    found = by_group(coupling, scores)
    assert found.keys() == want.keys()
    for name, values in want.items():
        np.testing.assert_allclose(found[name], values, rtol=1e-5, err_msg=name)


def test_the_table_above_is_what_is_coupled(coupling):
    for group in coupling.groups:
        weights = {(m.tensor, m.axis) for m in group.members if m.role != "follows"}
        assert weights == OWNED[group.name]


@pytest.mark.parametrize("how", AGGREGATES)
def test_l1(coupling, how):
    want = by_hand(coupling.graph, lambda _, w: np.abs(w), how)
    agree(coupling, score(Context(coupling, aggregate=how), "l1", normalize="none"), want)


@pytest.mark.parametrize("how", AGGREGATES)
def test_l2_is_the_root_of_the_energy(coupling, how):
    want = by_hand(coupling.graph, lambda _, w: w**2, how)
    want = {name: np.sqrt(values) for name, values in want.items()}
    agree(coupling, score(Context(coupling, aggregate=how), "l2", normalize="none"), want)


def test_statistics_are_no_weights(coupling):
    """Running means and variances belong to a channel but do not make it important."""
    n = small_net()
    for tensor in n.graph.initializer:
        if tensor.name in ("w_6", "w_7"):
            values = np.frombuffer(tensor.raw_data, np.float32) * 100
            tensor.raw_data = values.tobytes()
    other = score(Context(analyse(read(n))), "l2", normalize="none")
    np.testing.assert_array_equal(other, score(Context(coupling), "l2", normalize="none"))


def test_a_square_weight_counts_what_a_channel_makes_and_what_it_reads():
    """y + conv(y): the same channels lie on both axes of one weight."""
    n = Net(opset=17)
    y = n.conv(n.input("x", 3, 4, 4), 3, 4, bias=False)
    model = n.done(n.head(n.Add(y, n.conv(y, 4, 4, bias=False)), 4))
    coupling = analyse(read(model), strict=True)
    (group,) = coupling.groups
    first, square, head = (
        np.abs(coupling.graph.consts[name]).astype(np.float64) for name in ("w_1", "w_3", "w_8")
    )
    want = first.sum((1, 2, 3)) + square.sum((1, 2, 3)) + square.sum((0, 2, 3)) + head.sum(0)
    found = score(Context(coupling), "l1", normalize="none")[group.cells].ravel()
    np.testing.assert_allclose(found, want, rtol=1e-5)


def test_a_depthwise_filter_counts_once(coupling):
    alone = score(Context(coupling), "l1", normalize="none")[coupling.groups[1].cells].ravel()
    without = by_hand(coupling.graph, lambda name, w: np.abs(w) * (name != "w_13"), "sum")["w_9"]
    depthwise = np.abs(coupling.graph.consts["w_13"]).sum((1, 2, 3))
    np.testing.assert_allclose(alone - without, depthwise, rtol=1e-4)


# Normalising


@pytest.mark.parametrize("scorer", DATA_FREE)
@pytest.mark.parametrize("name", ["digits", "attention_separate"])
def test_normalizers_work_within_groups(name, scorer):
    coupling = coupling_of(name)
    plain = score(Context(coupling), scorer, normalize="none")
    for group in coupling.groups:
        own = plain[group.cells]
        want = {
            "mean": own / own.mean(),
            "max": own / own.max(),
            "gaussian": (own - own.mean()) / own.std(),
        }
        for norm, values in want.items():
            found = score(Context(coupling), scorer, normalize=norm)[group.cells]
            np.testing.assert_allclose(found, values, rtol=1e-9, err_msg=norm)


@pytest.mark.parametrize("norm", NORMALIZERS)
def test_a_group_of_zeros_stays_finite(norm):
    model = small_net()
    for tensor in model.graph.initializer:
        tensor.raw_data = bytes(len(tensor.raw_data))
    found = score(Context(analyse(read(model))), "l2", normalize=norm)
    assert np.isfinite(found).all()


# Random


def test_random_is_the_same_for_the_same_seed_only(coupling):
    first, again, other = (score(Context(coupling, seed=seed), "random") for seed in (1, 1, 2))
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, other)


def test_random_depends_on_names_and_not_on_the_order_of_nodes(coupling):
    model = small_net()
    tensors = list(model.graph.initializer)[::-1]
    del model.graph.initializer[:]
    model.graph.initializer.extend(tensors)
    other = analyse(read(model))
    np.testing.assert_array_equal(
        score(Context(coupling), "random"), score(Context(other), "random")
    )


# Errors


@pytest.mark.parametrize(
    ("context", "options", "words"),
    [
        ({}, {"scorer": "l3"}, "no scorer 'l3'; choose one of .*l2.*"),
        ({"aggregate": "median"}, {}, "no aggregate 'median'; choose one of sum, mean, max"),
        ({}, {"normalize": "l2"}, "no normalizer 'l2'; choose one of none, mean, max, gaussian"),
    ],
)
def test_unknown_names_are_usage_errors(coupling, context, options, words):
    with pytest.raises(UsageError, match=words):
        score(Context(coupling, **context), **options)


def test_weights_of_every_type_are_scored():
    model = convolutions(3, 8, area=(4, 4), head=5, dtype=np.float16)
    coupling = analyse(read(model), strict=True)
    found = score(Context(coupling), "l2", normalize="none")[coupling.groups[0].cells]
    assert found.dtype == np.float64 and (found > 0).all()


def test_the_model_is_not_touched(coupling):
    before = {name: array.tobytes() for name, array in coupling.graph.consts.items()}
    for scorer in DATA_FREE:
        score(Context(coupling), scorer)
    assert before == {name: array.tobytes() for name, array in coupling.graph.consts.items()}
