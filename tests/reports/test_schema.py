from __future__ import annotations

import pytest

from spa.reports.schema import Report, empty_report, json_schema, unreadable
from tests.reports.samples import failure, hostile, success
from tests.reports.valid import validate


@pytest.mark.parametrize("report", [success(), failure(), hostile()])
def test_the_samples_are_valid(report):
    assert validate(report) == []


def test_the_schema_in_json_names_every_key():
    schema = json_schema()["$defs"]["Report"]
    assert schema["properties"].keys() == Report.__annotations__.keys()
    assert (
        {*schema["required"]} == Report.__required_keys__ == {*empty_report("x")} - {"ops", "gates"}
    )


def test_an_abandoned_report_does_not_look_successful():
    report = empty_report("prune")
    assert report["status"] == "failed" and report["exit_code"] != 0
    assert validate(report) == ["report.error must be there exactly when exit_code is not 0"]


def test_an_unreadable_model_fits_the_schema():
    report = failure()
    report["input"] = unreadable("net.onnx")
    assert validate(report) == []


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda r: r.pop("groups"), "missing required field `groups`"),
        (lambda r: r.update(extra=1), "report has the unknown key 'extra'"),
        (lambda r: r["groups"][1].update(more=1), "report.groups[1] has the unknown key 'more'"),
        (lambda r: r["input"].pop("macs"), "missing required field `macs` - at `$.input`"),
        (lambda r: r["input"].update(macs="many"), "got `str` - at `$.input.macs`"),
        (lambda r: r["input"].update(params=True), "got `bool` - at `$.input.params`"),
        (lambda r: r["verify"]["drift"].update(y="x"), "got `str` - at `$.verify.drift[...]`"),
        (lambda r: r.update(status="fine"), "'fine' - at `$.status`"),
        (lambda r: r.update(exit_code=5), "disagree"),
        (lambda r: r.update(schema_version=2), "`$.schema_version`"),
        (lambda r: r["reduction"].update(macs=50.1), "cannot be 50.1"),
        (lambda r: r["groups"].append(r["groups"][0]), "id twice"),
        (lambda r: r["groups"][1].update(channels_after=999), "from 128 to 999"),
        (lambda r: r["groups"][0].update(channels_after=3), "frozen and yet"),
        (lambda r: r["groups"][0].update(reason=None), "without a reason"),
        (
            lambda r: r["groups"][0].update(members=[{"tensor": "w"}]),
            "`axis` - at `$.groups[0].members[0]`",
        ),
        (lambda r: r["frozen"][0].update(channels=None), "`$.frozen[0].channels`"),
        (lambda r: r["timings"].update(load=None), "`$.timings[...]`"),
    ],
)
def test_every_mistake_is_named(change, words):
    report = success()
    change(report)
    problems = validate(report)
    assert len(problems) >= 1 and words in " / ".join(problems)
