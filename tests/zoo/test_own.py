"""A destination is shared: what the zoo did not write stays, and what it wrote it knows again."""

from __future__ import annotations

import json
import os
from pathlib import Path

import onnx
import pytest

from spa.zoo import work
from spa.zoo.manifest import Manifest
from tests.zoo.samples import QUICK, outcome, partial, save, summary


def rows(dest="out"):
    return {row["name"]: row for row in summary(dest)["models"]}


@pytest.mark.parametrize("known", [False, True])
def test_a_file_of_somebody_else_is_never_replaced(shell, models, known):
    if known:  # a zoo that has been there for long changes nothing
        assert shell(models / "deep", "-d", "out", *QUICK, "-q").code == 0
    Path("out").mkdir(exist_ok=True)
    Path("out/one.onnx").write_text("precious")
    assert shell(models, "-d", "out", *QUICK, "-q").code == 6
    assert Path("out/one.onnx").read_text() == "precious"
    found = rows()
    assert found["one.onnx"]["exit_code"] == 2 and found["one.onnx"]["status"] == "refused"
    assert "no record says that this zoo wrote it" in found["one.onnx"]["error"]
    assert found["deep/two.onnx"]["status"] == found["deep/large.onnx"]["status"] == "pruned"
    Path("out/one.onnx").unlink()
    assert shell(models, "-d", "out", *QUICK, "-q").code == 0


def test_a_link_to_nowhere_is_somebody_elses_too(shell, models):
    Path("out").mkdir()
    Path("out/one.onnx").symlink_to("nowhere")
    assert shell(models / "one.onnx", models / "deep", "-d", "out", *QUICK, "-q").code == 6
    assert os.readlink("out/one.onnx") == "nowhere"


@pytest.mark.parametrize("suffix", ["json", "md"])
def test_a_summary_of_somebody_else_is_said_before_any_work(shell, models, suffix):
    Path("out").mkdir()
    Path(f"out/summary.{suffix}").write_text("precious")
    ran = shell(models, "-d", "out", *QUICK)
    assert ran.code == 2 and f"summary.{suffix} exists" in ran.err and ran.err.count("\n") == 1
    assert [path.name for path in Path("out").iterdir()] == [f"summary.{suffix}"]
    assert Path(f"out/summary.{suffix}").read_text() == "precious"


def test_summaries_of_older_versions_are_the_zoos(shell, models):
    assert shell(models, "-d", "out", *QUICK, "-q").code == 0
    for place in Path("out/.zoo/summaries").iterdir():
        place.unlink()
    Path("out/.zoo/summaries").rmdir()
    assert shell(models, "-d", "out", *QUICK, "-q").code == 0


def test_a_result_that_was_changed_is_set_aside(shell, models):
    one = models / "one.onnx"
    assert shell(one, "-d", "out", *QUICK, "-q").code == 0
    Path("out/one.onnx").write_text("tuned by hand")
    assert shell(one, "-d", "out", *QUICK, "-q").code == 0
    onnx.checker.check_model("out/one.onnx")
    assert Path("out/.zoo/changed/one.onnx").read_text() == "tuned by hand"


def test_what_a_killed_run_had_moved_is_known_again(shell, models, monkeypatch):
    """As if it were killed between the moves and the line in the manifest."""
    large = models / "deep" / "large.onnx"
    assert shell(large, "-d", "out", *QUICK, "-q").code == 0
    want = outcome("out")
    for seed in ("1", "2", "0"):
        with monkeypatch.context() as patched:
            patched.setattr(Manifest, "append", lambda *_: 1 / 0)
            with pytest.raises(ZeroDivisionError):
                work.work(job_of(large, seed))
    assert len([*Path("out").glob("large*")]) == 2 and [*Path("out/.zoo/intents").iterdir()]
    assert shell(large, "-d", "out", *QUICK, "-q").code == 0
    assert outcome("out") == want and partial("out") == []
    assert not [*Path("out/.zoo/intents").iterdir()]


def job_of(source, seed):
    from spa.recipe import Recipe
    from spa.zoo import config
    from spa.zoo.model import Found

    recipe = Recipe(scorer="l1", ratio=0.4, of="params", round_to=1, verify="none", seed=int(seed))
    common = config.Common(recipe, force=True)
    return config.jobs_of([Found("large.onnx", str(source))], common, (), Path("out").absolute())[0]


