"""The four file formats, and writing them."""

from __future__ import annotations

import json
import os
from html.parser import HTMLParser
from xml.etree import ElementTree

import numpy as np
import pytest
from jinja2 import UndefinedError

from spa.errors import UsageError
from spa.registry import REPORTS
from spa.reports import check_paths, to_html, to_json, to_junit, to_markdown, write
from spa.reports.template import render
from tests.reports.samples import HOSTILE, branch, failure, group, hostile, success

EVERY = pytest.mark.parametrize("report", [success(), failure(), hostile()])


class Page(HTMLParser):
    """Check nesting; collect tags, text and attributes."""

    def __init__(self, page):
        super().__init__()
        self.open, self.tags, self.words, self.attributes = [], [], [], []
        self.feed(page)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += attrs
        if tag not in ("meta", "br"):
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.words.append(data)

    @property
    def text(self):
        return " ".join(" ".join(self.words).split())


# JSON


@EVERY
def test_json_says_exactly_the_report(report):
    assert json.loads(to_json(report)) == report


def test_json_takes_numpy_and_refuses_nan():
    report = success()
    report["verify"]["drift"] = {"a": np.float32("nan"), "b": np.float32(0.5), "c": np.inf}
    report["input"]["params"] = np.int64(7)
    report["input"]["inputs"] = [("x", "float32", np.array([1, 3]))]
    back = json.loads(to_json(report), parse_constant=pytest.fail)
    assert back["verify"]["drift"] == {"a": None, "b": 0.5, "c": None}
    assert back["input"]["params"] == 7 and back["input"]["inputs"] == [["x", "float32", [1, 3]]]


# HTML


@EVERY
def test_html_is_one_well_formed_file_without_network(report):
    page = Page(to_html(report))
    assert page.open == []
    assert not {"script", "link", "img", "iframe", "object", "base", "a"} & set(page.tags)
    assert not {"src", "href", "srcset", "onclick"} & {name for name, _ in page.attributes}
    assert "url(" not in to_html(report) and "@import" not in to_html(report)
    assert ("content", "default-src 'none'; style-src 'unsafe-inline'") in page.attributes


def test_html_shows_what_it_must():
    text = Page(to_html(success())).text
    for words in (
        "net.onnx",
        "-50.1%",
        "1.70x faster",
        "25.56 M",
        "no rule for this operator",
        "128 → 96",
        "exact: it computes what the plan says",
        "risky: logits drifts by 0.213 (NRMSE), on 64 rows of dead leaves",
        "spa prune models/net.onnx --ratio 0.375 --force",
        "max-drift",
        "MACs are counted at N = 1",
        "CPUExecutionProvider, 2 threads, median of 50 runs",
        "verify 3.9 s",
        "mean over channels",
    ):
        assert words in text, words


def test_html_follows_the_readers_colour_scheme():
    page = to_html(success())
    assert "prefers-color-scheme: dark" in page and "color-scheme: light dark" in page


def test_html_of_a_failure_leads_with_the_error():
    text = Page(to_html(failure())).text
    assert "net.onnx does not exist; check the path." in text and "Exit code 3" in text


def test_html_escapes_every_name():
    page = to_html(hostile())
    assert "<script" not in page and "\x1b" not in page and "\x00" not in page
    assert "alert('x')" in Page(page).text  # escaped, not lost


def test_html_bars_are_to_scale():
    report = success()
    report["groups"] = [group(0, "a", 512, 128), group(1, "b", 64, 0), group(2, "c", 512, 1)]
    report.update(latency=None, timings={})
    widths = [float(v) for name, v in Page(to_html(report)).attributes if name == "width"]
    assert widths == [1000.0, 250.0, 125.0, 0.0, 1000.0, 2.0]  # a hair for what is not nothing


def test_html_stack_fills_the_line():
    report = success()
    report.update(groups=[], latency=None, timings={"a": 1.0, "b": 3.0, "total": 5.0})
    found = Page(to_html(report)).attributes
    assert [float(v) for name, v in found if name == "width"] == [250.0, 750.0]
    assert [float(v) for name, v in found if name == "x"] == [0.0, 250.0]


def test_html_stays_readable_with_thousands_of_groups():
    report = success()
    report["groups"] = [{**report["groups"][1], "id": i} for i in range(3000)]
    page = to_html(report)
    assert "2,600 more are in the JSON report." in page and len(page) < 500_000


def test_what_a_template_is_not_given_is_an_error():
    with pytest.raises(UndefinedError):
        render("junit.xml", title="x")


EVERY_FACE = pytest.mark.parametrize("face", [to_html, to_markdown])


@EVERY_FACE
def test_a_page_says_what_led_to_it_and_names_every_file(face):
    text = Page(face(success())).text
    assert "spa prune models/net.onnx -r 0.5 --ignore 'a b'" in text
    assert "3 options as settled" in text and "round-to" in text
    for words in ("models/net.onnx", "models/net.spa.onnx", "models/net.spa.data", "c" * 64):
        assert words in text


# Markdown


