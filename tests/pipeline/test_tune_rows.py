"""Rows to tune on and rows to judge on: never the same, spread evenly, with their labels."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest

import spa
from spa.coupling import analyse
from spa.coupling.cost import Cost
from spa.errors import ReadError, UsageError
from spa.pipeline.labels import labels_of
from spa.pipeline.tune_rows import HELD, MOST_ROWS, VIEWS, rows_of, source_of
from spa.pipeline.values import Groups
from spa.probes import Data, probe_for
from tests.carried import DIGITS


@cache
def original():
    coupling = analyse(spa.read(DIGITS))
    return Groups(coupling, Cost(coupling)(coupling.everything()))


@cache
def probe(count=None):
    graph = original().graph
    name = graph.inputs[0]
    if count is None:
        return probe_for(graph)
    x = np.arange(count, dtype=np.float32).reshape(-1, 1, 1, 1) + np.zeros(
        graph.shapes[name][1:], "f4"
    )
    return probe_for(graph, calib=Data({name: x}))


def numbers(part):
    """Which rows of `probe(count)` a part holds."""
    return [int(v) for feeds in part.runs for v in next(iter(feeds.values()))[:, 0, 0, 0]]


def test_rows_of_files_are_divided():
    rows = rows_of(probe(1000), original().graph, 1e6, None)
    assert len(rows.held) == HELD and len(rows.fit) == 1000 - HELD
    assert sorted((*rows.fit, *rows.held)) == list(range(1000))
    assert set(probe(1000).fresh(64)[0]) <= set(rows.held)  # of which reports tell the drift


def test_of_few_rows_few_are_spared():
    rows = rows_of(probe(60), original().graph, 1e6, None)
    assert len(rows.fit) >= 30 and 12 <= len(rows.held) <= 24
    with pytest.raises(UsageError, match="100 or more"):
        rows_of(probe(4), original().graph, 1e6, None)


def test_rows_that_are_made_up_are_fewer_where_they_cost_much():
    cheap, dear = (rows_of(probe(), original().graph, macs, None) for macs in (1e6, 5e9))
    assert len(cheap.fit) == 1024 and len(dear.fit) == 100
    assert not {*cheap.fit} & {*cheap.held}
    assert len(rows_of(probe(), original().graph, 1e6, 10).fit) == 10


def test_labels_go_with_their_rows():
    source = source_of(probe(300), original(), spa.Recipe(), (), np.arange(300))
    for part in (source.fit, source.held):
        assert part.labels.tolist() == numbers(part)


def test_pictures_are_seen_in_several_views_with_the_same_labels():
    source = source_of(probe(300), original(), spa.Recipe(), (), np.arange(300))
    first, rows = source.fit.labels, source.fit.rows // source.views
    assert source.views == VIEWS and (np.tile(first[:rows], VIEWS) == first).all()
    assert sum(len(next(iter(run.values()))) for run in source.fit.runs) == source.fit.rows
    assert len({*numbers(source.held)}) == source.held.rows  # as they are, each once
    drawn = source_of(probe(), original(), spa.Recipe(), ()).fit
    arrays = np.concatenate([next(iter(run.values())) for run in drawn.runs])
    views = arrays.reshape(VIEWS, drawn.rows // VIEWS, -1)
    assert all((views[k] != views[0]).any(1).mean() > 0.5 for k in range(1, VIEWS))


def test_moved_inputs_come_first_and_others_fill_up():
    name = original().graph.inputs[0]
    shape = original().graph.shapes[name][1:]
    moved = [{name: np.full((64, *shape), -1.0, np.float32)} for _ in range(5)]
    source = source_of(probe(), original(), spa.Recipe(), moved)
    assert source.kind == "moved"
    found = [numbers(part).count(-1) for part in (source.fit, source.held)]
    assert found == [256 * VIEWS, 64]
    assert (source.fit.rows, source.held.rows) == (MOST_ROWS * VIEWS, HELD)
    few = source_of(probe(), original(), spa.Recipe(), moved[:1])
    assert few.held.rows == HELD and few.fit.rows == MOST_ROWS * few.views
    many = source_of(probe(), original(), spa.Recipe(), moved * 5)
    assert numbers(many.fit).count(-1) == many.fit.rows
    assert numbers(many.held).count(-1) > 0.9 * many.held.rows and many.held.rows == HELD


def test_a_file_of_labels_holds_one_array_of_whole_numbers(tmp_path):
    np.save(tmp_path / "y.npy", np.arange(5)[:, None])
    assert labels_of(tmp_path / "y.npy", 5).tolist() == [0, 1, 2, 3, 4]
    np.savez(tmp_path / "y.npz", a=np.arange(5), b=np.arange(5))
    with pytest.raises(UsageError, match="one array"):
        labels_of(tmp_path / "y.npz", 5)
    (tmp_path / "y.npy").write_bytes(b"no array")
    with pytest.raises(ReadError, match="cannot be read"):
        labels_of(tmp_path / "y.npy", 5)