def test_an_intent_that_is_no_such_names_nothing(shell, models):
    assert shell(models / "one.onnx", "-d", "out", *QUICK, "-q").code == 0
    line = json.loads(Path("out/.zoo/manifest.jsonl").read_text())
    for text in ("{", "{}", "[1]", '[{"../../models/deep/two.onnx": {"stamp": "0-0"}}]'):
        for place in Path("out/.zoo/locks").iterdir():
            intent = Path("out/.zoo/intents", place.name)
            intent.parent.mkdir(exist_ok=True)
            intent.write_text(text)
        assert shell(models / "one.onnx", "-d", "out", *QUICK, "--force", "-q").code == 0
    assert (models / "deep" / "two.onnx").exists()
    assert rows()["one.onnx"]["sha256"] == line["row"]["sha256"]


# One bad entry


def test_a_bad_file_does_not_stop_a_zoo(shell, models):
    (models / "nowhere.onnx").symlink_to("absent")
    if hasattr(os, "mkfifo"):
        os.mkfifo(models / "pipe.onnx")
    assert shell(models, "-d", "out", *QUICK, "-q").code == 6
    found = rows()
    assert [n for n, r in found.items() if r["status"] == "pruned"] == [
        "deep/large.onnx",
        "deep/two.onnx",
        "one.onnx",
    ]
    assert found["nowhere.onnx"]["exit_code"] == 3
    assert "does not exist" in found["nowhere.onnx"]["error"]
    if hasattr(os, "mkfifo"):
        assert "is no file" in found["pipe.onnx"]["error"]


@pytest.mark.skipif(os.name != "posix", reason="names there are text")
def test_a_name_that_is_no_text(shell, models):
    (models / "one.onnx").rename(os.fsdecode(os.fsencode(models) + b"/\xff.onnx"))
    assert shell(models, "-d", "out", *QUICK).code == 0
    assert len(rows()) == 3 and Path("out", os.fsdecode(b"\xff.onnx")).exists()


@pytest.mark.parametrize(
    ("entry", "code", "said"),
    [
        ('path = "models/none.onnx"', 3, "none.onnx does not exist"),
        ('path = "models/no*.onnx"', None, ""),
        ('licence = "MIT"', 3, "neither path, url nor name"),
        ('path = "models/one.onnx"\noptions = 3', 3, "no table"),
        ('path = "models/one.onnx"\n[model.options]\nratoi = 0.3', 2, "did you mean ratio"),
        ('path = "models/one.onnx"\n[model.options]\nratio = 3', 2, "ratio must lie strictly"),
        ('path = "models/one.onnx"\nname = "../../x"', 2, "leads out"),
        ('path = "models/one.onnx"\nname = "a\\u0000"', 2, "is none that a file can have"),
        ('path = "models/one.onnx"\nsha256 = 3', 3, "where its list says 3"),
    ],
)
def test_a_bad_entry_of_a_list_does_not_stop_a_zoo(shell, models, entry, code, said):
    Path("zoo.toml").write_text(
        f'[[model]]\n{entry}\n[[model]]\npath = "models/deep/two.onnx"\nname = "two"\n'
    )
    ran = shell("zoo.toml", "-d", "out", *QUICK)
    found = rows()
    assert found.pop("two.onnx")["status"] == "pruned" and Path("out/two.onnx").exists()
    assert ran.code == (6 if code else 0)
    for row in found.values():
        assert (row["exit_code"], row["status"]) == (code, "refused") and said in row["error"]
    assert len(found) == bool(code) and not Path("x.onnx").exists()


def test_options_that_only_one_model_minds(shell, models):
    Path("rules.toml").write_text('["one.onnx"]\nratio = 7\n')
    assert shell(models, "-d", "out", *QUICK, "--config", "rules.toml", "-q").code == 6
    assert [row["status"] for row in rows().values()] == ["pruned", "pruned", "refused"]


def test_a_result_that_finds_no_room_is_tried_again(shell, models, processes):
    resource = pytest.importorskip("resource")
    assert shell(models, "-d", "full", *QUICK, "-q").code == 0
    (data,) = Path("full/deep").glob("large.*.data")
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (data.stat().st_size - 1, limits[1]))
    try:
        shell(models / "deep/large.onnx", "-d", "out", *QUICK, "-q")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    (row,) = rows().values()
    assert (row["exit_code"], row["transient"]) == (2, True) and "make room there" in row["error"]
    assert shell(models / "deep/large.onnx", "-d", "out", *QUICK, "-q").code == 0


def test_a_disk_without_room_for_the_summary_is_one_sentence(shell, models, monkeypatch):
    save(models / "more.onnx", 9)
    assert shell(models, "-d", "out", *QUICK, "-q").code == 0
    import spa.zoo.summary

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(spa.zoo.summary, "held", full)
    ran = shell(models, "-d", "out", *QUICK)
    assert ran.code == 2 and "(No space left on device); make room there" in ran.err
