"""Ridge from moments against the dense solution."""

from __future__ import annotations

import numpy as np
import pytest

from spa.executor import least_squares, products
from spa.executor.least_squares import GATHERED, Moments, ridge
from spa.repairs.chunk import Chunk, gathered


def problem(features=6, rows=3, count=200, seed=0):
    """X, Y and a start: Y is X, mixed, shifted and noisy."""
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((features, count)).astype(np.float32) + 0.5
    mix = rng.standard_normal((rows, features))
    y = (mix @ x + 2 + 0.1 * rng.standard_normal((rows, count))).astype(np.float32)
    return x, y, rng.standard_normal((rows, features))


def moments_of(x, y, chunks=1):
    moments = Moments(1, len(x), len(y))
    for a, b in zip(np.array_split(x, chunks, 1), np.array_split(y, chunks, 1), strict=True):
        moments.add(a[None], b[None])
    return moments


def fitted(moments, start, *options):
    """The one group's weights and bias."""
    weights, bias = ridge(moments, start[None], *options)
    return weights[0], bias[0]


def missed(x, y, weights, bias):
    return Chunk(x[None], y[None], 1).missed(weights[None], bias[None])[0]


@pytest.mark.parametrize("affine", [True, False])
def test_without_ridge_it_is_lstsq(affine):
    x, y, start = problem()
    design = np.vstack([x, np.ones(x.shape[1])]) if affine else x
    expected = np.linalg.lstsq(design.T.astype(float), y.T.astype(float), rcond=None)[0].T
    weights, bias = fitted(moments_of(x, y), start, 1e-12, affine)
    np.testing.assert_allclose(weights, expected[:, :6], atol=1e-4)
    np.testing.assert_allclose(bias, expected[:, 6] if affine else 0, atol=1e-4)


def test_ridge_minimises_what_it_says():
    x, y, start = problem()
    centred = x - x.mean(1, keepdims=True)
    scale = np.diag(np.sqrt(0.3 * (centred**2).sum(1)))
    design = np.vstack([x.T, scale])
    design = np.hstack([design, np.r_[np.ones(200), np.zeros(6)][:, None]])
    target = np.vstack([y.T, scale @ start.T])
    expected = np.linalg.lstsq(design, target, rcond=None)[0].T
    weights, bias = fitted(moments_of(x, y), start, 0.3)
    np.testing.assert_allclose(weights, expected[:, :6], atol=1e-4)
    np.testing.assert_allclose(bias, expected[:, 6], atol=1e-4)


def test_a_huge_ridge_returns_the_start():
    x, y, start = problem()
    weights, bias = fitted(moments_of(x, y), start, 1e12)
    np.testing.assert_allclose(weights, start, atol=1e-6)
    np.testing.assert_allclose(bias, y.mean(1) - start @ x.mean(1), atol=1e-4)


@pytest.mark.parametrize("strength", [1e-2, 0.0])
def test_degenerate_features_stay_finite(strength):
    x, y, start = problem()
    x[1], x[2], x[3] = x[0], 7.0, 0.0  # a copy, a constant, nothing
    moments = moments_of(x, y)
    weights, bias = fitted(moments, start, strength)
    assert np.isfinite(weights).all() and np.isfinite(bias).all()
    assert missed(x, y, weights, bias).sum() <= missed(x, y, start, np.zeros(3)).sum()
    still = moments_of(np.full_like(x, 3.0), y)
    np.testing.assert_array_equal(fitted(still, start, strength)[0], start)


def test_what_is_not_finite_leaves_the_start():
    x, y, start = problem()
    x[0, 0] = np.nan
    np.testing.assert_array_equal(fitted(moments_of(x, y), start, 1e-2)[0], start)


def test_error_is_the_squared_error():
    x, y, start = problem()
    bias = np.array([0.5, -1.0, 3.0])
    direct = ((y - start @ x - bias[:, None]) ** 2).sum(1)
    np.testing.assert_allclose(missed(x, y, start, bias), direct, rtol=1e-4)


def test_chunks_add_up():
    x, y, _ = problem()
    whole, parts = moments_of(x, y), moments_of(x, y, 7)
    assert whole.count == parts.count == 200
    for name in ("xx", "yx", "x", "y"):
        np.testing.assert_allclose(getattr(parts, name), getattr(whole, name), rtol=1e-5, atol=1e-3)
    for a, b in zip(whole.centred(True), parts.centred(True), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-3)


