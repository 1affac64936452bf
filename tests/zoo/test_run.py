"""Whole runs: what is done, what is done again and what is not, and how accidents are told."""

from __future__ import annotations

import csv
import io
import json
import os
import shutil
import sys
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import onnx
import pytest

from spa.zoo.paths import sha256
from tests.zoo.samples import (
    QUICK,
    lines,
    outcome,
    partial,
    rigid,
    save,
    save_external,
    summary,
)


def statuses(dest="out"):
    return {row["name"]: row["status"] for row in summary(dest)["models"]}


def worked(dest="out"):
    """How often each model was really pruned."""
    return [line["name"] for line in lines(dest)]


def test_a_zoo_is_pruned_and_a_second_run_has_nothing_to_do(shell, models, processes):
    ran = shell(models, "-d", "out", *QUICK, "--jobs", 2)
    assert ran.code == 0, ran.err
    assert set(statuses().values()) == {"pruned"} and partial("out") == []
    for name in ("one.onnx", "deep/two.onnx", "deep/large.onnx"):
        onnx.checker.check_model(f"out/{name}")
        before, after = (onnx.load(Path(folder, name)) for folder in (models, "out"))
        size = [sum(len(t.raw_data) for t in m.graph.initializer) for m in (before, after)]
        assert size[1] < size[0]
        report = json.loads(Path(f"out/.zoo/reports/{name}.json").read_text())
        assert report["exit_code"] == 0 and report["output"]["path"].endswith(f"out/{name}")
        kinds = {each["kind"]: Path(each["path"]).is_file() for each in report["files"]}
        assert kinds == ({"model": True, "data": True} if "large" in name else {"model": True})
        assert all(each["sha256"] == sha256(Path(each["path"])) for each in report["files"])
    assert len([*Path("out/deep").glob("large.*.data")]) == 1
    first = outcome("out")
    assert summary("out")["recipe"] == report["recipe"] and report["recipe"]["scorer"] == "l1"
    again = shell(models, "-d", "out", "--config", "out/summary.json")
    assert again.code == 0 and again.err.count("known before") == 3
    assert outcome("out") == first and len(worked()) == 3


def test_lines_for_a_log_and_json_for_a_program(shell, models):
    ran = shell(models / "one.onnx", "-d", "out", *QUICK, "--json")
    assert ran.err.startswith("[1/1] one.onnx: pruned, ")
    said = json.loads(ran.out)
    assert said.pop("command_line")[:2] == ["spa", "zoo"]
    assert said == summary("out")
    silent = shell(models / "one.onnx", "-d", "out", *QUICK, "-q")
    assert silent.out == silent.err == ""


@pytest.mark.slow
def test_only_what_changed_is_pruned_again(shell, models):
    def run(*more):
        assert shell(models, "-d", "out", *QUICK, *more, "-q").code == 0
        done = [each for each in worked() if each not in before]
        return done + worked()[len(before) :] if before else worked()

    before = []
    assert len(run()) == 3
    before = worked()
    save(models / "one.onnx", 7)  # another model
    assert run() == ["one.onnx"]
    before = worked()
    Path("out/deep/two.onnx").unlink()  # a result is gone
    assert run() == ["deep/two.onnx"]
    before = worked()
    Path("out/one.onnx").write_bytes(b"x" * Path("out/one.onnx").stat().st_size)  # or spoilt
    assert run() == ["one.onnx"]
    before = worked()
    data = models / "deep" / "large.onnx.data"
    weights = np.frombuffer(data.read_bytes(), np.float32)
    data.write_bytes((-weights).tobytes())  # the data beside a model changed
    assert run() == ["deep/large.onnx"]
    before = worked()
    assert sorted(run("--seed", "3")) == ["deep/large.onnx", "deep/two.onnx", "one.onnx"]
    before = worked()
    assert len(run("--seed", "3", "--force")) == 3


