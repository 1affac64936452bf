"""The measure of errors: what is lost altogether is one whole."""

from __future__ import annotations

import numpy as np
import pytest

from spa.criteria import Context
from spa.criteria import activation as module
from spa.criteria.obspa import problems_of
from spa.executor import survey
from spa.executor.sites import concerned, sites_of
from tests.carried import coupling_of
from tests.criteria.test_obspa import feeds_for


def first_site(coupling, measure):
    sites = (s for s in sites_of(coupling) if concerned(s, coupling) and s.groups() == 1)
    return next(s for s in sites if s.sink.gain(measure.consts) is not None)


def test_the_whole_is_the_number_of_directions_that_count():
    coupling = coupling_of("digits")
    measure, _ = problems_of(Context(coupling, feeds_for(coupling.graph)))
    site = first_site(coupling, measure)
    covariance = measure.seen.covariance[site.sink.tensor]
    floor = module.DETAIL * np.diag(covariance).mean()
    values = np.linalg.eigvalsh(covariance)
    gain = site.sink.gain(measure.consts)
    lost = np.linalg.cholesky(covariance + 1e-9 * np.eye(len(gain))) / gain[:, None]
    rows, whole = measure.rows(site, lost[None])  # all of it: as much as there is
    np.testing.assert_allclose(whole, (values / (values + floor)).sum(), rtol=1e-6)
    np.testing.assert_allclose(np.square(rows).sum(), whole, rtol=1e-4)


def test_an_error_is_a_mean_over_places():
    coupling = coupling_of("digits")
    measure, _ = problems_of(Context(coupling, feeds_for(coupling.graph)))
    site = first_site(coupling, measure)
    shape = (4, *coupling.graph.shapes[site.y][1:])
    change = np.random.default_rng(0).standard_normal(shape).astype(np.float32)
    once = measure.error(site, change)
    np.testing.assert_allclose(measure.error(site, np.concatenate([change] * 3)), once, rtol=1e-5)
    np.testing.assert_allclose(measure.error(site, 3 * change), 9 * once, rtol=1e-5)
    assert once > 0


@pytest.mark.parametrize("least", [-2e-3, 1e-3], ids=["rounded", "sound"])
def test_rounding_that_hides_a_variance_is_no_error(monkeypatch, least):
    """Of large numbers rounding may leave less than nothing; that counts as the floor."""
    coupling = coupling_of("digits")
    measure, _ = problems_of(Context(coupling, feeds_for(coupling.graph)))
    site = first_site(coupling, measure)
    gain, floor = site.sink.gain(measure.consts), 5e-4
    turn = np.linalg.qr(np.random.default_rng(0).standard_normal((len(gain), len(gain))))[0]
    values = np.append(np.linspace(3.0, 0.1, len(gain) - 1), least)
    monkeypatch.setattr(module, "DETAIL", 0.0)
    measure.seen.covariance[site.sink.tensor] = turn * values @ turn.T
    measure.seen.energy[site.sink.tensor] = floor / module.SPREAD
    again = module.ActivationMetric(coupling, measure.seen)  # which knows none of what it told
    found, _ = again.rows(site, (np.eye(len(gain)) / gain[:, None])[None])
    expected = turn / np.maximum(values + floor, floor) @ turn.T
    np.testing.assert_allclose(found[0].T @ found[0], expected, rtol=1e-6, atol=1e-6)


def test_very_wide_sinks_are_measured_channel_by_channel(monkeypatch):
    coupling = coupling_of("digits")
    feeds = feeds_for(coupling.graph)
    measure, _ = problems_of(Context(coupling, feeds))
    site = first_site(coupling, measure)
    full = measure.seen.covariance[site.sink.tensor]
    monkeypatch.setattr(survey, "WIDEST", 4)
    wide, _ = problems_of(Context(coupling, feeds))
    var = wide.seen.covariance[site.sink.tensor]
    np.testing.assert_allclose(var, np.diag(full), rtol=0.05)  # all places, not a choice of them
    floor = module.DETAIL * var.mean()
    gain = site.sink.gain(wide.consts)
    rows, whole = wide.rows(site, (np.sqrt(var) / gain)[None, :, None])
    np.testing.assert_allclose(np.square(rows).sum(), whole[0], rtol=1e-6)
    np.testing.assert_allclose(whole[0], (var / (var + floor)).sum(), rtol=1e-6)
