"""Progress as data: scoring and refitting say by sites how far they are."""

from __future__ import annotations

from pathlib import Path

import spa
from spa.events import Done, Started, Step, Work

DIGITS = Path(__file__).parents[1] / "models" / "digits.onnx"


def test_parts_of_a_stage_add_up_to_the_whole():
    told = []
    work = Work("s", told.append, {"sites": [1.0, 3.0], "groups": [4.0]})
    for unit in ("sites", "groups"):
        work.begin(unit)
        for _ in range(3):  # one step too many says nothing
            work.step()
    assert told == [
        Started("s", 2, "sites"),
        Step("s", 1, 0.125),
        Step("s", 1, 0.5),
        Started("s", 1, "groups"),
        Step("s", 1, 1.0),
    ]


def test_scoring_and_refitting_count_all_of_their_sites_and_groups():
    told = []
    spa.prune(DIGITS, 0.3, samples=16, verify="none", tell=told.append)
    for stage, units in (("score", ["sites", "groups"]), ("reconstruct", ["sites"])):
        mine = [event for event in told if getattr(event, "stage", None) == stage]
        assert mine[0] == Started(stage) and isinstance(mine[-1], Done)
        counted = [event for event in mine[1:] if isinstance(event, Started)]
        assert [event.unit for event in counted] == units
        steps = [event for event in mine if isinstance(event, Step)]
        assert len(steps) == sum(event.total or 0 for event in counted) > 0
        shares = [event.share for event in steps]
        assert shares == sorted(shares) and abs(shares[-1] - 1) < 1e-9


def test_activation_energies_are_counted_by_sites():
    told = []
    spa.prune(DIGITS, 0.3, scorer="act", samples=16, verify="none", tell=told.append)
    steps = [event for event in told if isinstance(event, Step) and event.stage == "score"]
    assert steps and abs(steps[-1].share - 1) < 1e-9