def test_groups_are_solved_each_on_its_own():
    problems = [problem(seed=k) for k in range(3)]
    x, y, start = (np.stack(part) for part in zip(*problems, strict=True))
    together = Moments(3, 6, 3)
    together.add(x, y)
    weights, bias = ridge(together, start, 1e-2)
    for k, (own_x, own_y, own_start) in enumerate(problems):
        alone = fitted(moments_of(own_x, own_y), own_start, 1e-2)
        np.testing.assert_allclose(weights[k], alone[0], rtol=1e-4, atol=1e-5)
        np.testing.assert_allclose(bias[k], alone[1], rtol=1e-4, atol=1e-5)
    spread = Chunk(x, y, 1).spread
    np.testing.assert_allclose(spread[0], y[0].var(1) * y.shape[2], rtol=1e-3)


def test_sums_of_chunks_have_the_solution_of_all():
    x, y, start = problem()
    parts = Moments(1, 6, 3)
    for some in (slice(80), slice(80, None)):
        parts.add(x[None, :, some], y[None, :, some])
    np.testing.assert_allclose(
        fitted(parts, start, 1e-2)[0],
        fitted(moments_of(x, y), start, 1e-2)[0],
        rtol=1e-4,
        atol=1e-6,
    )


def test_columns_of_one_sample_are_worth_less_the_more_alike_they_are():
    rng = np.random.default_rng(0)
    own, shared = (rng.standard_normal((5, 40, n)).astype(np.float32) for n in (25, 1))
    worth = []
    for share in (0.0, 0.5, 1.0):
        x = np.sqrt(1 - share) * own + np.sqrt(share) * shared
        sums = Moments(1, 5)
        sums.add(x.reshape(1, 5, -1), samples=40)
        worth.append(sums.worth)
    assert 700 < worth[0] <= 1000 and 60 < worth[1] < 120 and 39 < worth[2] < 45
    plain = Moments(1, 5)
    plain.add(own.reshape(1, 5, -1))
    assert plain.worth == 1000


def test_with_few_columns_the_weights_hardly_move():
    x, y, start = problem(features=6, count=200)
    few, many = (moments_of(x[:, :n], y[:, :n]) for n in (4, 200))
    step = [np.abs(fitted(m, start, 1e-3)[0] - start).max() for m in (few, many)]
    assert step[0] < 0.5 * step[1]


def test_scaling_a_channel_scales_the_solution():
    x, y, start = problem()
    by = np.array([1.0, 4.0, 0.5, 1.0, 3.0, 1.0])
    plain = fitted(moments_of(x, y), start, 0.1)[0]
    scaled = fitted(moments_of((by[:, None] * x).astype(np.float32), y), start / by, 0.1)[0]
    np.testing.assert_allclose(scaled * by, plain, rtol=1e-3, atol=1e-4)


def test_single_columns_are_multiplied_many_at_once(monkeypatch):
    asked = []

    def count(x, *others):
        asked.append(x.shape[2])
        return products.on_host(x, *others)

    monkeypatch.setattr(least_squares, "products", lambda device: count)
    x, y, _ = problem(count=2 * GATHERED + 5)
    moments = moments_of(x, y, chunks=x.shape[1])
    np.testing.assert_allclose(moments.xx[0], x.astype(float) @ x.T, rtol=1e-5, atol=1e-2)
    np.testing.assert_allclose(moments.yx[0], y.astype(float) @ x.T, rtol=1e-5, atol=1e-2)
    np.testing.assert_allclose(moments.x[0], x.sum(1, dtype=float), rtol=1e-9)
    assert asked == [GATHERED, GATHERED, 5]


def test_runs_of_one_are_judged_as_runs_of_many():
    """Chunks are put together where their samples have as many columns each; the rest is as is."""
    x, y, start = problem(count=60)

    def cut(sizes):
        ends = np.cumsum(sizes)
        return [
            Chunk(x[None, :, b - n : b], y[None, :, b - n : b], 1)
            for n, b in zip(sizes, ends, strict=True)
        ]

    (whole,) = gathered(cut([1] * 60))
    assert whole.samples == 60 and np.array_equal(whole.columns[0], x)
    np.testing.assert_allclose(whole.spread[0], y.var(1) * 60, rtol=1e-4)
    np.testing.assert_allclose(whole.missed(start[None], np.zeros((1, 3)))[0],
                               np.square(y - start @ x).sum(1), rtol=1e-4)  # fmt: skip
    mixed = list(gathered(cut([2, 2, 3, 3, 50])))
    assert [(c.samples, c.columns.shape[2]) for c in mixed] == [(2, 4), (2, 6), (1, 50)]
