"""Plan files: written whole or not at all, and no damage gets further than one sentence."""

from __future__ import annotations

import copy
import json
import os

import pytest

from spa.errors import UsageError
from spa.plans import Plan, place, plan_of
from tests import oracles
from tests.carried import coupling_of

NET = "grouped"  # small, with blocks


@pytest.fixture(scope="module")
def plan():
    coupling = coupling_of(NET)
    return plan_of(coupling, oracles.scattered(0.5, 1)(coupling), {"ratio": 0.5})


def test_there_and_back(plan, tmp_path):
    path = tmp_path / "plan.json"
    plan.save(path)
    assert Plan.load(path) == plan and Plan.load(str(path)).to_json() == plan.to_json()
    assert path.read_text(encoding="utf-8") == plan.to_json()
    assert os.listdir(tmp_path) == ["plan.json"]


def test_permissions_are_those_of_any_new_file(plan, tmp_path):
    plan.save(tmp_path / "plan.json")
    (tmp_path / "other").touch()
    modes = {(tmp_path / name).stat().st_mode for name in ("plan.json", "other")}
    assert len(modes) == 1


def test_the_report_of_the_run_is_not_part_of_it(plan, tmp_path):
    with_report = Plan(plan.tensors, plan.groups, plan.source, plan.recipe, {"status": "ok"})
    assert with_report == plan and with_report.to_json() == plan.to_json()


@pytest.mark.parametrize("where", ["no/plan.json", "folder", "x" * 300])
def test_a_place_that_cannot_be_written(plan, tmp_path, where):
    (tmp_path / "folder").mkdir()
    with pytest.raises(UsageError, match=r"the plan .*(does not exist|is a folder|looked at)"):
        plan.save(tmp_path / where)
    assert os.listdir(tmp_path) == ["folder"] and not os.listdir(tmp_path / "folder")


def test_an_interrupted_save_leaves_what_was_there(plan, tmp_path, monkeypatch):
    path = tmp_path / "plan.json"
    path.write_text("mine")

    def interrupted(number):
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "fsync", interrupted)
    with pytest.raises(KeyboardInterrupt):
        plan.save(path)
    assert path.read_text() == "mine" and os.listdir(tmp_path) == ["plan.json"]


# Damage


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "null",
        "3",
        "[]",
        '"plan"',
        "{}",
        '{"plan_version": 1}',
        '{"plan_version": 2, "tensors": {}, "groups": [], "source": {}, "recipe": {}}',
        '{"plan_version": "1", "tensors": {}, "groups": [], "source": {}, "recipe": {}}',
        '{"plan_version": 1, "tensors": [], "groups": [], "source": {}, "recipe": {}}',
        '{"plan_version": 1, "tensors": {}, "groups": {}, "source": {}, "recipe": {}}',
        '{"plan_version": 1, "tensors": {}, "groups": [3], "source": {}, "recipe": {}}',
        '{"plan_version": 1, "tensors": {}, "groups": [], "source": [], "recipe": {}}',
        '{"plan_version": 1, "tensors": {"w": null}, "groups": [], "source": {}, "recipe": {}}',
        "[" * 100_000,
        "\x00\x01",
    ],
)
def test_what_is_no_plan(text, tmp_path):
    path = tmp_path / "plan.json"
    path.write_text(text)
    with pytest.raises(UsageError, match=r"is not a plan of spa \(.+\); make one with `spa plan`"):
        Plan.load(path)


def test_what_is_no_text(tmp_path):
    (tmp_path / "plan.json").write_bytes(b"\xff\xfe\x00model")
    with pytest.raises(UsageError, match="is not a plan of spa"):
        Plan.load(tmp_path / "plan.json")


@pytest.mark.parametrize("where", ["missing.json", "."])
def test_what_cannot_be_read(where, tmp_path):
    with pytest.raises(UsageError, match=r"cannot read the plan .*; make one with `spa plan`"):
        Plan.load(tmp_path / where)


def places(tree, path=()):
    """Every place in a tree of dicts and lists."""
    yield path
    items = (
        tree.items()
        if isinstance(tree, dict)
        else enumerate(tree)
        if isinstance(tree, list)
        else ()
    )
    for key, value in items:
        yield from places(value, (*path, key))


JUNK = (None, True, -1, 0, 10**12, 0.5, "0", [], {}, [[0]], [-1], {"0": [0]}, ["a"], [None])


def test_any_damage_at_any_place_is_one_sentence(plan):
    """Each value of the file replaced by each kind of junk: refused, or harmless."""
    coupling = coupling_of(NET)
    whole = json.loads(plan.to_json())
    refused = 0
    for path in [p for p in places(whole) if p]:
        for junk in JUNK:
            damaged = copy.deepcopy(whole)
            spot = damaged
            for key in path[:-1]:
                spot = spot[key]
            spot[path[-1]] = junk
            try:
                alive, _ = place(coupling, Plan.from_json(json.dumps(damaged)))
            except (UsageError, ValueError) as error:
                assert str(error) and "\n" not in str(error)
                refused += 1
            else:
                found = plan_of(coupling, alive)
                assert found.tensors == plan.tensors, (path, junk)
    assert refused > 500


def test_a_missing_part_anywhere_is_refused_or_harmless(plan):
    coupling = coupling_of(NET)
    whole = json.loads(plan.to_json())
    for path in [p for p in places(whole) if p and not isinstance(p[-1], int)]:
        damaged = copy.deepcopy(whole)
        spot = damaged
        for key in path[:-1]:
            spot = spot[key]
        del spot[path[-1]]
        try:
            alive, _ = place(coupling, Plan.from_json(json.dumps(damaged)))
        except (UsageError, ValueError):
            continue
        assert plan_of(coupling, alive).tensors == plan.tensors, path