def test_a_model_that_was_only_touched_is_known_by_its_hash(shell, models):
    one = models / "one.onnx"
    assert shell(one, "-d", "out", *QUICK).code == 0
    made = Path("out/one.onnx").stat()
    os.utime(one, ns=(1, 1))
    assert "known before" in shell(one, "-d", "out", *QUICK).err
    assert Path("out/one.onnx").stat().st_mtime_ns == made.st_mtime_ns
    os.utime("out/one.onnx", ns=(1, 1))  # as when results are copied from elsewhere
    assert "known before" in shell(one, "-d", "out", *QUICK).err


def test_what_is_no_success_is_told_apart(shell, models):
    (models / "junk.onnx").write_bytes(b"junk")
    rigid(models / "rigid.onnx")
    ran = shell(models, "-d", "out", *QUICK, "--min-reduction", "0.3")
    assert ran.code == 6 and "1 of 5 models failed (such as junk.onnx)" in ran.err
    made = summary("out")
    assert made["totals"]["refused"] == made["totals"]["unchanged"] == 1
    assert made["totals"]["pruned"] == 3 and made["totals"]["crashed"] == 0
    assert {(r["exit_code"], *r["models"]) for r in made["reasons"]} == {
        (3, "junk.onnx"),
        (4, "rigid.onnx"),
    }
    assert not Path("out/junk.onnx").exists() and not Path("out/rigid.onnx").exists()
    assert (
        shell(models, "-d", "out", *QUICK, "--min-reduction", "0.3").err.count("known before") == 5
    )


@pytest.mark.parametrize(
    ("accept", "code"),
    [((), 6), (("refused",), 6), (("refused", "unchanged"), 0), (("none",), 6)],
)
def test_what_counts_as_failure_can_be_chosen(shell, tmp_path, accept, code):
    (tmp_path / "zoo").mkdir()
    (tmp_path / "zoo" / "junk.onnx").write_bytes(b"junk")
    rigid(tmp_path / "zoo" / "rigid.onnx")
    words = [word for each in accept for word in ("--accept", each)]
    assert shell("zoo", "-d", "out", *QUICK, *words).code == code
    assert len(summary("out")["models"]) == 2


def test_a_gate_that_is_missed(shell, models):
    gated = [*QUICK[:-1], "run", "--max-drift", "0"]
    ran = shell(models / "one.onnx", "-d", "out", *gated)
    assert ran.code == 6 and statuses() == {"one.onnx": "missed"}
    assert not Path("out/one.onnx").exists()
    assert shell(models / "one.onnx", "-d", "out", *gated, "--accept", "missed").code == 0


def test_a_result_of_other_options_does_not_outlive_a_failure(shell, models):
    assert shell(models / "deep" / "large.onnx", "-d", "out", *QUICK).code == 0
    assert len([*Path("out").glob("large.*.data")]) == 1
    ran = shell(models / "deep" / "large.onnx", "-d", "out", *QUICK, "--min-reduction", "0.9")
    assert ran.code == 6 and partial("out") == []
    assert [*Path("out").glob("large*")] == []


def test_time_and_memory_limits_hurt_one_model_and_are_tried_again(shell, models, processes):
    Path("rules.toml").write_text(
        '["one.onnx"]\ntimeout = 0.01\n["*/two.onnx"]\nmemory = 67108864\nverify = "run"\n'
    )
    ran = shell(models, "-d", "out", *QUICK, "--config", "rules.toml")
    assert ran.code == 6
    assert statuses() == {
        "one.onnx": "limit",
        "deep/two.onnx": "limit",
        "deep/large.onnx": "pruned",
    }
    said = {row["name"]: row["error"] for row in summary("out")["models"]}
    assert "0.01 s" in said["one.onnx"] and "0.0625 GiB" in said["deep/two.onnx"]
    assert partial("out") == []
    assert shell(models, "-d", "out", *QUICK).code == 0
    assert sorted(worked()) == ["deep/large.onnx", *2 * ["deep/two.onnx"], *2 * ["one.onnx"]]


