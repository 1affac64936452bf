"""Whatever any text of a result says, every face of it stays what it is."""

from __future__ import annotations

import io
from xml.etree import ElementTree

import pytest
from rich.console import Console

from spa.reports import (
    console,
    sweep,
    sweep_plot,
    sweep_text,
    to_html,
    to_junit,
    to_markdown,
    zoo_page,
    zoo_screen,
)
from tests.reports.samples import HOSTILE, success
from tests.reports.test_files import Page
from tests.zoo.test_screens import row, zoo

CHOSEN = {"status", "mode", "by", "of", "accepted", "verdict"}
"""Keys whose values are spa's own words."""


def poisoned(value, key=""):
    """The same where every text, and every name in a table, begins with an attack."""
    if isinstance(value, str):
        return value if key in CHOSEN else HOSTILE + value
    if isinstance(value, list):
        return [poisoned(each, key) for each in value]
    if isinstance(value, dict):
        own = key in ("drift", "cosine", "timings", "versions", "recipe", "before", "after")
        return {
            HOSTILE + k if own and k != "total" else k: poisoned(v, k) for k, v in value.items()
        }
    return value


def swept():
    base = success()
    rows = [
        sweep.row_of(0.3, "macs", base, "passed", None),
        sweep.row_of(0.4, "macs", base, "missed", "too far"),
        sweep.empty(0.9, "unreachable", "no", 1.0),
    ]
    known = {"mode": "list", "by": "ratio", "of": "macs", "scorer": "l2"}
    known |= {"gates": {"max_drift": 0.3}, "best": 0.3, "next": "spa prune net.onnx --ratio 0.3"}
    check = {"command": "c", "before": 0.9, "after": 0.8, "drop": 0.1, "error": None}
    return sweep.summarize({**base, "check": check}, rows, **known, exit_code=5, error="no")


def zooed():
    figures = {"params_before": 9, "params_after": 5, "drift": 0.2, "speedup": 2.0}
    rows = [row("a", **figures), row("b", exit_code=3, error="no"), row("c", exit_code=4)]
    return zoo(*rows, pending=["d"])


REPORT, SWEEP, ZOO = success(), swept(), zooed()
REPORT["check"] = {"command": "c", "before": 0.9, "after": 0.8, "drop": 0.1, "error": "no"}


@pytest.mark.parametrize(
    ("write", "made"),
    [(to_html, REPORT), (sweep_plot.to_html, SWEEP), (zoo_page.to_html, ZOO)],
    ids=["report", "sweep", "zoo"],
)
def test_pages(write, made):
    clean, page = Page(write(made)), write(poisoned(made))
    found = Page(page)
    assert found.open == [] and {*found.tags} == {*clean.tags}
    assert {name for name, _ in found.attributes} == {name for name, _ in clean.attributes}
    assert "\x1b" not in page and "\x00" not in page and "alert('x')" in found.text


@pytest.mark.parametrize(
    ("write", "made"),
    [(to_junit, REPORT), (sweep_plot.to_svg, SWEEP), (zoo_page.to_junit, ZOO)],
    ids=["report", "sweep", "zoo"],
)
def test_xml(write, made):
    clean, found = (ElementTree.fromstring(write(each)) for each in (made, poisoned(made)))
    assert [each.tag for each in found.iter()] == [each.tag for each in clean.iter()]
    assert [[*each.attrib] for each in found.iter()] == [[*each.attrib] for each in clean.iter()]


@pytest.mark.parametrize(
    ("write", "made"), [(to_markdown, REPORT), (zoo_page.to_markdown, ZOO)], ids=["report", "zoo"]
)
def test_markdown(write, made):
    clean, found = (write(each).splitlines() for each in (made, poisoned(made)))
    bare = [line.replace("\\\\", "").replace("\\|", "") for line in found]
    kinds = [(line[:2], line.count("|")) for line in clean if line[:1] in "|#-*<" and line]
    assert [(line[:2], line.count("|")) for line in bare if line[:1] in "|#-*<" and line] == kinds
    text = "\n".join(found)
    for mark in "<`[*":
        assert text.count(mark) - text.count("\\" + mark) == "\n".join(clean).count(mark) - sum(
            line.count("\\" + mark) for line in clean
        )
    assert "\x1b" not in text and "alert('x')" in text


@pytest.mark.parametrize(
    ("show", "made"),
    [
        (console.summary, REPORT),
        (console.inspected, REPORT),
        (console.verified, REPORT),
        (sweep_text.summary, SWEEP),
        (zoo_screen.summary, ZOO),
        (lambda made: zoo_screen.live({HOSTILE: 1.0}, made["models"], {"pruned": 1}, 3), ZOO),
    ],
)
def test_screens(show, made):
    stream = io.StringIO()
    Console(file=stream, width=100, highlight=False).print(show(poisoned(made)))
    text = stream.getvalue()
    assert "\x1b" not in text and "\x00" not in text and "[bold]" in text.replace("\n", "")
