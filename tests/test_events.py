"""Progress as data: all that may take long says how far it is, scoring and refitting by sites."""

from __future__ import annotations

from pathlib import Path

import spa
from spa.events import Done, Started, Step, Work, counted_in
from spa.pipeline.context import Context
from spa.probes import probe_for
from tests.bases.test_directions import scores_of
from tests.probes.test_states import decoder, ranged

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
    spa.prune(DIGITS, 0.3, samples=16, verify="none", callback=told.append)
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
    spa.prune(DIGITS, 0.3, scorer="act", samples=16, verify="none", callback=told.append)
    steps = [event for event in told if isinstance(event, Step) and event.stage == "score"]
    assert steps and abs(steps[-1].share - 1) < 1e-9


def counts(told, stage):
    """What a stage announced, and how many steps were done of it, in order."""
    found = []
    for event in told:
        if isinstance(event, Started) and event.stage == stage:
            found.append([event.total, event.unit, 0])
        elif isinstance(event, Step) and event.stage == stage:
            found[-1][2] += event.advance
    return [tuple(each) for each in found]


def test_the_stage_that_runs_is_counted_and_no_other():
    told = []
    context = Context("prune", told.append)
    context.counted(3, "sites")()
    assert told == []  # nothing runs
    with context.stage("one"), context.stage("two"):
        context.counted(3, "sites")(2)
    assert Started("two", 3, "sites") in told and Step("two", 2) in told
    assert counts(told, "one") == [(None, "steps", 0)]


def test_a_proof_counts_the_runs_of_models_and_the_drift_its_batches():
    told = []
    spa.prune(DIGITS, 0.3, scorer="l2", callback=told.append)
    began, runs, drift = counts(told, "verify")
    assert began == (None, "steps", 0)
    assert runs == (1 + 3 * 3, "runs", 1 + 3 * 3)  # the input, and each model at three sizes
    assert drift[0] == drift[2] > 0 and drift[1] == "batches"


def test_what_was_refitted_is_run_as_well_and_rows_of_the_probe_are_counted():
    told = []
    spa.prune(DIGITS, 0.3, samples=48, callback=told.append)
    _, runs, _ = counts(told, "verify")
    assert runs == (1 + 3 * 3 + 3, "runs", 1 + 3 * 3 + 3)
    assert counts(told, "probe")[-1] == (48, "rows", 48)


def test_a_comparison_of_two_files_counts_its_runs(tmp_path):
    told = []
    spa.prune(DIGITS, 0.3, scorer="l2").save(tmp_path / "small.onnx")
    for level, each in (("equivalence", 3), ("run", 2)):
        told.clear()
        spa.verify(DIGITS, tmp_path / "small.onnx", level=level, callback=told.append)
        _, own, runs, drift = counts(told, "verify")
        assert own == (2, "runs", 2) and runs == (3 * each, "runs", 3 * each)
        assert drift[0] == drift[2] > 0


def test_a_search_counts_its_candidates():
    told = []
    probe_for(ranged(), counted=counted_in("probe", told.append))
    ((total, unit, done),) = counts(told, "probe")
    assert unit == "candidates" and 0 < done <= total <= 200


def test_runs_that_fill_states_are_counted():
    told = []
    probe_for(spa.read(decoder()), counted=counted_in("probe", told.append))
    assert counts(told, "probe")[0][:2] == (None, "runs") and counts(told, "probe")[0][2] > 2


def test_a_rotation_counts_the_sites_it_looks_at():
    told = []
    spa.prune(scores_of(), 0.3, scorer="obspa", samples=16, callback=told.append)
    assert counts(told, "rotate")[1] == (1, "sites", 1)