def test_fail_fast_ends_with_the_first_failure(shell, models):
    save(models / "broken.onnx", hidden=16384)  # the largest, so the first
    path = models / "broken.onnx"
    path.write_bytes(path.read_bytes()[:-1000])
    ran = shell(models, "-d", "out", *QUICK, "--fail-fast", "--jobs", 1)
    made = summary("out")
    assert ran.code == made["exit_code"] == 6 and "3 were not tried" in made["error"]
    assert len(made["pending"]) == 3 and made["totals"]["refused"] == 1
    os.remove(path)
    assert shell(models, "-d", "out", *QUICK, "--fail-fast").code == 0


def test_shards_do_the_whole_together(shell, models):
    for k in range(6):
        save(models / f"more{k}.onnx", 10 + k)
    for k in (1, 2, 3):
        assert shell(models, "-d", "out", *QUICK, "--shard", f"{k}/3", "-q").code == 0
    parts = [
        [row["name"] for row in summary("out", f"summary.{k}-of-3")["models"]] for k in (1, 2, 3)
    ]
    assert sum(map(len, parts)) == len(set().union(*parts)) == 9
    assert shell(models, "-d", "out", *QUICK, "-q").code == 0
    assert summary("out")["reused"] == 9


def test_results_of_other_machines_can_be_put_together(shell, models):
    """As a CI matrix does: a destination per shard, copied into one without its times."""
    for k in (1, 2):
        assert shell(models, "-d", f"out{k}", *QUICK, "--shard", f"{k}/2", "-q").code == 0
    manifest = b""
    for k in (1, 2):
        shutil.copytree(f"out{k}", "all", dirs_exist_ok=True, copy_function=shutil.copyfile)
        manifest += Path(f"out{k}/.zoo/manifest.jsonl").read_bytes()
    Path("all/.zoo/manifest.jsonl").write_bytes(manifest)
    assert shell(models, "-d", "all", *QUICK, "-q").code == 0
    assert summary("all")["reused"] == 3


def test_options_per_model(shell, models):
    Path("rules.toml").write_text('["one.onnx"]\nratio = 0.7\n["deep/*"]\nskip = true\n')
    assert shell(models, "-d", "out", *QUICK, "--config", "rules.toml").code == 0
    assert list(statuses()) == ["one.onnx"]
    report = json.loads(Path("out/.zoo/reports/one.onnx.json").read_text())
    assert report["reduction"]["params"] > 0.6


def test_a_file_that_is_not_what_its_list_says_is_refused(shell, models):
    Path("zoo.toml").write_text(f'[[model]]\npath = "models/one.onnx"\nsha256 = "{"0" * 64}"\n')
    assert shell("zoo.toml", "-d", "out", *QUICK).code == 6
    assert statuses() == {"models/one.onnx": "refused"}
    right = summary("out")["models"][0]["error"].split("sha256 ")[1].split()[0]
    Path("zoo.toml").write_text(f'[[model]]\npath = "models/one.onnx"\nsha256 = "{right}"\n')
    assert shell("zoo.toml", "-d", "out", *QUICK).code == 0


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (("models", "-d", "out"), 2, "--ratio"),
        (("models",), 2, "--dest"),
        (("models", "-d", "out", "--ratio", "2"), 2, "--ratio"),
        (("models", "-d", "out", *QUICK, "--shard", "3/2"), 2, "--shard"),
        (("models", "-d", "out", *QUICK, "--address", "tcp://h:1"), 2, "--engine"),
        (("models", "-d", "models/one.onnx", *QUICK), 2, "one.onnx"),
        (("models", "-d", "models/one.onnx/x", *QUICK), 2, "cannot make the folder"),
        (("nothing", "-d", "out", *QUICK), 3, "nothing does not exist"),
        (("models", "-d", "out", *QUICK, "--config", "none.toml"), 2, "none.toml"),
        (("models", "-d", "out", *QUICK, "--memory", "1M"), 2, "memory"),
    ],
)
def test_what_cannot_be_done_is_said_before_any_work(shell, models, words, code, said):
    ran = shell(*words)
    assert ran.code == code and said in ran.err and ran.err.count("\n") == 1
    assert not list(Path("out").glob("*"))


