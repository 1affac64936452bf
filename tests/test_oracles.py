"""Every motif against every oracle, with stated, symbolic and computed batch sizes."""

from __future__ import annotations

from functools import cache
from typing import Any

import pytest

from spa.coupling import Coupling, analyse
from spa.graph import read
from spa.rewrite import rewrite
from tests import oracles
from tests.nets import BATCH, MOTIFS
from tests.support import ALL_RUN, installed, needs_runtime, refused

VARIANTS: dict[str, dict[str, Any]] = {
    "stated": {},
    "zero": {"batch": BATCH, "sizes": "zero"},
    "minus": {"batch": BATCH, "sizes": "minus"},
    "computed": {"batch": BATCH, "sizes": "computed"},
}

CASES = [
    pytest.param(name, variant, id=f"{name}-{variant}")
    for name, motif in MOTIFS.items()
    for variant in (["stated"] if motif.fixed else VARIANTS)
]
CHOICES = dict(oracles.all_choices())
FEW = ("scattered 0.5", "single 0", "global macs", "rounded to 2")
"""Choices for the variants that differ only in how sizes are written."""

OPSETS = (9, 12, 20, 23)

each_case = pytest.mark.parametrize(("name", "variant"), CASES)


@cache
def coupling_of(name: str, variant: str, norms: bool = True) -> Coupling:
    model = MOTIFS[name].build(norms=norms, **VARIANTS[variant])
    return analyse(read(model), strict=True)


def runnable(name: str, variant: str, norms: bool = True) -> Coupling:
    """The coupling of a net that onnxruntime runs; elsewhere the test is skipped."""
    needs_runtime(MOTIFS[name].build(norms=norms, **VARIANTS[variant]))
    return coupling_of(name, variant, norms)


@each_case
def test_finds_the_groups(name: str, variant: str) -> None:
    assert oracles.groups_of(runnable(name, variant)) == MOTIFS[name].groups


@each_case
def test_identity(name: str, variant: str) -> None:
    oracles.identity(runnable(name, variant))


@each_case
def test_pruned_is_masked(name: str, variant: str) -> None:
    """Nets that are lossy stand in as neutral ones, without the ops that make them so."""
    coupling = runnable(name, variant, norms=not MOTIFS[name].lossy)
    for choice in CHOICES if variant == "stated" else FEW:
        choose = CHOICES[choice]
        fits, alive, refusals = oracles.fitted(coupling, choose)
        assert not refusals, f"{choice} was refused at first"
        try:
            oracles.masked(fits, alive, rewrite(fits, alive))
        except AssertionError as error:
            raise AssertionError(f"{choice}: {error}") from error


@each_case
def test_still_works(name: str, variant: str) -> None:
    coupling = runnable(name, variant)
    for choice in ("scattered 0.3", "scattered 0.7", "single 0"):
        if choice == "single 0" and MOTIFS[name].lossy and installed() < ALL_RUN:
            continue  # older ones refuse to normalise over one channel
        alive = CHOICES[choice](coupling)
        small = rewrite(coupling, alive)
        oracles.works(coupling, alive, small, exact=not MOTIFS[name].lossy)


@each_case
def test_costs_what_was_promised(name: str, variant: str) -> None:
    coupling = runnable(name, variant)
    for choice in ("scattered 0.5", "single 1", "global macs"):
        alive = CHOICES[choice](coupling)
        oracles.cost(coupling, alive, rewrite(coupling, alive))


@pytest.mark.slow
@pytest.mark.parametrize("name", MOTIFS)
def test_other_opsets(name: str) -> None:
    """The same nets as older and newer exporters write them."""
    for opset in OPSETS:
        if opset >= MOTIFS[name].options.get("opset", 10) and name != "oldest_opset":
            model = MOTIFS[name].build(opset=opset, norms=False)
            if refused(model):
                continue
            coupling = analyse(read(model), strict=True)
            assert oracles.groups_of(coupling) == MOTIFS[name].groups
            alive = CHOICES["scattered 0.5"](coupling)
            small = rewrite(coupling, alive)
            oracles.masked(coupling, alive, small)


@pytest.mark.parametrize("name", MOTIFS)
def test_lossy_ops_are_exactly_those_listed(name: str) -> None:
    losses = coupling_of(name, "stated").notes.losses
    assert tuple(sorted(loss.op for loss in losses)) == MOTIFS[name].lossy
    assert not coupling_of(name, "stated", norms=False).notes.losses


@pytest.mark.parametrize("name", [name for name, motif in MOTIFS.items() if motif.lossy])
def test_neutral_nets_are_cut_alike(name: str) -> None:
    """What is shown on the net without norms then holds for the net with them."""
    real, neutral = (coupling_of(name, "stated", norms=norms) for norms in (True, False))
    assert oracles.groups_of(real) == oracles.groups_of(neutral)


def test_every_choice_is_a_cut_somewhere() -> None:
    """A way of choosing that never drops anything would prove nothing."""
    for choice, choose in CHOICES.items():
        cuts = [not choose(coupling_of(name, "stated")).all() for name in MOTIFS]
        assert sum(cuts) > (20 if choice == "rounded to 8" else 60), choice
