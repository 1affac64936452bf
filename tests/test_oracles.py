"""Every motif against every oracle, with stated, symbolic and computed batch sizes.

The ways to write a batch differ in how sizes are rewritten, which one cut shows; more cuts of all
of them are slow.
"""

from __future__ import annotations

from dataclasses import replace
from functools import cache, cached_property, partial
from typing import Any

import pytest
from onnx import ModelProto

from spa.coupling import Coupling, analyse
from spa.graph import read
from spa.rewrite import rewrite
from tests import oracles
from tests.nets import BATCH, MOTIFS
from tests.nets.fused import convolutions_and_sums
from tests.support import ALL_RUN, installed, needs_runtime, refused

VARIANTS: dict[str, dict[str, Any]] = {
    "stated": {},
    "zero": {"batch": BATCH, "sizes": "zero"},
    "minus": {"batch": BATCH, "sizes": "minus"},
    "computed": {"batch": BATCH, "sizes": "computed"},
}
CHOICES = dict(oracles.all_choices())
ONE = ("scattered 0.5",)
"""The choice for variants."""
REST = ("single 0", "global macs", "rounded to 2")
"""Those for variants where there is time."""
OPSETS = (9, 12, 20, 23)


class Case:
    """A motif in one of its variants."""

    def __init__(self, name: str, variant: str) -> None:
        self.motif, self.variant = MOTIFS[name], variant
        self.cut = cache(self._cut)

    def build(self, norms: bool = True) -> ModelProto:
        return self.motif.build(norms=norms, **VARIANTS[self.variant])

    @cached_property
    def coupling(self) -> Coupling:
        return analyse(read(self.build()), strict=True)

    @cached_property
    def exact(self) -> Coupling:
        """The same net without the ops that make it lossy, if any do."""
        lossless = not self.motif.lossy
        return self.coupling if lossless else analyse(read(self.build(norms=False)), strict=True)

    def choices(self, *stated: str) -> tuple[str, ...]:
        return stated if self.variant == "stated" else ONE

    def _cut(self, choice: str) -> tuple[oracles.Alive, ModelProto]:
        alive = CHOICES[choice](self.coupling)
        return alive, rewrite(self.coupling, alive)


NARROW = {
    name: replace(MOTIFS[name], make=make)
    for name, make in {"convolutions_and_sums": partial(convolutions_and_sums, width=4)}.items()
}
"""Nets as they are after a cut, of motifs that older kernels only run at widths of their blocks."""

ALL = [(name, v) for name, m in MOTIFS.items() for v in (["stated"] if m.fixed else VARIANTS)]


@pytest.fixture(scope="module")
def case(request: pytest.FixtureRequest) -> Case:
    """One that onnxruntime runs; where an older one does not, the test is skipped."""
    found = Case(*request.param)
    needs_runtime(found.build())
    if found.motif.name in NARROW:
        needs_runtime(NARROW[found.motif.name].build())
    return found


def each(cases: list[tuple[str, str]]) -> pytest.MarkDecorator:
    """For each of these; pytest then runs the tests of one after another, which share its cuts."""
    return pytest.mark.parametrize("case", cases, indirect=True, ids="-".join, scope="module")


def masked(case: Case, choices: tuple[str, ...]) -> None:
    """Cuts agree with the masked net; that of a lossy one without the ops that make it so."""
    seen = set()
    for choice in choices:
        fits, alive, refusals = oracles.fitted(case.exact, CHOICES[choice])
        assert not refusals, f"{choice} was refused at first"
        if alive.tobytes() not in seen:
            seen.add(alive.tobytes())
            try:
                oracles.masked(fits, alive, rewrite(fits, alive))
            except AssertionError as error:
                raise AssertionError(f"{choice}: {error}") from error


def works(case: Case, choice: str) -> None:
    if choice == "single 0" and case.motif.lossy and installed() < ALL_RUN:
        return  # older ones refuse to normalise over one channel
    oracles.works(case.coupling, *case.cut(choice), exact=not case.motif.lossy)


@each(ALL)
def test_finds_the_groups_and_what_is_lossy(case: Case) -> None:
    assert oracles.groups_of(case.coupling) == case.motif.groups
    assert tuple(sorted(loss.op for loss in case.coupling.notes.losses)) == case.motif.lossy


@each(ALL)
def test_identity(case: Case) -> None:
    oracles.identity(case.coupling)


@each(ALL)
def test_pruned_is_masked(case: Case) -> None:
    masked(case, case.choices(*CHOICES))


@each(ALL)
def test_still_works(case: Case) -> None:
    for choice in case.choices("scattered 0.3", "scattered 0.7", "single 0"):
        works(case, choice)


@each(ALL)
def test_costs_what_was_promised(case: Case) -> None:
    for choice in case.choices("scattered 0.5", "single 1", "global macs"):
        oracles.cost(case.coupling, *case.cut(choice))


@each([(name, variant) for name, variant in ALL if variant == "stated" and MOTIFS[name].lossy])
def test_without_lossy_ops_the_same_is_cut(case: Case) -> None:
    """What is shown on the net without norms then holds for the net with them."""
    assert not case.exact.notes.losses
    assert oracles.groups_of(case.exact) == oracles.groups_of(case.coupling)


@pytest.mark.slow
@each([(name, variant) for name, variant in ALL if variant != "stated"])
def test_variants_are_cut_in_other_ways(case: Case) -> None:
    masked(case, REST)
    for choice in REST:
        works(case, choice)
        oracles.cost(case.coupling, *case.cut(choice))


@pytest.mark.slow
@pytest.mark.parametrize("name", MOTIFS)
def test_other_opsets(name: str) -> None:
    """The same nets as older and newer exporters write them."""
    for opset in OPSETS:
        if opset >= MOTIFS[name].options.get("opset", 10) and name != "oldest_opset":
            model = MOTIFS[name].build(opset=opset, norms=False)
            narrow = NARROW.get(name, MOTIFS[name]).build(opset=opset, norms=False)
            if refused(model) or refused(narrow):
                continue
            coupling = analyse(read(model), strict=True)
            assert oracles.groups_of(coupling) == MOTIFS[name].groups
            alive = CHOICES["scattered 0.5"](coupling)
            small = rewrite(coupling, alive)
            oracles.masked(coupling, alive, small)


def test_every_choice_is_a_cut_somewhere() -> None:
    """A way of choosing that never drops anything would prove nothing."""
    cuts = dict.fromkeys(CHOICES, 0)
    for name in MOTIFS:
        coupling = Case(name, "stated").coupling
        for choice in [choice for choice, count in cuts.items() if count < 20]:
            cuts[choice] += not CHOICES[choice](coupling).all()
        if min(cuts.values()) == 20:
            return
    raise AssertionError(cuts)
