"""Bars for people, lines with -v, silence for machines."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from spa.cli.progress import Bars, _bars, progress, wanted
from spa.events import Done, Note, Started, Step, quiet

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


def told(*, terminal, verbose):
    console = Console(file=io.StringIO(), force_terminal=terminal, width=100)
    with progress(console, verbose=verbose) as tell:
        for event in EVENTS:
            tell(event)
    return console.file.getvalue()


def test_a_person_sees_a_bar_per_stage():
    shown = told(terminal=True, verbose=False)
    assert "score" in shown and "━" in shown and "100%" in shown
    assert "folded" not in shown


def test_a_person_who_asks_sees_notes_too():
    shown = told(terminal=True, verbose=True)
    assert "━" in shown and "folded 3 nodes [red]" in shown


def test_a_stage_that_is_repeated_keeps_its_one_bar():
    console = Console(file=io.StringIO(), force_terminal=True, width=100)
    with _bars(console) as live:
        tell = Bars(live, verbose=False)
        for _ in range(30):
            for event in (Started("score", 4), Step("score", 4), Done("score", 0.1)):
                tell(event)
        tell(Started("score", 4))
        assert [(t.description, t.completed, t.total) for t in live.tasks] == [("score", 0, 4)]


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
    with progress(None, verbose=True) as tell:
        assert tell is quiet


def test_nobody_looks_at_a_pipe():
    assert wanted(verbose=True) and not wanted(verbose=False)
