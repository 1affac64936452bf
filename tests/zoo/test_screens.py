"""What a person sees: the plot, the live table, the summary's words."""

from __future__ import annotations

import io
import math
import os
import re
import sys
import xml.etree.ElementTree as ElementTree

import pytest
from rich.console import Console

from spa.reports.plot import HEIGHT, WIDTH, Axis, Dot, scatter
from spa.reports.zoo import Row, generic, summarize
from spa.reports.zoo_page import to_html, to_markdown
from spa.reports.zoo_screen import live, summary
from spa.zoo.model import Job
from spa.zoo.rows import failed
from tests.zoo.samples import QUICK, start

LOG, LINEAR = Axis("drift", mark=0.3), Axis("size", linear=True)
FACTS = {"dest": "d", "shard": None, "engine": "local", "reused": 0, "wall_seconds": 1.0}


def row(name, **facts) -> Row:
    job = Job(name, f"/models/{name}", 1, None, {}, "o", "d")
    made = failed(job, facts.pop("exit_code", 0), facts.pop("error", None))
    return {**made, **facts}


def zoo(*rows, pending=(), accepted=("unchanged",), interrupted=False):
    return summarize(rows, pending, accepted, interrupted=interrupted, **FACTS)


# The plot


@pytest.mark.parametrize(
    "values",
    [
        [(50, 0.1)],
        [(50, 0.0)],
        [(0, 0), (0, 0)],
        [(100, 1e-9), (20, 12)],
        [(130, 0.3), (4, 0.3)],
        [(33, 1e30), (70, 1e-30)],
        [(k, 0.01 * k) for k in range(100)],
    ],
)
def test_every_dot_lies_in_the_picture_and_every_axis_has_ticks(values):
    picture = scatter([Dot(x, y, "name") for x, y in values], LINEAR, LOG)
    root = ElementTree.fromstring(picture)
    circles = root.findall("circle")
    assert len(circles) == len(values)
    for circle in circles:
        assert 0 < float(circle.get("cx")) < WIDTH and 0 < float(circle.get("cy")) < HEIGHT
    ticks = [t.text for t in root.findall("text") if re.fullmatch(r"[-\d.e+]+", t.text)]
    assert 4 <= len(ticks) <= 30


def test_dots_are_where_their_values_are():
    dots = [Dot(10, 0.01, "a"), Dot(90, 1, "b"), Dot(50, 0.1, "c")]
    a, b, c = ElementTree.fromstring(scatter(dots, LINEAR, LOG)).findall("circle")
    assert float(a.get("cx")) < float(c.get("cx")) < float(b.get("cx"))
    assert float(a.get("cy")) > float(c.get("cy")) > float(b.get("cy"))
    middle = (float(a.get("cy")) + float(b.get("cy"))) / 2
    assert float(c.get("cy")) == pytest.approx(middle, abs=0.2)  # logarithmic


def test_nothing_to_draw_is_no_picture():
    assert scatter([], LINEAR, LOG) is None
    assert scatter([Dot(1, math.nan, "x")], LINEAR, LOG) is None


def test_names_cannot_break_out_of_the_page():
    bad = row(
        "<script>alert(1)</script>.onnx", params_before=10, params_after=5, drift=0.5, speedup=2.0
    )
    page = to_html(zoo(bad, row("x.onnx", exit_code=3, error="<b>no</b>")))
    assert "<script" not in page and "<b>no" not in page and page.count("<circle") == 2


def test_scores_are_shown_where_a_check_gave_any():
    plain, scored = row("a"), row("b", score_before=0.9312, score_after=0.9205)
    for show in (to_markdown, to_html):
        assert "Score" not in show(zoo(plain))
        assert "0.9312" in show(zoo(plain, scored)) and "0.9205" in show(zoo(plain, scored))
    screen = io.StringIO()
    Console(file=screen, width=140).print(summary(zoo(plain, scored)))
    assert "0.9205" in screen.getvalue()


# Totals and reasons


def test_totals_and_the_exit_code():
    rows = [row("a"), row("b", exit_code=4), row("c", exit_code=3), row("d", exit_code=7)]
    made = zoo(*rows, pending=["e"])
    assert made["exit_code"] == 6 and "2 of 5 models failed" in made["error"]
    assert made["totals"]["models"] == 5 and made["totals"]["limit"] == 1
    assert zoo(*rows[:2])["exit_code"] == 0
    assert zoo(*rows[:2], accepted=())["exit_code"] == 6
    assert zoo(*rows, interrupted=True)["exit_code"] == 130


def test_equal_troubles_are_one_reason():
    rows = [
        row(f"m{k}.onnx", exit_code=3, error=f"'/models/m{k}.onnx' has {k} axes at 'n{k}' (op {k})")
        for k in range(3)
    ]
    (reason,) = zoo(*rows, row("z", exit_code=4, error="nothing"), row("fine"))["reasons"][:1]
    assert reason["models"] == ["m0.onnx", "m1.onnx", "m2.onnx"]
    assert reason["reason"] == "'…' has # axes at '…' (…)"
    assert generic("took 1.5 s.", rows[0]) == "took # s."


# The live table


def test_the_live_table_shows_what_runs_and_what_ended():
    from rich.console import Console

    console = Console(width=100, record=True, file=io.StringIO())
    done = row("done.onnx", bytes_before=10, bytes_after=5, drift=0.25, seconds=2.0)
    console.print(live({"now.onnx": 3.0}, [done], {"pruned": 1}, 4))
    text = console.export_text()
    assert "done.onnx" in text and "-50.0%" in text and "now.onnx" in text and "running" in text
    assert "1 of 4 done: 1 pruned" in text


@pytest.mark.skipif(sys.platform == "win32", reason="no pseudo-terminals there")
@pytest.mark.parametrize("ci", [False, True])
def test_a_person_sees_a_table_and_a_build_sees_lines(models, monkeypatch, ci):
    import pty

    if ci:
        monkeypatch.setenv("CI", "true")
    monkeypatch.setenv("TERM", "xterm")
    ours, theirs = pty.openpty()
    run = start(models / "one.onnx", "-d", "out", *QUICK, stderr=theirs)
    os.close(theirs)
    said = b""
    try:
        while piece := os.read(ours, 4096):
            said += piece
    except OSError:  # how Linux says that the other end is closed
        pass
    os.close(ours)
    run.communicate(timeout=600)
    assert run.returncode == 0
    assert (b"running" in said) != ci and (b"[1/1] one.onnx: pruned" in said) == ci
