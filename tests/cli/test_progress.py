"""Bars for people, lines with -v, silence for machines."""

from __future__ import annotations

import io

import pytest
from rich.console import Console
from rich.progress import Progress

from spa.cli.progress import Bars, Lines, progress
from spa.events import Done, Note, Started, Step, Work, counted_in, quiet

EVENTS = (
    Started("score", 4),
    Step("score", 2),
    Note("folded 3 nodes [red]"),
    Note("not faster", warning=True),
    Step("unannounced"),
    Step("score", 2),
    Done("score", 1.5),
    Done("unannounced", 0.1),
    Done("never started", 0.1),
)


def told(*, terminal, verbose, events=EVENTS):
    console = Console(file=io.StringIO(), force_terminal=terminal, width=100)
    with progress(console, verbose=verbose) as callback:
        for event in events:
            callback(event)
    return console.file.getvalue()


def test_a_person_sees_a_bar_per_stage():
    shown = told(terminal=True, verbose=False)
    assert "score" in shown and "━" in shown and "100%" in shown
    assert "folded" not in shown


def test_a_person_sees_how_far_a_stage_is_by_number_and_name():
    """What is on the screen when all ends is shown whatever the screen's pace."""
    shown = told(
        terminal=True,
        verbose=False,
        events=(Started("[b]fit", 4, "[i]sites"), Step("[b]fit", 2), Step("[b]fit")),
    )
    assert "[b]fit" in shown and "75%" in shown and "3/4 [i]sites" in shown


def test_a_person_who_asks_sees_notes_too():
    shown = told(terminal=True, verbose=True)
    assert "━" in shown and "folded 3 nodes [red]" in shown


def test_a_stage_that_is_repeated_keeps_its_one_bar():
    console = Console(file=io.StringIO(), force_terminal=True, width=100)
    with Progress(console=console) as live:
        callback = Bars(live, verbose=False)
        for _ in range(30):
            for event in (Started("score", 4), Step("score", 4), Done("score", 0.1)):
                callback(event)
        callback(Started("score", 4))
        assert [(t.description, t.completed, t.total) for t in live.tasks] == [("score", 0, 1)]


def test_a_file_gets_lines_only_when_asked():
    assert told(terminal=False, verbose=False) == ""
    assert told(terminal=False, verbose=True).splitlines() == [
        "note: folded 3 nodes [red]",
        "warning: not faster",
        "score        1.5 s",
        "unannounced  100 ms",
        "never started 100 ms",
    ]


@pytest.mark.parametrize(
    ("value", "bar"), [("true", False), ("1", False), ("false", True), ("", True)]
)
def test_an_automatic_build_gets_no_bar(monkeypatch, value, bar):
    monkeypatch.setenv("CI", value)
    assert ("━" in told(terminal=True, verbose=False)) is bar


def test_without_a_console_nothing_is_shown():
    with progress(None, verbose=True) as callback:
        assert callback is quiet


class Clock:
    """A clock that goes only where it is told to."""

    def __init__(self):
        self.now = 100.0

    def __call__(self):
        return self.now


def logged(costs, seconds, *, every=5.0, verbose=False):
    """The lines about a stage whose steps cost and take what is given."""
    console, clock = Console(file=io.StringIO(), width=100), Clock()
    callback = Lines(console, verbose=verbose, every=every, clock=clock)
    callback(Started("score"))
    work = Work("score", callback, costs)
    for unit, steps in costs.items():
        work.begin(unit)
        for _ in steps:
            clock.now += seconds.pop(0)
            work.step()
    callback(Done("score", clock.now - 100))
    return console.file.getvalue().splitlines()


def test_a_log_hears_every_few_seconds_how_far_a_stage_is_and_what_is_left():
    assert logged({"sites": [1.0] * 20}, [2.0] * 20) == [
        "score 3/20 sites, about 34 s left",
        "score 6/20 sites, about 28 s left",
        "score 9/20 sites, about 22 s left",
        "score 12/20 sites, about 16 s left",
        "score 15/20 sites, about 10 s left",
        "score 18/20 sites, about 4 s left",
    ]


