"""Random nets in which sizes are symbols, and the reference that they are held against."""

from __future__ import annotations

import os
from collections import Counter

import numpy as np
import pytest
from onnx import ModelProto, TensorProto, helper, numpy_helper

from spa.coupling import analyse
from spa.graph import read
from spa.rewrite import rewrite
from tests import oracles
from tests.fuzz import reference
from tests.fuzz.reference import (
    SKIPPED,
    Agreement,
    Reference,
    Run,
    agreed,
    at_length,
    compare,
    margin,
    same_inputs,
)
from tests.fuzz.trial import NOTHING, OK, refusals, report, trial_lengths
from tests.nets import random_lengths_steps as steps
from tests.nets.random_lengths import RANGES, ROWS, LengthsNet, random_lengths_net

COUNT = max(48, int(os.environ.get("SPA_FUZZ", "320")) // 4)
FIRST = int(os.environ.get("SPA_FUZZ_SEED", "0"))
BATCHES = 4
WHOLE = 0.06
"""Share of nets in which nothing can be pruned, at most."""


def judge(seeds: range) -> None:
    verdicts = [trial_lengths(seed) for seed in seeds]
    refused = refusals(verdicts, NOTHING)
    assert len(refused) <= 2 + 2 * WHOLE * len(verdicts), report(refused)
    total = Agreement()
    for verdict in verdicts:
        total.add(Agreement(verdict.worst, verdict.compared, verdict.skipped))
    assert total.skipped <= 12 + 2 * SKIPPED * (total.compared + total.skipped)


@pytest.mark.fuzz
@pytest.mark.parametrize("batch", range(BATCHES))
def test_random_lengths(batch: int) -> None:
    judge(range(FIRST + batch, FIRST + COUNT, BATCHES))


def test_a_few_of_them() -> None:
    judge(range(16))


def test_a_seed_is_a_net() -> None:
    first, second = (random_lengths_net(5).model.SerializeToString() for _ in range(2))
    assert first == second
    assert first != random_lengths_net(6).model.SerializeToString()


def test_every_step_is_taken_and_every_size_varies() -> None:
    nets = [random_lengths_net(seed) for seed in range(400)]
    taken = Counter(step for net in nets for step in net.steps[1:])
    known = {f.__name__ for f in steps.TOKENS + steps.IMAGES}
    assert not {name for name in known if taken[name] < 2}
    for symbol, sizes in RANGES.items():
        assert {s[symbol] for net in nets for s in net.sizes if symbol in s} == set(sizes)


# --- what the reference notices -----------------------------------------------------------------


def cut(seed: int) -> tuple[LengthsNet, Reference, ModelProto]:
    net = random_lengths_net(seed)
    coupling = analyse(read(net.model, input_shapes=net.analysed), strict=True)
    alive = oracles.scattered(0.4, seed)(coupling)
    return net, Reference(net.model, coupling, alive), rewrite(coupling, alive)


def held(net: LengthsNet, whole: Reference, small: ModelProto) -> None:
    for sizes in net.sizes:
        feeds = net.feeds(sizes)
        compare(whole.run(feeds, sizes), small, feeds)


def with_step(*names: str) -> int:
    return next(s for s in range(500) if set(names) & set(random_lengths_net(s).steps))


def test_alone_all_operators_compute_what_they_do_together() -> None:
    for seed in range(6):
        net, whole, _ = cut(seed)
        whole.alive = np.ones_like(whole.alive)
        held(net, whole, net.model)


def test_it_notices_rows_in_another_order() -> None:
    net, whole, small = cut(with_step("table_of_positions"))
    held(net, whole, small)
    for tensor in small.graph.initializer:
        if tensor.dims[:1] in ([n] for n in ROWS) and tensor.data_type == TensorProto.FLOAT:
            rolled = np.roll(numpy_helper.to_array(tensor), 1, axis=0)
            tensor.CopyFrom(numpy_helper.from_array(rolled, tensor.name))
    with pytest.raises(AssertionError, match="differs"):
        held(net, whole, small)


def test_it_notices_a_size_written_down() -> None:
    """The rows of the table are as many as they were for the analysis."""
    net, whole, small = cut(with_step("table_of_one_row"))
    held(net, whole, small)
    (node,) = [n for n in small.graph.node if n.op_type == "Expand"][:1]
    width = next(n for n in small.graph.node if n.output[0] == node.input[1])
    width.input[1] = "seven"
    small.graph.initializer.append(numpy_helper.from_array(np.array([7]), "seven"))
    with pytest.raises((AssertionError, *reference.FAILURES)):
        held(net, whole, small)


def test_it_notices_other_channels() -> None:
    net, whole, _ = cut(0)
    _, _, small = cut(0)
    whole.alive = ~whole.alive
    whole.alive[0] = True
    with pytest.raises((AssertionError, *reference.FAILURES)):
        held(net, whole, small)


def test_channels_may_repeat_with_a_symbol_but_not_depend_on_it() -> None:
    heads = np.array([3, 4, 3, 4])
    assert at_length(heads, 0, 6, [(2, 3)], "x").tolist() == [3, 4] * 3
    blocks = np.array([3, 3, 4, 4])
    assert at_length(blocks, 0, 6, [(2, 3)], "x").tolist() == [3] * 3 + [4] * 3
    assert at_length(np.array([5, 5]), 0, 9, [], "x").tolist() == [5]
    with pytest.raises(AssertionError, match="other channels along axis 0: 4 long, now 6"):
        at_length(np.array([3, 4, 5, 6]), 0, 6, [(2, 3)], "x")


def test_ties_are_seen() -> None:
    node = helper.make_node("TopK", ["x", "k"], ["v", "i"], axis=0)
    near, far = np.float32([[1], [1.00001], [3]]), np.float32([[1], [2], [3]])
    every, count = np.ones((3, 1), bool), np.array([2])
    assert margin(node, [near, count], every) < reference.NEAR < margin(node, [far, count], every)
    assert margin(node, [near, count], ~every) == np.inf
    assert margin(node, [near, np.array([1])], every) > reference.NEAR  # two that nobody wants
    worst = helper.make_node("ArgMin", ["x"], ["i"], axis=0)
    assert margin(worst, [near], every) < reference.NEAR < margin(worst, [far], every)
    less = helper.make_node("Less", ["a", "b"], ["c"])
    assert margin(less, [near, np.float32(1.00002)], every) < reference.NEAR
    assert margin(less, [far, np.float32(0.5)], every) > reference.NEAR


def test_what_lies_behind_ties_is_counted() -> None:
    run = Run({"a": np.ones(3), "b": np.ones(3)}, unsure={"a"})
    assert agreed(run, {"a": np.zeros(3), "b": np.ones(3)}) == Agreement(0.0, 1, 1)
    with pytest.raises(AssertionError, match="b differs"):
        agreed(run, {"b": np.zeros(3)})


def test_sums_that_cancel_may_differ_by_what_rounding_leaves() -> None:
    """What is left of 1e4 + tiny - 1e4 is rounding; anything above that is wrong."""
    values = {"y": np.full(4, 1e-3, np.float32)}
    run = Run(values, rounded=lambda: Run({"y": values["y"] + np.float32(1e-3)}))
    agreed(run, {"y": values["y"] + np.float32(3e-3)})
    for other in (5e-3, -6e-3):
        with pytest.raises(AssertionError, match="y differs"):
            agreed(run, {"y": values["y"] + np.float32(other)})


def test_rounding_is_small_where_nothing_cancels() -> None:
    net, whole, _ = cut(0)
    feeds, sizes = net.feeds(net.sizes[0]), net.sizes[0]
    run = whole.run(feeds, sizes)
    floats = [n for n, m in run.masks.items() if run.values[n].dtype == np.float32 and m.any()]
    shares = [run.noise(n) / max(np.abs(run.values[n]).max(), 1e-9) for n in floats[:8]]
    assert 0 < max(shares) < 1e-4


def test_it_notices_a_default_that_is_lost() -> None:
    net, _, small = cut(with_step("table_from_an_offset"))
    same_inputs(net.model, small)
    stored = {tensor.name for tensor in net.model.graph.initializer}
    name = next(name for name in net.below if name in stored)
    (kept,) = [t for t in small.graph.initializer if t.name == name]
    kept.CopyFrom(numpy_helper.from_array(np.array([2]), name))
    with pytest.raises(AssertionError, match="another default"):
        same_inputs(net.model, small)
    small.graph.initializer.remove(kept)
    with pytest.raises(AssertionError, match="is gone"):
        same_inputs(net.model, small)
    (info,) = [info for info in small.graph.input if info.name == name]
    small.graph.input.remove(info)
    with pytest.raises(AssertionError, match="other inputs"):
        same_inputs(net.model, small)


def test_the_families_are_run_by_name() -> None:
    assert trial_lengths(0).state == OK
