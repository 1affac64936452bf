"""Rows in pools, features of a pair, and what of the original is kept."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

torch = pytest.importorskip("torch")

import spa.torch  # noqa: E402
from spa.errors import ReadError, VerifyError  # noqa: E402
from spa.torch.tuning.fit import Fit, Judge, Rate, Work  # noqa: E402
from spa.torch.tuning.match import Matched, matched  # noqa: E402
from spa.torch.tuning.rows import Order, chunks, pools_of  # noqa: E402
from spa.torch.tuning.teacher import Teacher  # noqa: E402
from tests.nets.net import Net  # noqa: E402


def runs(count, batch, width=4, seed=0):
    random = np.random.default_rng(seed)
    return [{"x": random.standard_normal((batch, width), np.float32)} for _ in range(count)]


def test_rows_of_one_shape_lie_in_one_pool():
    pools = pools_of([*runs(3, 8), *runs(1, 5, width=6)], {"x": 0}, whole=False)
    assert [pool.rows for pool in pools] == [24, 5]
    assert [pool.rows for pool in pools_of(runs(3, 8), {"x": 0}, whole=True)] == [8, 8, 8]


def test_an_input_without_rows_is_shared():
    feeds = [{**each, "rate": np.float32(3)} for each in runs(3, 8)]
    (pool,) = pools_of(feeds, {"x": 0, "rate": None}, whole=False)
    taken = pool.taken(torch.tensor([1, 2]))
    assert taken["x"].shape == (2, 4) and taken["rate"].shape == ()


def test_labels_follow_their_rows():
    labels = np.arange(24)
    (pool,) = pools_of(runs(3, 8), {"x": 0}, whole=False, labels=labels)
    assert pool.labels.tolist() == labels.tolist()


def test_every_row_comes_as_often_as_any_other():
    pools = pools_of(runs(4, 8), {"x": 0}, whole=False)
    order, seen = Order(pools, 8, 0), Counter()
    for _ in range(12):
        for chunk in order.step():
            seen.update(chunk.index.tolist())
    assert set(seen.values()) == {3} and len(seen) == 32


def test_small_pools_are_taken_together_until_a_step_has_enough():
    pools = pools_of(runs(6, 3), {"x": 0}, whole=True)
    assert sum(chunk.rows for chunk in Order(pools, 8, 0).step()) == 9


def test_an_order_can_be_gone_on_with():
    pools = pools_of(runs(4, 8), {"x": 0}, whole=False)
    first, second = Order(pools, 8, 3), Order(pools, 8, 3)
    for _ in range(5):
        first.step()
    second.skip(5)
    assert first.step()[0].index.tolist() == second.step()[0].index.tolist()


def mlp(mix=None, classes=3, dtype=np.float32):
    """Two layers and a head; `mix` rotates what is between them, and the outputs are the same."""
    random = np.random.default_rng(0)
    first, second = random.standard_normal((4, 6)), random.standard_normal((6, 8))
    head = random.standard_normal((8, classes))
    if mix is not None:
        first, second = first @ mix, np.linalg.inv(mix) @ second
    net = Net(batch="N", dtype=dtype)
    y = net.MatMul(net.input("x", 4), net.const(first.astype(dtype)))
    z = net.Relu(net.MatMul(y, net.const(second.astype(dtype))))
    return net.done(net.MatMul(z, net.const(head.astype(dtype))))


def pair(*models):
    return [spa.torch.load(model) for model in models]


def test_features_are_the_last_tensors_of_a_shape_that_both_know():
    (pool,) = pools_of(runs(2, 8), {"x": 0}, whole=False)
    found = matched(*pair(mlp(), mlp()), pool)
    assert [name.split("_")[0] for name in found.features] == ["MatMul", "Relu"]
    assert found.divisible and set(found.axes.values()) == {0}


def test_a_tensor_that_means_something_else_is_no_feature():
    mix = np.linalg.qr(np.random.default_rng(1).standard_normal((6, 6)))[0]
    (pool,) = pools_of(runs(2, 8), {"x": 0}, whole=False)
    found = matched(*pair(mlp(), mlp(mix)), pool)
    assert [name.split("_")[0] for name in found.features] == ["Relu"]


def test_outputs_of_other_shapes_are_refused():
    (pool,) = pools_of(runs(2, 8), {"x": 0}, whole=False)
    with pytest.raises(VerifyError, match="shape"):
        matched(*pair(mlp(), mlp(classes=4)), pool)


@pytest.mark.parametrize("room", [1 << 20, 0])
def test_what_is_kept_of_the_original_is_what_it_gives(room):
    pools = pools_of(runs(3, 8), {"x": 0}, whole=False)
    dense, small = pair(mlp(), mlp())
    found = matched(dense, small, pools[0])
    counted = []
    teacher = Teacher(dense, pools, found, 8, room, counted.append)
    assert teacher.kept == bool(room) and sum(counted) == 24
    for chunk in chunks(pools, 5):
        values = dense.run(pools[0].taken(chunk.index), found.names)
        for name, target in zip(found.names, teacher.targets(chunk), strict=True):
            assert torch.allclose(values[name], target, atol=1e-2, rtol=1e-3)


def test_a_value_beyond_half_precision_is_kept_in_single():
    pools = pools_of([{"x": runs(1, 8)[0]["x"] * 1e6}], {"x": 0}, whole=False)
    dense, small = pair(mlp(), mlp())
    found = matched(dense, small, pools[0])
    teacher = Teacher(dense, pools, found, 8, 1 << 20, lambda rows: None)
    (chunk,) = chunks(pools, 8)
    assert all(target.isfinite().all() for target in teacher.targets(chunk))


def test_a_step_whose_rows_run_in_parts_is_the_same_step(monkeypatch):
    dense, small = pair(mlp(), mlp())
    pools = pools_of(runs(8, 8), {"x": 0}, whole=False)
    found = matched(dense, small, pools[0])
    teacher = Teacher(dense, pools, found, 64, 1 << 20, lambda rows: None)
    weights = [p for p in small.parameters() if p.requires_grad]
    with torch.no_grad():
        for weight in weights:
            weight += 0.1
    asked, run = [], type(small).run

    def counted(module, feeds, names=None):
        if module is small:
            asked.append(len(feeds["x"]))
        return run(module, feeds, names)

    monkeypatch.setattr(type(small), "run", counted)
    (chunk,) = chunks(pools, 64)

    def step(at_once):
        small.zero_grad()
        asked.clear()
        loss = Work(small, pools, found, teacher, 64, 0, at_once).loss([chunk])
        return loss, [weight.grad.clone() for weight in weights], [*asked]

    whole, parts = step(64), step(24)
    assert (whole[2], parts[2]) == ([64], [24, 24, 16])
    assert parts[0] == pytest.approx(whole[0], rel=1e-5) and whole[0] > 0
    for have, want in zip(parts[1], whole[1], strict=True):
        torch.testing.assert_close(have, want, rtol=1e-4, atol=1e-6)


def test_weights_of_half_precision_learn():
    """Steps far below what half precision tells apart add up."""
    dense, small = pair(mlp(), mlp())
    small.half()
    with torch.no_grad():
        for parameter in small.parameters():
            parameter += 0.05 * torch.randn(parameter.shape).half()
    feeds = [{"x": each["x"].astype(np.float16)} for each in runs(8, 8)]
    halves = pools_of(feeds, {"x": 0}, whole=False)
    found = matched(dense.half(), small, halves[0])
    teacher = Teacher(dense, halves, found, 64, 1 << 20, lambda rows: None)
    work = Work(small, halves, found, teacher, 64, 0)
    judge = Judge(work)
    before, fit = judge(), Fit(work, Rate(1e-5), 200)
    for _ in range(200):
        fit.step()
    assert judge().drift < before.drift
    assert all(parameter.dtype == torch.float16 for parameter in small.parameters())


def rectified(weight):
    """A net whose only weight, if it has one, is not on the way to the output."""
    net = Net(batch="N")
    x = net.input("x", 4)
    aside = [net.node("MatMul", x, net.weight(4, 3))] if weight else []
    return net.done(net.Relu(x), *[net.ArgMax(each, axis=1) for each in aside])


@pytest.mark.parametrize("weight", [False, True])
def test_a_model_without_weights_to_tune_is_refused(weight):
    dense, small = pair(rectified(weight), rectified(weight))
    pools = pools_of(runs(2, 8), {"x": 0}, whole=False)
    found = matched(dense, small, pools[0])
    found = Matched((), found.outputs, found.axes)
    teacher = Teacher(dense, pools, found, 8, 1 << 20, lambda rows: None)
    with pytest.raises(ReadError, match="nothing can be tuned"):
        Fit(Work(small, pools, found, teacher, 8, 0), Rate(1e-3), 10).step()
