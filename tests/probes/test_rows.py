"""Which rows are fitted on and which are judged on: never the same, unless that is said."""

from __future__ import annotations

import numpy as np
import pytest

from spa.graph import read
from spa.probes import probe_for
from spa.probes.leaves import leaves
from spa.probes.probe import FRESH, SPARED
from spa.registry import INPUTS
from tests.probes.test_choose import MODELS, image_model, model, text_model, weights


def given(tmp_path, rows, batch="N"):
    """A probe of numbered rows: row k holds nothing but k."""
    graph = image_model(shape=(batch, 3, 16, 16))
    data = np.arange(rows, dtype=np.float32).reshape(-1, 1, 1, 1)
    np.save(tmp_path / "rows.npy", np.broadcast_to(data, (rows, 3, 16, 16)))
    return probe_for(graph, calib=tmp_path / "rows.npy")


def numbers(probe, rows):
    return [int(n) for feeds in probe.runs(rows, 7) for n in feeds["x"][:, 0, 0, 0]]


@pytest.mark.parametrize("count", [5, 9, 64, 319, 320, 1000])
def test_rows_from_files_are_either_fitted_on_or_judged_on(tmp_path, count):
    probe = given(tmp_path, count)
    fresh, apart = probe.fresh(64)
    fitting = probe.fitting(10_000)
    assert apart and not set(fresh) & set(fitting)
    assert sorted(fresh + fitting) == list(range(count))
    assert len(fresh) == min(count // 5, SPARED)
    assert numbers(probe, fresh) == fresh  # what is asked for is what comes
    assert max(np.diff(fresh), default=0) <= 2 * count // len(fresh)  # spread over the whole file


def test_what_is_spared_does_not_depend_on_how_much_is_asked_for(tmp_path):
    probe = given(tmp_path, 100)
    assert probe.fresh(8)[0] == probe.fresh(64)[0][:8]
    assert probe.fitting(30) == probe.fitting(80)[:30]


def test_few_rows_serve_for_both_and_that_is_said(tmp_path):
    probe = given(tmp_path, 4)
    assert probe.fresh(64) == ([0, 1, 2, 3], False)
    assert probe.fitting(64) == [0, 1, 2, 3]


def test_a_fixed_batch_is_spared_as_a_whole(tmp_path):
    probe = given(tmp_path, 60, batch=4)
    fresh, apart = probe.fresh(10)
    fitting = probe.fitting(10_000)
    assert apart and not set(fresh) & set(fitting) and len(fresh) % 4 == 0
    assert sorted(numbers(probe, fresh)) == sorted(fresh)
    assert set(numbers(probe, fitting)) == set(fitting)
    assert all(run["x"].shape == (4, 3, 16, 16) for run in probe.runs(fresh))


@pytest.mark.parametrize("batch", (1, 3))
def test_small_pictures_of_a_fixed_batch_are_painted_together(monkeypatch, batch):
    """One by one, every shape costs as much as it does for 64 pictures."""
    painted = []

    def count(rows, *args, **options):
        painted.append(len(rows))
        return leaves(rows, *args, **options)

    monkeypatch.setitem(vars(INPUTS.own["leaves"]), "function", count)
    fixed, free = (probe_for(image_model(shape=(n, 3, 16, 16))) for n in (batch, "N"))
    painted.clear()
    runs = list(fixed.runs(range(5, 5 + 90), 7))
    assert painted == [64 // batch * batch, 90 - 64 // batch * batch]
    assert all(run["x"].shape == (batch, 3, 16, 16) for run in runs)
    (whole,) = free.runs(range(5, 5 + 90), 90)
    assert np.array_equal(np.concatenate([run["x"] for run in runs]), whole["x"])


@pytest.mark.parametrize("graph", [image_model(), text_model()], ids=["pictures", "tokens"])
def test_made_up_rows_have_other_numbers(graph):
    probe = probe_for(graph)
    fresh, apart = probe.fresh(6)
    assert apart and fresh == list(range(FRESH, FRESH + 6)) and probe.fitting(6) == list(range(6))
    old, new = (list(probe.runs(rows, 1)) for rows in (probe.fitting(6), fresh))
    name = graph.inputs[0]
    assert not any(np.array_equal(a[name], b[name]) for a in old for b in new)


def test_runs_are_what_batches_are_made_of():
    probe = probe_for(read(MODELS / "digits.onnx"))
    for one, other in zip(probe.batches(9, 4), probe.runs(range(9), 4), strict=True):
        assert np.array_equal(one["images"], other["images"])


def test_a_model_with_but_one_input_has_none_to_spare():
    nodes = [("Cast", "m", "f", {"to": 1}), ("MatMul", "f w", "y", {})]
    graph = model(nodes, {"m": ("i", ("N", 4))}, {"w": weights(4, 3)}, "y")  # a mask of ones
    rows, apart = probe_for(graph).fresh(8)
    assert not apart and len(rows) == 8