def test_what_ends_by_the_clock_takes_no_longer():
    console, clock = Console(file=io.StringIO(), width=100), Clock()
    callback = Lines(console, verbose=False, every=5.0, clock=clock)
    callback(Started("invert"))
    step = counted_in("invert", callback)(100, "steps", 30.0)
    for _ in range(2):
        clock.now += 10
        step()
    seen = console.file.getvalue().splitlines()
    assert seen == ["invert 1/100 steps", "invert 2/100 steps, about 10 s left"]


def test_what_costs_more_counts_more():
    lines = logged({"sites": [1.0, 9.0, 10.0], "groups": [30.0, 50.0]}, [6.0, 54.0, 60, 180, 300])
    assert lines == [
        "score 1/3 sites",
        "score 2/3 sites, about 9 min left",
        "score 3/3 sites, about 8 min left",
        "score 1/2 groups, about 5 min left",
        "score 2/2 groups",
    ]
    assert logged({"sites": [0.0, 0.0]}, [6.0, 6.0]) == ["score 1/2 sites", "score 2/2 sites"]


def test_a_short_stage_is_not_told_to_a_log():
    assert logged({"sites": [1.0] * 20}, [0.2] * 20) == []


def test_stages_that_count_no_shares_are_told_by_their_steps():
    console, clock = Console(file=io.StringIO(), width=100), Clock()
    callback = Lines(console, verbose=False, every=5.0, clock=clock)
    callback(Started("measure"))
    for event in (Step("measure", 7), Started("sweep", 4), Step("sweep"), Step("measure", 7)):
        clock.now += 3
        callback(event)
    assert console.file.getvalue().splitlines() == ["measure 14 steps"]
    clock.now += 3
    callback(Step("sweep"))
    clock.now += 3
    callback(Step("sweep"))
    assert console.file.getvalue().splitlines()[1:] == ["sweep 3/4 steps, about 4 s left"]


def test_a_bar_says_the_same():
    console, clock = Console(file=io.StringIO(), force_terminal=True, width=100), Clock()
    with Progress(console=console) as live:
        callback = Bars(live, verbose=False, clock=clock)
        callback(Started("score"))
        work = Work("score", callback, {"sites": [1.0, 1.0, 2.0]})
        work.begin("sites")
        for _ in range(2):
            clock.now += 10
            work.step()
        (task,) = live.tasks
        assert (task.completed, task.total) == (0.5, 1.0)
        assert task.fields["words"] == "2/3 sites, about 20 s left"
        callback(Done("score", 20.0))
        assert task.fields["words"] == "" and task.completed == task.total


def shown_after(*seconds_and_events):
    """The lines of a log that gets these events, each so many seconds after the one before."""
    console, clock = Console(file=io.StringIO(), width=100), Clock()
    callback = Lines(console, verbose=False, every=5.0, clock=clock)
    for seconds, event in seconds_and_events:
        clock.now += seconds
        callback(event)
    return console.file.getvalue().splitlines()


def test_what_is_counted_anew_is_estimated_anew():
    batches = [(10, Step("verify"))] * 2
    assert shown_after(
        (0, Started("verify")),
        (0, Started("verify", 2, "runs")),
        (50, Step("verify")),
        (50, Step("verify")),
        (0, Started("verify", 4, "batches")),
        *batches,
    ) == [
        "verify 1/2 runs, about 50 s left",
        "verify 2/2 runs",
        "verify 1/4 batches, about 30 s left",
        "verify 2/4 batches, about 20 s left",
    ]


def test_more_steps_than_expected_are_told_without_an_end():
    steps = [(6, Step("verify"))] * 4
    assert shown_after((0, Started("verify", 2, "runs")), *steps) == [
        "verify 1/2 runs, about 6 s left",
        "verify 2/2 runs",
        "verify 3 runs",
        "verify 4 runs",
    ]
