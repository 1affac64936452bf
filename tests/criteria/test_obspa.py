"""Costs of removal against refitting by hand."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest

from spa.criteria import Context
from spa.criteria import obspa as module
from spa.criteria.act import act
from spa.criteria.obspa import RIDGE, obspa
from spa.executor.least_squares import Moments
from tests.carried import coupling_of


def site_of(units, block, rows=5, seed=0):
    """A site whose channel u owns `block` columns, and random correlated moments for it."""
    rng = np.random.default_rng(seed)
    features = units * block
    weight = rng.standard_normal((rows, features))
    mix = rng.standard_normal((features, features))
    x = (mix @ rng.standard_normal((features, 4 * features)) + 1).astype(np.float32)
    owner = np.repeat(np.arange(1, units + 1), block)
    return SimpleNamespace(weight=weight, units=owner), x


def problem_of(site, x):
    moments = Moments(1, len(x))
    moments.add(x[None])
    gram, _ = moments.centred()
    return module.Problem(site.weight, gram[0], site.units, 1e9, 1.0)


def ridged(x):
    """H, from the inputs themselves."""
    centred = x.astype(float) - x.mean(1, dtype=float, keepdims=True)
    gram = centred @ centred.T
    return (gram + RIDGE * np.diag(np.diag(gram))) / (1 + RIDGE)


def refitted(weight, h, gone):
    """The least tr((W - W')H(W - W')ᵀ) over W' whose columns `gone` are zero, and that W'."""
    left = ~gone
    best = np.zeros_like(weight)
    best[:, left] = np.linalg.solve(h[np.ix_(left, left)], h[left] @ weight.T).T
    miss = weight - best
    return float(np.trace(miss @ h @ miss.T)), best


def costs_of(problem, size, gone=()):
    total, alive = np.zeros(size + 1), np.ones(size + 1, bool)
    alive[list(gone)] = False
    units, costs = problem.costs(alive)
    total[units] = costs
    return total


def without(problem, *units):
    gone = np.zeros(100, bool)
    gone[list(units)] = True
    problem.remove(gone)


@pytest.mark.parametrize("block", [1, 9])
def test_one_removal_costs_what_refitting_leaves(block):
    site, x = site_of(6, block)
    h = ridged(x)
    expected = [refitted(site.weight, h, site.units == u)[0] for u in range(1, 7)]
    np.testing.assert_allclose(costs_of(problem_of(site, x), 6)[1:], expected, rtol=1e-3)


@pytest.mark.parametrize("block", [1, 9])
def test_downdates_equal_starting_over(block):
    site, x = site_of(6, block)
    h = ridged(x)
    problem = problem_of(site, x)
    gone = np.zeros(len(h), bool)
    for turn, unit in enumerate((3, 1, 6)):
        without(problem, unit)
        gone |= site.units == unit
        left = np.ix_(~gone, ~gone)
        np.testing.assert_allclose(problem.inverse @ h[left], np.eye((~gone).sum()), atol=1e-3)
        best = refitted(site.weight, h, gone)[1][:, ~gone]
        np.testing.assert_allclose(problem.weight, best, rtol=1e-3, atol=1e-3)
        expected = np.zeros(7)
        for u in set(problem.units):
            expected[u] = refitted(best, h[left], problem.units == u)[0]
        np.testing.assert_allclose(costs_of(problem, 6, (3, 1, 6)[: turn + 1]), expected, rtol=1e-3)


def uneven(energies):
    """A problem whose independent channels, two columns each, have such energies."""
    size = 2 * len(energies)
    gram = np.diag(np.repeat(np.asarray(energies, float), 2))
    owner = np.repeat(np.arange(1, len(energies) + 1), 2)
    return module.Problem(np.eye(size), gram, owner, 1e9, 1.0)


def test_energies_come_nearer_to_each_other_and_keep_their_sum(monkeypatch):
    monkeypatch.setattr(module, "BELIEF", 0.5)
    problem = uneven([1.0, 4.0, 9.0, 16.0])
    before = costs_of(problem, 4)[1:]
    problem.level()
    after = costs_of(problem, 4)[1:]
    np.testing.assert_allclose(before, [2, 8, 18, 32])
    np.testing.assert_allclose(after / after[0], [1, 2, 3, 4])
    np.testing.assert_allclose(after.sum(), before.sum())


def test_what_hardly_fires_stays_cheap_and_what_never_does_is_free():
    problem = uneven([0.0, 1e-6, 1.0, 1.0])
    problem.level()
    costs = costs_of(problem, 4)[1:]
    assert np.isfinite(costs).all() and (costs[:2] < 1e-3 * costs[2]).all()


def test_levelling_leaves_correlations():
    site, x = site_of(6, 3)
    problem = problem_of(site, x * np.repeat(np.arange(1, 7), 3)[:, None].astype(np.float32))
    before = np.linalg.inv(problem.inverse)
    problem.level()
    after = np.linalg.inv(problem.inverse)
    alike = [h / np.sqrt(np.outer(np.diag(h), np.diag(h))) for h in (before, after)]
    np.testing.assert_allclose(*alike, atol=1e-6)
    assert np.ptp(np.log(np.diag(after))) < 0.8 * np.ptp(np.log(np.diag(before)))


def test_a_site_that_reads_nothing_but_zeros_is_left_as_it_is():
    problem = uneven([0.0, 0.0])
    before = problem.inverse.copy()
    problem.level()
    np.testing.assert_array_equal(problem.inverse, before)


def test_costs_are_levelled_and_energies_are_not(monkeypatch):
    coupling = coupling_of("digits")
    feeds = feeds_for(coupling.graph)
    halfway, energies = obspa(Context(coupling, feeds)), act(Context(coupling, feeds))
    monkeypatch.setattr(module, "BELIEF", 1.0)
    assert not np.allclose(obspa(Context(coupling, feeds)), halfway, rtol=1e-3)
    np.testing.assert_allclose(act(Context(coupling, feeds)), energies)


def equal_channels():
    """A site that reads independent channels but for the first two, which are one."""
    site, _ = site_of(6, 1)
    x = np.random.default_rng(1).standard_normal((6, 500)).astype(np.float32)
    x[1] = x[0]
    site.weight[:] = np.sign(site.weight)
    return site, x


def test_of_two_equal_channels_only_one_is_free():
    site, x = equal_channels()
    problem = problem_of(site, x)
    alone = costs_of(problem, 6)
    without(problem, 1)
    after = costs_of(problem, 6, (1,))
    assert alone[1] < 0.1 * np.median(alone[3:])
    assert alone[2] < 0.1 * np.median(alone[3:])
    assert after[2] > 10 * alone[2]


def test_greedy_scores_rise_in_the_order_of_removal():
    site, x = equal_channels()
    site.weight[:, 1] = site.weight[:, 0]
    scores = np.zeros(7)
    group = SimpleNamespace(cells=np.arange(1, 7)[None])
    module.greedy(group, [problem_of(site, x)], scores)
    first, second = sorted(scores[[1, 2]])
    assert first == scores[1:].min() and second > 10 * first


def test_scores_sum_up_to_the_error_curve():
    site, x = site_of(6, 1)
    scores = np.zeros(7)
    module.greedy(SimpleNamespace(cells=np.arange(1, 7)[None]), [problem_of(site, x)], scores)
    everything = refitted(site.weight, ridged(x), np.ones(6, bool))[0]
    np.testing.assert_allclose(scores.sum(), everything, rtol=1e-3)
    assert len(set(scores[1:])) == 6


def test_two_sites_cost_more_together_than_one_by_one():
    site, x = site_of(6, 1)
    group, alone, both = SimpleNamespace(cells=np.arange(1, 7)[None]), np.zeros(7), np.zeros(7)
    module.greedy(group, [problem_of(site, x)], alone)
    module.greedy(group, [problem_of(site, x), problem_of(site, x)], both)
    np.testing.assert_allclose(both[1:], 4 * alone[1:])


def test_one_group_does_not_change_what_another_costs():
    site, x = site_of(6, 1)
    groups = [SimpleNamespace(cells=np.arange(a, a + 3)[None]) for a in (1, 4)]
    found = []
    for order in (groups, groups[::-1]):
        problem, scores = problem_of(site, x), np.zeros(7)
        for group in order:
            module.greedy(group, [problem.copy()], scores)
        found.append(scores)
    np.testing.assert_allclose(found[0], found[1])


@pytest.fixture
def wide(monkeypatch):
    """What is gathered of columns `[groups, features, m]` of a wide site, by units."""
    monkeypatch.setattr(module, "LARGEST", 20)

    def sums_of(units, columns):
        sums = module.Sums(units, "cpu")
        for part in np.split(columns, 4, 2):
            sums.add(part, part.shape[2])
        assert sums.finite
        return sums

    return sums_of


def test_wide_sites_are_judged_by_whole_channels(wide):
    """As if the Gram matrix of all columns were there: it never is."""
    site, x = site_of(6, 9)
    units = np.random.default_rng(3).permutation(np.maximum(site.units, 2))  # 2 has twice as many
    sums = wide(np.stack([units, site.units]), np.stack([x, 2 * x]))
    assert [m.xx.shape for m in sums.moments] == [(1, 5, 5), (1, 6, 6)]
    for k, (owner, scale) in enumerate(((units, 1), (site.units, 4))):
        pool = sums.pools[k]
        pick = (owner == pool.own[:, None]).astype(float)
        gram = scale * np.cov(x.astype(float), bias=True) * x.shape[1]
        want = pick @ gram @ (pick / pick.sum(1, keepdims=True)).T
        got = pool.gram(sums.moments[k].centred()[0][0])
        np.testing.assert_allclose(got, want, rtol=1e-3, atol=1e-3 * np.abs(want).max())
        norms = pool.norms(site.weight)
        np.testing.assert_allclose(np.square(norms), np.square(site.weight) @ pick.T)
        problem = module.Problem(norms, got, pool.own, 1e9, 1.0)
        costs = costs_of(problem, 6)[pool.own]
        assert np.isfinite(costs).all() and (costs > 0).all()


def test_numbers_that_are_not_finite_spoil_what_is_gathered(wide):
    units = np.arange(1, 31)[None]
    columns = np.ones((1, 30, 8), np.float32)
    assert wide(units, columns).pools
    columns[0, 3, 5] = np.inf
    with pytest.raises(AssertionError), np.errstate(invalid="ignore"):
        wide(units, columns)


def test_scores_of_wide_sites_are_near_those_of_narrow_ones(monkeypatch):
    coupling = coupling_of("digits")
    context = Context(coupling, feeds_for(coupling.graph))
    narrow, _ = module.problems_of(context)[1], monkeypatch.setattr(module, "LARGEST", 8)
    wide = module.problems_of(context)[1]
    assert len(wide) == len(narrow) and any(len(p.units) > 8 for p in narrow)
    for one, other in zip(narrow, wide, strict=True):
        assert set(one.units.tolist()) == set(other.units.tolist())
        assert other.scale == one.scale


def feeds_for(graph):
    rng = np.random.default_rng(0)
    return [{n: rng.random((16, *graph.shapes[n][1:]), np.float32) for n in graph.inputs}]


def test_scores_of_a_model_are_finite_and_positive():
    coupling = coupling_of("digits")
    scores = obspa(Context(coupling, feeds_for(coupling.graph)))
    units = np.concatenate([g.cells.ravel() for g in coupling.groups])
    assert np.isfinite(scores).all() and (scores[units] > 0).all()


def test_groups_that_nothing_reads_share_their_energy(monkeypatch):
    coupling = coupling_of("digits")
    real = module.problems_of
    monkeypatch.setattr(module, "problems_of", lambda *given: (real(*given)[0], []))
    scores = obspa(Context(coupling, feeds_for(coupling.graph)))
    for group in coupling.groups:
        np.testing.assert_allclose(scores[group.cells].sum(), 1.0)
        assert (scores[group.cells] > 0).all()


def test_inputs_that_overflow_leave_finite_scores():
    coupling = coupling_of("digits")
    feeds = feeds_for(coupling.graph)
    feeds[0][coupling.graph.inputs[0]][0] = np.nan
    assert np.isfinite(obspa(Context(coupling, feeds))).all()


def test_a_depthwise_channel_loses_nothing_of_its_own():
    coupling = coupling_of("digits")
    deep = [n for n in coupling.graph.nodes if n.attrs.get("group", 1) > 1]
    feeds = feeds_for(coupling.graph)
    _, found = module.problems_of(Context(coupling, feeds))
    sites = [s for s in module.sites_of(coupling) if module.concerned(s, coupling)]
    assert deep and len(found) == len(sites) - len(deep)


def test_activation_energy_is_what_a_lone_channel_carries():
    site, x = site_of(6, 1)
    problem = problem_of(site, x)
    expected = x.var(1) * x.shape[1] * (site.weight**2).sum(0)
    np.testing.assert_allclose(problem.energy * (problem.weight**2).sum(0), expected, rtol=1e-3)
    coupling = coupling_of("digits")
    scores = act(Context(coupling, feeds_for(coupling.graph)))
    units = np.concatenate([g.cells.ravel() for g in coupling.groups])
    assert np.isfinite(scores).all() and (scores[units] > 0).mean() > 0.9


def test_channels_that_never_vary_have_scores_even_if_rounding_takes_them_below_zero():
    """Centred sums of a constant leave plus or minus nothing; no root is taken of that."""
    gram = np.diag([1e-12, -4e-12, 6e-12, -2e-12])
    problem = module.Problem(np.eye(4), gram, np.array([1, 2, 3, 4]), 1e9, 1.0)
    problem.level()
    _, costs = problem.costs(np.ones(5, bool))
    assert np.isfinite(problem.inverse).all() and np.isfinite(costs).all()