@EVERY
def test_markdown_tables_are_rectangular(report):
    width = None
    for line in to_markdown(report).splitlines():
        cells = line.replace("\\\\", "").replace("\\|", "").count("|") if line[:1] == "|" else None
        assert width is None or cells is None or cells == width
        width = cells


def test_markdown_shows_what_it_must():
    text = to_markdown(success())
    assert text.startswith("# spa prune: net.onnx\n\n**MACs** -50.1%")
    assert "- **Rewrite** exact: it computes what the plan says" in text
    assert "- **Next** spa prune models/net.onnx --ratio 0.375 --force" in text
    assert "| MACs | 4.09 G | 2.04 G | -50.1% |" in text
    assert "| layer1 | 128 | 96 | -25.0% |" in text
    assert "| max-drift | 0.3 | 0.213 | yes |" in text
    assert "(NRMSE), on 64 rows of dead leaves" in text and "NCHW: dead leaves, in 0..1" in text


@pytest.mark.parametrize("write", [to_markdown, to_html])
@pytest.mark.parametrize("section", ["branches", "bypassed"])
def test_pages_list_branches(write, section):
    report = success()
    report[section] = [branch("sum1", "/b/Add")]
    text = write(report)
    assert "sum1" in text and "Add /b/Add" in text and "10.0%" in text
    assert "sum1" not in write(success())


def test_markdown_escapes_markup():
    text = to_markdown(hostile())
    assert "<script" not in text.replace("\\<", "") and "\x1b" not in text


def test_markdown_of_a_failure_says_why():
    assert "**failed**, exit code 3: net.onnx does not exist" in to_markdown(failure())


# JUnit


def cases(report):
    suite = ElementTree.fromstring(to_junit(report))
    outcomes = {}
    for case in suite:
        outcomes[case.get("name")] = case[0].tag if len(case) else "passed"
    for kind, count in (("failure", "failures"), ("error", "errors"), ("skipped", "skipped")):
        assert int(suite.get(count)) == list(outcomes.values()).count(kind)
    assert int(suite.get("tests")) == len(outcomes)
    return outcomes


def test_junit_has_one_case_per_demand():
    assert cases(success()) == {
        "pruned": "passed",
        "rewrite": "passed",
        "quality": "skipped",
        "max-drift": "passed",
    }


def test_junit_of_a_failed_gate():
    report = success()
    report.update(status="failed", exit_code=5, error="drift 0.4 is above --max-drift 0.3.")
    report["gates"][0].update(value=0.4, passed=False)
    assert cases(report) == {
        "pruned": "passed",
        "rewrite": "passed",
        "quality": "skipped",
        "max-drift": "failure",
    }


def test_junit_of_a_failed_verification():
    report = success()
    report.update(status="failed", exit_code=5, error="outputs differ.")
    report["verdicts"]["rewrite"]["verdict"] = "failed"
    report["verdicts"]["quality"]["verdict"] = "broken"
    assert cases(report)["rewrite"] == "failure" and cases(report)["quality"] == "skipped"


@pytest.mark.parametrize(("code", "outcome"), [(1, "error"), (3, "error"), (4, "failure")])
def test_junit_of_a_model_that_was_not_pruned(code, outcome):
    report = failure()
    report["exit_code"] = code
    assert cases(report) == {"pruned": outcome, "rewrite": "skipped", "quality": "skipped"}


def test_junit_never_looks_green_when_the_exit_code_is_red():
    report = success()
    report.update(status="failed", exit_code=5, error="nobody said which gate.")
    assert "error" in cases(report).values()


def test_junit_escapes_what_xml_cannot_hold():
    report = hostile()
    report.update(status="failed", exit_code=3, error=HOSTILE)
    assert cases(report)["pruned"] == "error"


# Writing


def test_write_chooses_the_format_by_suffix(tmp_path):
    paths = [tmp_path / f"report.{suffix}" for suffix in REPORTS.choices()]
    assert {path.suffix for path in paths} >= {".json", ".md", ".html", ".xml"}
    assert write(success(), *paths) == tuple(paths)
    for path in paths:
        assert path.read_text(encoding="utf-8") == REPORTS.get(path.suffix[1:])(success())
    assert sorted(p.name for p in tmp_path.iterdir()) == sorted(p.name for p in paths)


def test_write_replaces_a_whole_file_or_nothing(tmp_path, monkeypatch):
    path = tmp_path / "report.json"
    path.write_text("old")
    monkeypatch.setattr(os, "fsync", lambda _: (_ for _ in ()).throw(OSError(28, "disk full")))
    with pytest.raises(UsageError, match="disk full"):
        write(success(), path)
    assert path.read_text() == "old" and list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("name", ["report.pdf", "report", "missing/report.json"])
def test_a_path_that_cannot_be_written_is_refused_beforehand(tmp_path, name):
    with pytest.raises(UsageError):
        check_paths(tmp_path / "fine.json", tmp_path / name)
    with pytest.raises(UsageError):
        write(success(), tmp_path / "fine.json", tmp_path / name)
    assert list(tmp_path.iterdir()) == []


def test_a_folder_is_not_a_report(tmp_path):
    (tmp_path / "x.json").mkdir()
    with pytest.raises(UsageError, match="is a folder"):
        check_paths(tmp_path / "x.json")
