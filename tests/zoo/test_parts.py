"""The zoo's parts one by one: manifest, locks, shards, options, what a process holds."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from dataclasses import replace
from pathlib import Path

import pytest

from spa.config import read_config, recipe_from
from spa.errors import SpaError, UsageError
from spa.recipe import OPTIONS, Recipe
from spa.zoo import child, config, sources
from spa.zoo.lock import claimed, held
from spa.zoo.manifest import Manifest
from spa.zoo.model import Found
from tests.zoo.samples import environment


def line(name, **more):
    return {"name": name, "row": {}, "options": "o", **more}


# Manifest


def test_the_last_line_about_a_model_counts(tmp_path):
    manifest = Manifest(tmp_path / "m.jsonl")
    assert manifest.find("a") is None
    manifest.append(line("a", digest=1))
    manifest.append(line("b"))
    manifest.append(line("a", digest=2))
    assert manifest.find("a")["digest"] == 2 and manifest.find("b") is not None
    assert Manifest(tmp_path / "m.jsonl").find("a")["digest"] == 2


def test_what_others_append_is_seen(tmp_path):
    mine, other = Manifest(tmp_path / "m.jsonl"), Manifest(tmp_path / "m.jsonl")
    mine.append(line("a"))
    assert other.find("a") and not other.find("b")
    mine.append(line("b"))
    assert other.find("b")


@pytest.mark.parametrize("cut", [1, 10, 30])
def test_a_line_cut_in_half_costs_only_itself(tmp_path, cut):
    path = tmp_path / "m.jsonl"
    manifest = Manifest(path)
    manifest.append(line("a"))
    manifest.append(line("b"))
    path.write_bytes(path.read_bytes()[:-cut])
    again = Manifest(path)
    assert again.find("a") and (again.find("b") is None)
    again.append(line("c"))
    fresh = Manifest(path)
    assert fresh.find("a") and fresh.find("c")
    # Without its line end a line may still be whole, and then the next one completes it.
    assert (fresh.find("b") is None) == (cut > 1)
    assert again.find("c")


def test_lines_that_mean_nothing_are_passed_over(tmp_path):
    path = tmp_path / "m.jsonl"
    path.write_bytes(
        b'\xff\xfe\n[1]\n{"name": "a"}\nnull\n' + json.dumps(line("b")).encode() + b"\n"
    )
    assert Manifest(path).find("a") is None and Manifest(path).find("b")


def test_a_manifest_that_was_replaced_is_read_again(tmp_path):
    manifest = Manifest(tmp_path / "m.jsonl")
    for name in "abc":
        manifest.append(line(name))
    assert manifest.find("a")
    (tmp_path / "m.jsonl").write_text(json.dumps(line("z")) + "\n")
    assert manifest.find("z") and manifest.find("a") is None
    (tmp_path / "m.jsonl").unlink()
    assert manifest.find("z") is None


def test_many_writers_lose_nothing(tmp_path):
    code = (
        "import sys\nfrom pathlib import Path\nfrom spa.zoo.manifest import Manifest\n"
        "m = Manifest(Path('m.jsonl'))\n"
        "for k in range(40):\n"
        "    m.append({'name': f'{sys.argv[1]}-{k}', 'row': {}, 'options': 'x' * 3000})\n"
    )
    crowd = [
        subprocess.Popen([sys.executable, "-c", code, str(k)], env=environment()) for k in range(3)
    ]
    assert [each.wait(60) for each in crowd] == [0, 0, 0]
    text = (tmp_path / "m.jsonl").read_text().splitlines()
    assert {json.loads(t)["name"] for t in text} == {
        f"{w}-{k}" for w in range(3) for k in range(40)
    }
    assert len(text) == 120


# Locks


def test_a_lock_has_one_holder(tmp_path):
    with claimed(tmp_path / "x") as first, claimed(tmp_path / "x") as second:
        assert first is not None and second is None
    with claimed(tmp_path / "x") as third:
        assert third is not None


def test_who_waits_gets_the_lock_after_its_holder(tmp_path):
    order = []

    def wait():
        with held(tmp_path / "x"):
            order.append("second")

    with held(tmp_path / "x"):
        thread = threading.Thread(target=wait)
        thread.start()
        thread.join(0.1)
        order.append("first")
    thread.join(10)
    assert order == ["first", "second"]


@pytest.mark.skipif(sys.platform == "win32", reason="descriptors are not inherited there")
def test_a_process_that_inherited_a_lock_holds_it_after_its_parent_let_go(tmp_path):
    with claimed(tmp_path / "x") as lock:
        heir = subprocess.Popen(["sleep", "60"], pass_fds=(lock,))
    with claimed(tmp_path / "x") as again:
        assert again is None
    heir.kill()
    heir.wait()
    with claimed(tmp_path / "x") as again:
        assert again is not None


# Shards

FOUND = [Found(f"folder{k % 7}/model{k}.onnx", f"s{k}") for k in range(200)]


@pytest.mark.parametrize("count", [1, 2, 3, 8])
def test_shards_part_the_zoo(count):
    parts = [sources.share(FOUND, f"{k}/{count}") for k in range(1, count + 1)]
    names = [each.name for part in parts for each in part]
    assert sorted(names) == sorted(each.name for each in FOUND)
    assert all(200 / count * 0.5 < len(part) < 200 / count * 1.5 for part in parts)


def test_a_share_does_not_depend_on_the_others():
    some = sources.share(FOUND[:50], "2/3")
    assert some == [each for each in sources.share(FOUND, "2/3") if each in FOUND[:50]]


@pytest.mark.parametrize("text", ["0/3", "4/3", "1", "a/b", "1/0", "-1/2", "1/2/3", ""])
def test_a_shard_that_is_no_part_is_refused(text):
    with pytest.raises(UsageError, match="1/4"):
        sources.share(FOUND, text)


# Options

COMMON = config.Common(Recipe(ratio=0.5, scorer="l1"))


def jobs(rules=(), common=COMMON, **options):
    found = [Found("a/x.onnx", "s", 5, None, options), Found("b/y.onnx", "t")]
    return config.jobs_of(found, common, rules, Path("dest"))


def rules(text, suffix="toml"):
    path = Path(f"rules.{suffix}")
    path.write_text(text)
    return read_config(str(path), OPTIONS).models


def test_options_by_glob_and_later_ones_win():
    first, second = jobs(
        rules(
            '["*"]\nratio = 0.2\nignore = ["head*"]\n["b/*"]\nratio = 0.3\ntimeout = 5\n'
            "max-layer-ratio = 0.8\nlayer-ratio = {c = 0.1}\ninput-shape = {x = [1, 3]}\n"
        )
    )
    assert first.recipe["ratio"] == 0.2 and first.timeout is None
    assert second.recipe["ratio"] == 0.3 and second.timeout == 5
    again = recipe_from(second.recipe).validate()
    assert again.ignore == ("head*",) and again.max_layer_ratio == 0.8
    assert again.layer_ratio == {"c": 0.1} and list(again.input_shape["x"]) == [1, 3]


def test_options_of_a_list_beat_those_of_a_glob():
    made = jobs(rules('["*"]\nratio = 0.2\n'), ratio=0.7)
    assert [job.recipe["ratio"] for job in made] == [0.7, 0.2]


def test_models_can_be_skipped():
    assert [job.name for job in jobs(rules('["a/*"]\nskip = true\n'))] == ["b/y.onnx"]


def test_yaml_says_the_same():
    pytest.importorskip("yaml")
    first, second = jobs(rules('"b/*":\n  ratio: 0.3\n  ignore: ["h"]\n', "yaml"))
    assert second.recipe["ratio"] == 0.3 and second.recipe["ignore"] == ["h"]
    assert first.options != second.options


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('["*"]\nration = 0.2\n', "did you mean ratio"),
        ('["*"]\nratio = 2\n', r"\[\*\]: ratio must lie"),
        ('["*"]\nof = "weights"\n', "of 'weights' is unknown"),
        ('["*"]\ntimeout = 0\n', "timeout"),
        ('["*"]\nmemory = "4"\n', "memory must be at least 1M"),
        ('["*"]\nratio = "much"\n', "ratio must lie strictly between 0 and 1, not 'much'"),
        ("x = 1\n", "there is no option 'x'; choose from"),
        ('"*" = 1\n', "is no table"),
        ("x = \n", "is no TOML"),
    ],
)
def test_options_that_are_wrong_are_named_before_any_work(text, words):
    with pytest.raises(UsageError, match=words):
        jobs(rules(text))


def test_a_missing_file_of_options_is_named():
    with pytest.raises(UsageError, match=r"none\.toml"):
        read_config("none.toml", OPTIONS)


def test_every_model_needs_a_ratio():
    common = config.Common(Recipe())
    with pytest.raises(UsageError, match=r"b/y\.onnx"):
        jobs(rules('["a/*"]\nratio = 0.5\n'), common)
    assert len(jobs(rules('["*"]\nratio = 0.5\n'), common)) == 2


def test_gates_on_quality_may_stand_for_a_ratio():
    one, two = jobs(rules('["a/*"]\nspeedup = 1.5\n'), config.Common(Recipe(max_drift=0.1)))
    assert one.recipe["speedup"] == 1.5 and one.recipe["ratio"] is two.recipe["ratio"] is None
    assert recipe_from(two.recipe).searches and not recipe_from(one.recipe).searches


def test_a_budget_of_a_model_beats_that_of_all():
    one, two = jobs(rules('["a/*"]\nratio = 0.3\n'), config.Common(Recipe(speedup=1.5)))
    assert (one.recipe["ratio"], one.recipe["speedup"]) == (0.3, None)
    assert (two.recipe["ratio"], two.recipe["speedup"]) == (None, 1.5)


def test_the_hash_of_options_follows_what_decides(tmp_path):
    same = {job.options for job in jobs()}
    assert len(same) == 1
    half = Recipe(ratio=0.5, scorer="l1")
    assert {j.options for j in jobs(common=config.Common(half, timeout=3))} == same
    other = config.Common(replace(half, scorer="l2"))
    assert {j.options for j in jobs(common=other)}.isdisjoint(same)
    calib = tmp_path / "c.npz"
    seen = []
    for contents in (b"1", b"2", b"1"):
        calib.write_bytes(contents)
        seen.append(jobs(common=config.Common(Recipe(ratio=0.5, calib=str(calib))))[0].options)
    assert seen[0] == seen[2] != seen[1]
    folder = tmp_path / "photos"
    with pytest.raises(SpaError, match="photos"):
        jobs(common=config.Common(Recipe(ratio=0.5, calib=str(folder))))
    folder.mkdir()
    empty = jobs(common=config.Common(Recipe(ratio=0.5, calib=str(folder))))[0].options
    (folder / "p.npy").write_bytes(b"x")
    assert jobs(common=config.Common(Recipe(ratio=0.5, calib=str(folder))))[0].options != empty


# Processes


@pytest.mark.parametrize("system", ["linux", "darwin"])
def test_what_a_process_holds_can_be_asked(system):
    if system == "linux" and sys.platform != "linux":
        pytest.skip("no /proc here")
    if system == "darwin" and not any(Path(p, "ps").exists() for p in os.get_exec_path()):
        pytest.skip("no ps here")
    assert 1 << 20 < child.resident(os.getpid(), system) < 1 << 36
    assert child.resident(99999999, system) == 0


# The command's options


def test_the_options_of_prune_are_the_zoos_too():
    from spa.cli import prune, zoo

    mine, other = ({p.name: p for p in c.params} for c in (zoo.zoo, prune.prune))
    of_one_model = {"source", "output", "plan", "dry_run", "report", "resume"}
    assert set(other) - of_one_model <= set(mine)
    shared = (set(other) & set(mine)) - {"memory", "timeout", "force"}
    assert len(shared) > 30
    for name in shared:
        assert mine[name].opts == other[name].opts and mine[name].default == other[name].default
    names = [p.name for p in zoo.zoo.params]
    assert len(names) == len(set(names)) and "process" in mine["memory"].help


def test_every_field_of_a_recipe_reaches_the_worker():
    recipe = Recipe(
        ratio=0.25,
        layer_ratio={"a*": 0.1},
        input_shape={"x": (1, 3, 8, 8)},
        ignore=("head", "tail"),
        input_range=(0.0, 255.0),
        mean=(0.5, 0.4, 0.3),
        round_to=8,
        memory=1 << 28,
    ).validate()
    plain = json.loads(
        json.dumps(config.jobs_of(FOUND[:1], config.Common(recipe), (), Path("d"))[0].recipe)
    )
    again = recipe_from(plain).validate()
    assert again == recipe or again == Recipe(
        **{**vars(recipe), "input_shape": {"x": [1, 3, 8, 8]}}
    )