def test_the_summary_in_every_format(shell, models):
    save(models / "a|b <x>.onnx", 5)
    (models / "junk.onnx").write_bytes(b"junk")
    shell(models, "-d", "out", "-s", "l1", "--ratio", "0.4", "--of", "params", "--round-to", "1")
    made = summary("out")
    assert len(made["models"]) == 5
    rows = list(csv.DictReader(io.StringIO(Path("out/summary.csv").read_text())))
    assert [row["name"] for row in rows] == [row["name"] for row in made["models"]]
    assert [row["sha256"] or None for row in rows] == [row["sha256"] for row in made["models"]]
    suite = ElementTree.parse("out/summary.xml").getroot()
    assert (suite.get("tests"), suite.get("errors"), suite.get("failures")) == ("5", "1", "0")
    assert len(suite.findall("testcase")) == 5
    page = Path("out/summary.html").read_text()
    assert (
        page.count("<circle") == 8
        and "<script" not in page
        and "http" not in page.split("</style>")[1]
    )
    assert "a|b &lt;x&gt;.onnx" in page
    text = Path("out/summary.md").read_text()
    assert r"a\|b \<x\>.onnx" in text and "5 models: 4 pruned (4 risky), 1 refused" in text
    widths = {
        len(line.replace("\\|", "").split("|")) for line in text.split("| Model ")[1].splitlines()
    }
    assert len(widths - {0, 1}) <= 2


# Elsewhere


def test_models_of_a_storage_come_with_their_data(shell, models):
    fsspec = pytest.importorskip("fsspec")
    system = fsspec.filesystem("memory")
    for path in models.rglob("*.onnx*"):
        system.pipe(f"/shop/{path.relative_to(models).as_posix()}", path.read_bytes())
    assert shell(models, "-d", "here", *QUICK, "-q").code == 0
    ran = shell("memory://shop", "-d", "out", *QUICK)
    assert ran.code == 0, ran.err
    assert outcome("out") == outcome("here") and partial("out") == []
    assert shell("memory://shop", "-d", "out", *QUICK).err.count("known before") == 3
    system.pipe("/shop/one.onnx", (models / "deep" / "two.onnx").read_bytes())
    assert shell("memory://shop", "-d", "out", *QUICK).err.count("known before") == 2
    kept = system.cat("/shop/one.onnx")
    system.rm("/shop/one.onnx")  # out of reach for a while: what was made of it stays
    Path("one.txt").write_text("memory://shop/one.onnx\nmemory://shop/deep/two.onnx\n")
    assert shell("one.txt", "-d", "few", *QUICK).code == 6
    system.pipe("/shop/one.onnx", kept)
    assert shell("one.txt", "-d", "few", *QUICK).err.count("known before") == 1
    system.rm("/shop/one.onnx")
    assert shell("one.txt", "-d", "few", *QUICK).code == 6 and Path("few/shop/one.onnx").exists()
    system.pipe("/shop/one.onnx", kept)
    assert shell("one.txt", "-d", "few", *QUICK).err.count("known before") == 2
    Path("list.txt").write_text("memory://shop/one.onnx\nmemory://shop/gone.onnx\n")
    assert shell("list.txt", "-d", "other", *QUICK).code == 6
    assert statuses("other") == {"shop/one.onnx": "pruned", "shop/gone.onnx": "refused"}
    assert "gone.onnx does not exist" in summary("other")["models"][0]["error"]
    system.rm("/shop", recursive=True)


def test_engines_that_are_not_installed_say_how_to_get_them(shell, models, monkeypatch):
    for name, package in (("dask", "distributed"), ("ray", "ray")):
        monkeypatch.setitem(sys.modules, package, None)
        ran = shell(models, "-d", "out", *QUICK, "--engine", name)
        assert ran.code == 3 and f'pip install "onnx-spa[{name}]"' in ran.err


def test_large_models_need_their_data(shell, tmp_path):
    save_external(tmp_path / "zoo" / "x.onnx")
    (tmp_path / "zoo" / "x.onnx.data").unlink()
    assert shell("zoo", "-d", "out", *QUICK).code == 6
    assert statuses() == {"x.onnx": "refused"}
