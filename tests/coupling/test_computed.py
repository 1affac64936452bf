"""Weights that the graph computes are cut along what their makers keep."""

from __future__ import annotations

import numpy as np
import pytest

import spa
from spa import runtime
from spa.coupling import analyse
from spa.graph import read
from spa.probes import plain
from spa.rewrite import rewrite
from tests import oracles
from tests.fuzz.reference import Reference
from tests.nets import MOTIFS, computed

EXACT = [
    m for m in MOTIFS.values() if m.make.__module__ == computed.__name__ and m.fixed and not m.lossy
]


@pytest.mark.parametrize(
    ("motif", "batch"),
    [
        pytest.param(motif, batch, id=f"{motif.name}-{batch}")
        for motif in EXACT
        for batch in ((1,) if motif.options.get("batch") == 1 else (1, 2, 3))  # or one picture
    ],
)
def test_what_is_left_is_what_a_run_node_by_node_says(motif, batch):
    model = motif.build(batch=batch)
    coupling = analyse(read(model), strict=True)
    assert oracles.groups_of(coupling) == motif.groups
    alive = oracles.scattered(0.4, batch)(coupling)
    feeds = plain.feeds(coupling.graph, seed=batch)
    want = Reference(coupling.graph.proto, coupling, alive).run(feeds, {}).values
    found = runtime.run(runtime.session(rewrite(coupling, alive), threads=1), feeds)
    for name, got in found.items():
        assert np.abs(got - want[name]).max() <= 1e-5 * np.abs(want[name]).max()


@pytest.mark.parametrize("name", ["bank_with_a_bias", "demodulated_weight"])
def test_a_run_scores_cuts_refits_and_proves(name):
    done = spa.prune(MOTIFS[name].build(), 0.25, samples=16, round_to=1)
    assert done.report["verify"]["level"] == "equivalence"
    assert done.report["verify"]["passed"]
    assert done.report["reduction"]["macs"] >= 0.25


def test_numbers_that_lie_flat_are_counted_as_they_are_left():
    """Of a bias over outputs and inputs at once, so many of both are left."""
    coupling = analyse(read(MOTIFS["bank_with_a_bias"].build()), strict=True)
    alive = oracles.scattered(0.5, 0)(coupling)
    oracles.cost(coupling, alive, rewrite(coupling, alive))
