"""The original is run once at every size, for all that is compared with it."""

from __future__ import annotations

import numpy as np
import pytest

from spa.coupling import analyse
from spa.graph import read
from spa.rewrite import rewrite
from spa.validate import original as kept
from spa.validate import verify
from spa.validate.inputs import feeds_at
from spa.validate.original import Original
from spa.validate.own import check_own
from tests import oracles
from tests.nets.layers import products


@pytest.fixture
def counted():
    """The original of a net with an open batch, and how often it or what it is compared to ran."""
    runs = []
    graph = read(products(6, 3, batch="N"))
    return Original(graph, seed=3, ran=lambda: runs.append(1)), runs


def test_one_run_for_all_who_ask_at_a_size(counted):
    whole, runs = counted
    first, other = whole.feeds(), whole.feeds({"N": 5})
    assert whole.feeds(dict(whole.graph.dims)) is first and len(next(iter(other.values()))) == 5
    for name, value in feeds_at(whole.graph, 3).items():
        assert np.array_equal(first[name], value)
    made = [whole(feeds, optimize) for feeds in (first, other) for optimize in (True, False)]
    again = [whole(feeds, optimize) for feeds in (first, other) for optimize in (True, False)]
    assert len(runs) == 4 and all(a is b for a, b in zip(made, again, strict=True))
    assert [len(next(iter(m.values()))) for m in made] == [whole.graph.dims["N"]] * 2 + [5] * 2


def test_inputs_of_others_are_not_taken_for_its_own(counted):
    whole, runs = counted
    want = whole(whole.feeds(), False)
    others = {name: value + 1 for name, value in whole.feeds().items()}
    assert not np.array_equal(*(next(iter(m.values())) for m in (whole(others, False), want)))
    assert whole(whole.feeds(), False) is want and len(runs) == 2


def test_what_takes_too_much_room_is_computed_again(counted, monkeypatch):
    monkeypatch.setattr(kept, "KEPT", 0)
    whole, runs = Original(counted[0].graph, ran=counted[0].ran), counted[1]
    feeds = whole.feeds(), whole.feeds({"N": 5})
    made = [next(iter(whole(each, False).values())) for each in (*feeds, *feeds)]
    assert len(runs) == 4 and np.array_equal(made[0], made[2])


def test_a_second_proof_runs_the_cut_alone(counted):
    whole, runs = counted
    check_own(whole)
    assert len(runs) == 2
    coupling = analyse(whole.graph)
    alive = oracles.scattered(0.5, 1)(coupling)
    small = rewrite(coupling, alive)
    one = verify(coupling, alive, small, original=whole)
    assert len(one.sizes) == 3 and len(runs) == 2 + 2 + 3  # at two more sizes, masked at three
    runs.clear()
    two = verify(coupling, alive, small, level="run", original=whole, ran=whole.ran)
    assert len(runs) == 3 and two.sizes == one.sizes and two.drift.relative == one.drift.relative
