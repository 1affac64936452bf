"""scripts/benchmarks/bench_accuracy.py: what it splits, scores, searches, keeps and prints."""

from __future__ import annotations

import importlib
import json
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from tests.nets.layers import convolutions, looked_up

ROOT = Path(__file__).parents[1]
PARTS = ("bench_accuracy", "accuracy")


@pytest.fixture(autouse=True)
def scripts(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The scripts can be imported, and are forgotten afterwards."""
    monkeypatch.syspath_prepend(str(ROOT / "scripts" / "benchmarks"))
    path = list(sys.path)
    yield
    sys.path[:] = path
    for name in [n for n in sys.modules if n.split(".")[0] in PARTS]:
        del sys.modules[name]


def part(name: str) -> Any:
    """A module of the script."""
    return importlib.import_module(name)


def classifier(folder: Path, hidden: int = 24) -> Path:
    """A small network for pictures of 8 x 8: class = brightest of two halves, by chance weights."""
    model = convolutions(1, hidden, 16, head=3, bias=False, batch="N")
    onnx.save(model, folder / "net.onnx")
    return folder / "net.onnx"


@pytest.fixture
def given(tmp_path: Path) -> tuple[Path, Path]:
    """A model, and pictures it mostly gets right: it labelled them, a tenth is mislabelled."""
    model = classifier(tmp_path)
    rng = np.random.default_rng(1)
    data = tmp_path / "data.npz"
    images = rng.integers(0, 256, (60, 8, 8, 1), dtype=np.uint8)
    np.savez(data, x=images, y=np.zeros(60, np.uint8))
    scores = part("accuracy.scores")
    pictures = part("accuracy.data").pictures(data, ["N", 1, 8, 8])
    labels = scores.classes(model, pictures, np.arange(60))
    labels[::10] = (labels[::10] + 1) % 3
    np.savez(data, x=images, y=labels.astype(np.uint8))
    return model, data


# --- data -----------------------------------------------------------------------------------------


def test_the_split_is_fixed_and_its_parts_never_meet() -> None:
    split = part("accuracy.data").split
    report, rest = split(2000, "report")
    dev, other = split(2000, "dev")
    assert len(report) == len(dev) == 1000
    assert sorted([*report, *dev]) == list(range(2000))
    assert np.array_equal(report, other) and np.array_equal(dev, rest)
    assert report[:4].tolist() == [3, 4, 6, 7]  # never to be changed
    every, none = split(2000, "all")
    assert len(every) == 2000 and len(none) == 0
    assert len(split(125, "report", 0.8)[0]) == 100


@pytest.mark.parametrize("first", [True, False])
def test_pictures_are_what_the_model_sees(tmp_path: Path, first: bool) -> None:
    images = np.arange(2 * 4 * 4 * 3, dtype=np.uint8).reshape(2, 4, 4, 3)
    np.savez(tmp_path / "a.npz", x=images, y=[1, 2])
    shape = ["N", 3, 4, 4] if first else ["N", 4, 4, 3]
    mean, std = [0.1, 0.2, 0.3], [0.5, 1.0, 2.0]
    found = part("accuracy.data").pictures(tmp_path / "a.npz", shape, mean=mean, std=std)
    want = ((images / 255 - mean) / std).astype(np.float32)
    rows = found.rows(np.array([1]))
    assert np.allclose(rows, want[1:].transpose(0, 3, 1, 2) if first else want[1:], atol=1e-6)
    assert rows.dtype == np.float32


def test_the_carried_images_and_a_folder_are_read(tmp_path: Path) -> None:
    pillow = pytest.importorskip("PIL.Image")
    data = part("accuracy.data")
    own = data.pictures(ROOT / "models/fashion_eval.npz", ["N", 1, 28, 28])
    assert own.images.shape == (2000, 28, 28, 1) and own.scale == 255
    for name, value in (("n2_dog", 200), ("n1_cat", 50)):
        (tmp_path / "set" / name).mkdir(parents=True)
        image = np.full((30, 20, 3), value, np.uint8)
        pillow.fromarray(image).save(tmp_path / "set" / name / "0.png")
    found = data.pictures(tmp_path / "set", ["N", 3, 14, 14])
    assert found.images.shape == (2, 14, 14, 3)
    assert found.images[:, 0, 0, 0].tolist() == [50, 200] and found.labels.tolist() == [0, 1]
    (tmp_path / "classes").write_text("n0_cow\nn2_dog\nn1_cat\n")
    found = data.pictures(tmp_path / "set", ["N", 3, 14, 14], classes=tmp_path / "classes")
    assert found.labels.tolist() == [2, 1]


def test_pairs_survive_storing(tmp_path: Path) -> None:
    data = part("accuracy.data")
    pairs = data.Pairs([[1, 2, 3], [4]], [[5], [6, 7]], np.array([0.5, 4.0]))
    data.store(pairs, tmp_path / "p.npz")
    back = data.pairs(tmp_path / "p.npz", None)
    assert (back.first, back.second) == (pairs.first, pairs.second)
    assert back.scores.tolist() == [0.5, 4.0]
    assert data.padded([[1, 2, 3], [4]]).tolist() == [[1, 2, 3], [4, 0, 0]]


# --- scores ---------------------------------------------------------------------------------------


def test_top1_and_its_error(given: tuple[Path, Path], tmp_path: Path) -> None:
    model, path = given
    data = part("accuracy.data").pictures(path, ["N", 1, 8, 8])
    score = part("accuracy.scores").score_pictures
    whole = score(model, model, data, np.arange(60))
    assert whole["score"] == pytest.approx(0.9) and whole["rows"] == 60
    assert whole["se"] == pytest.approx((0.9 * 0.1 / 60) ** 0.5)
    assert whole["change"] == whole["change_se"] == 0 and whole["agreement"] == 1
    worse = onnx.load(model)
    for tensor in worse.graph.initializer[2:]:
        tensor.raw_data = bytes(len(tensor.raw_data))
    onnx.save(worse, tmp_path / "worse.onnx")
    found = score(model, tmp_path / "worse.onnx", data, np.arange(60))
    zeros = np.mean(data.labels == 0)
    assert found["score"] == pytest.approx(zeros)
    assert found["change"] == pytest.approx(zeros - 0.9) and found["change_se"] > 0


def test_spearman_is_scipys() -> None:
    stats = pytest.importorskip("scipy.stats")
    rng = np.random.default_rng(0)
    a = rng.integers(0, 5, 50).astype(float)
    b = a + rng.standard_normal(50)
    found = part("accuracy.scores").spearman(a, b)
    assert found == pytest.approx(float(stats.spearmanr(a, b).statistic))


def encoder(path: Path, sizes: tuple[Any, Any] = ("N", "L")) -> Path:
    """A table of 20 vectors, looked up by ids, and a mask that nobody reads."""
    onnx.save(looked_up(20, 6, sizes[1], batch=sizes[0]), path)
    return path


@pytest.mark.parametrize("sizes", [("N", "L"), (2, 5)])
def test_sentences_are_means_over_their_tokens_only(tmp_path: Path, sizes: Any) -> None:
    model = encoder(tmp_path / "encoder.onnx", sizes)
    table = numpy_helper.to_array(onnx.load(model).graph.initializer[0])
    rows = [[3, 5, 7], [2], [9, 9]]
    found = part("accuracy.scores").embeddings(model, rows)
    for vector, ids in zip(found, rows, strict=True):
        want = table[ids].mean(0)
        assert np.allclose(vector, want / np.linalg.norm(want), atol=1e-6)


def test_tables_are_not_of_the_encoder(tmp_path: Path) -> None:
    found = part("accuracy.prune").sizes(encoder(tmp_path / "encoder.onnx"))
    assert found["params"] == 120 and found["encoder"] == 0


# --- methods and cells ----------------------------------------------------------------------------


def test_methods() -> None:
    methods = part("accuracy.methods")
    assert set(methods.DEFAULT) <= set(methods.METHODS)
    mine = methods.variant("narrow=obspa,samples=16,probe=uniform")
    assert (mine.name, mine.seeded) == ("narrow", True)
    assert mine.options == {"scorer": "obspa", "samples": 16, "probe": "uniform"}
    l1, narrow = methods.chosen(["l1"], [mine], {"samples": 4, "min_channels": 2})
    assert l1.options == {"scorer": "l1", "samples": 4, "min_channels": 2}
    assert narrow.options["samples"] == 16 and narrow.options["min_channels"] == 2
    for text in ("x", "x=unknown", "x=l1,nothing"):
        with pytest.raises(ValueError):
            methods.variant(text)
    with pytest.raises(ValueError, match="no method 'l3'"):
        methods.chosen(["l3"], [], {})


def test_a_key_follows_the_content_and_not_the_place(tmp_path: Path) -> None:
    cells = part("accuracy.cells")
    for name, text in (("a", "same"), ("b", "same"), ("c", "other")):
        (tmp_path / name).write_text(text)

    def key(name: str, **more: Any) -> str:
        files = {"model": str(tmp_path / name)}
        return str(cells.key_of({"files": files, "run": {"words": name}, "seed": 0, **more}))

    assert key("a") == key("b") != key("c")
    assert key("a") != key("a", seed=1)


def test_results_are_kept_and_a_cut_line_is_no_harm(tmp_path: Path) -> None:
    cells = part("accuracy.cells")
    (tmp_path / "m").write_text("x")
    cell = {"files": {"model": str(tmp_path / "m")}, "run": {}, "seed": 3}
    path = tmp_path / "deep" / "results.jsonl"
    cells.keep(path, cell, {"error": "first"})
    cells.keep(path, cell, {"score": 1.0})
    with path.open("a") as file:
        file.write('{"key": "abc", "res')
    assert cells.load(path) == {cells.key_of(cell): {"score": 1.0}}


@pytest.mark.parametrize(
    ("body", "limit", "said"),
    [
        ("import time; time.sleep(999)", 1.0, "took longer than 1 s"),
        ("raise RuntimeError('no good')", 600.0, "RuntimeError: no good"),
        ("import os; os._exit(7)", 600.0, "ended with 7"),
    ],
)
def test_what_goes_wrong_is_a_result(tmp_path: Path, body: str, limit: float, said: str) -> None:
    script = tmp_path / "script.py"
    script.write_text(body)
    found = part("accuracy.cells").measure(script, {"seed": 0}, limit, 1)
    assert found == {"error": said}


RIVAL = """
import json, sys
import onnx
from onnx import numpy_helper
model = onnx.load(sys.argv[4])
answer = lambda **facts: print(json.dumps(facts), flush=True)
answer(words="a rival")
for line in sys.stdin:
    asked = json.loads(line)
    if asked["ratio"] > 0.9:
        answer(error="that is too much")
        continue
    w1, w2 = (numpy_helper.to_array(model.graph.initializer[k]) for k in (0, 1))
    kept = len(w1) - int(asked["ratio"] * len(w1))
    small = onnx.ModelProto()
    small.CopyFrom(model)
    for tensor, w in zip(small.graph.initializer, (w1[:kept], w2[:, :kept])):
        tensor.CopyFrom(numpy_helper.from_array(w.copy(), tensor.name))
    onnx.save(small, asked["output"])
    answer(seconds=0.5, words="a rival")
"""


def test_the_ratio_of_a_rival_is_searched_for(tmp_path: Path) -> None:
    prune, model = part("accuracy.prune"), classifier(tmp_path, hidden=200)
    worker = tmp_path / "python"
    (tmp_path / "rival.py").write_text(RIVAL)
    worker.write_text(f'#!/bin/sh\nexec "{sys.executable}" "{tmp_path}/rival.py" "$@"\n')
    worker.chmod(0o755)
    output = tmp_path / "pruned.onnx"
    # argv of the worker: -m accuracy.rivals TOOL MODEL OPTIONS, so MODEL is argv[4].
    found = prune.by_rival(str(worker), "any", model, output, {}, 0.37, "macs")
    gone = prune.gone(prune.sizes(model), prune.sizes(output))
    assert gone["macs"] == pytest.approx(0.37, abs=prune.NEAR)
    assert found["own_ratio"] == pytest.approx(0.37, abs=0.01)
    assert found["seconds"] == 0.5


def test_a_rival_that_cannot_says_why(tmp_path: Path) -> None:
    prune, model = part("accuracy.prune"), classifier(tmp_path)
    with pytest.raises(prune.RivalError, match="nowhere"):
        prune.by_rival(sys.executable, "nowhere", model, tmp_path / "o", {}, 0.5, "macs")


# --- all of it ------------------------------------------------------------------------------------


def bench(*arguments: Any) -> int:
    """Run the script in this process; its cells have their own."""
    return int(part("bench_accuracy").main([str(each) for each in arguments]))


@pytest.mark.slow
def test_a_table_is_measured_once_and_can_be_printed_again(
    given: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model, data = given
    results = tmp_path / "results.jsonl"
    asked = [
        "cifar", model, "--data", data, "--mean", "0", "--std", "1", "--ratios", "-0.25",
        "--methods", "dense", "l1", "random", "obspa", "obspa-real", "--seeds", "0", "1",
        "--spa", "samples=8", "--results", results, "--json", tmp_path / "all.json",
    ]  # fmt: skip
    assert bench(*asked) == 0
    printed = capsys.readouterr().out
    assert "### net.onnx" in printed and "30 rows of part `report`" in printed
    assert "| top-1, % | -25 % |" in printed
    assert "| drift (NRMSE) | -25 % |" in printed and "| times as fast | -25 % |" in printed
    kept = results.read_text().splitlines()
    assert len(kept) == 1 + 1 + 2 + 2 + 2
    rows = json.loads((tmp_path / "all.json").read_text())
    assert [row["result"].get("error") for row in rows] == [None] * 8
    for row in rows:
        if row["cell"]["ratio"]:
            assert row["result"]["gone"]["macs"] == pytest.approx(0.25, abs=0.05)
    moved = tmp_path / "moved"
    moved.mkdir()
    shutil.copy(model, moved / "net.onnx")
    again = [moved / "net.onnx" if each == model else each for each in asked]
    assert bench(*again, "--print") == 0
    assert capsys.readouterr().out == printed
    assert results.read_text().splitlines() == kept


@pytest.mark.slow
def test_nothing_is_left_to_fit_on_where_all_is_scored(
    given: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model, data = given
    asked = [
        "cifar", model, "--data", data, "--split", "all", "--mean", "0", "--std", "1",
        "--ratios", "0.25", "--methods", "obspa-real", "--results", tmp_path / "results",
    ]  # fmt: skip
    assert bench(*asked) == 1
    assert "give --calib" in capsys.readouterr().out


@pytest.mark.slow
def test_drift_and_cost(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    model = classifier(tmp_path)
    common = ["--spa", "samples=8", "--results", tmp_path / "results.jsonl"]
    assert bench("drift", model, "--rows", 8, *common) == 0
    printed = capsys.readouterr().out
    assert "| net | -25 % | L1, cut only | " in printed
    assert bench("cost", model, *common) == 0
    printed = capsys.readouterr().out
    assert "peak MiB" in printed and "reconstruct" in printed and "| net | " in printed


def test_drift_is_the_one_that_reports_show() -> None:
    from spa.validate.drift import total

    rng = np.random.default_rng(0)
    rows = rng.standard_normal((40, 3)) + 7.0
    moved = rows + 0.1 * rng.standard_normal((40, 3))
    found = part("accuracy.work").apart(total([({"y": rows}, {"y": moved})]))
    spread = np.sqrt(((rows - rows.mean(0)) ** 2).sum() / (len(rows) - 1) / 3)
    gap = np.sqrt(((rows - moved) ** 2).mean())
    assert found["relative"] == found["middle"] == pytest.approx(gap / spread, rel=0.05)
    with pytest.raises(ValueError, match="varies"):
        part("accuracy.work").apart(total([({"y": rows * 0}, {"y": moved})]))


def test_a_report_gives_the_worst_drift_and_the_speed_up() -> None:
    judged = part("accuracy.prune").judged
    report = {"verify": {"drift": {"a": 0.1, "b": None, "c": 0.4}}, "latency": {"speedup": 1.5}}
    assert judged(report) == {"drift": 0.4, "speedup": 1.5}
    assert judged({"verify": None, "latency": None}) == {"drift": None, "speedup": None}


def test_tables_say_what_is_missing() -> None:
    tables = part("accuracy.tables")

    def cell(words: str, seed: int, ratio: float | None = 0.25) -> dict[str, Any]:
        return {
            "files": {"model": "a/net.onnx"}, "run": {"words": words}, "ratio": ratio,
            "seed": seed, "of": "macs", "data": {"kind": "pictures", "split": "report"},
        }  # fmt: skip

    def result(score: float, gone: float = 0.25) -> dict[str, Any]:
        return {
            "score": score, "se": 0.01, "change": 0.0, "change_se": 0.0, "agreement": 1.0,
            "rows": 30, "seconds": 1.0, "gone": {"macs": gone}, "speedup": 1 + score,
        }  # fmt: skip

    text = tables.accuracy([
        (cell("dense", 0, None), {k: result(0.95)[k] for k in ("score", "se", "rows")}),
        (cell("one", 0), result(0.9)), (cell("one", 1), result(0.8)),
        (cell("two", 0), {"error": "it | broke"}), (cell("three", 0), None),
        (cell("four", 0), result(0.5, gone=0.2)),
        (cell("five", 0), result(0.5)), (cell("five", 1), {"error": "no"}),
    ])  # fmt: skip
    assert "| dense | 95.00 ± 1.00 |" in text
    assert "| top-1, %, times as fast | -25 % |" in text and "| dense | 95.0 |" in text
    assert "| one | 85.0 (80.0 .. 90.0), 1.85x |" in text
    assert "| four | 50.0, 1.50x [-20.0 %] |" in text
    assert "| one | 85.00 ± 1.00 (7.07) |" in text
    assert "| two | failed: it / broke |" in text
    assert "| three | – |" in text
    assert "| four | 50.00 ± 1.00 [-20.0 %] |" in text
    assert "| five | 50.00 ± 1.00 [1 of 2] |" in text


def test_wrong_arguments_end_the_program(tmp_path: Path) -> None:
    for asked in (
        ["cifar"],
        ["drift"],
        ["cost", tmp_path / "none.onnx"],
        ["own", "--methods", "x"],
    ):
        with pytest.raises(SystemExit) as caught:
            bench(*asked)
        assert caught.value.code == 2


# --- what a bound on the drift is worth -----------------------------------------------------------


def test_a_bound_is_judged_by_what_lies_above_it(tmp_path: Path) -> None:
    warning = part("drift_warning")
    results = tmp_path / "results.jsonl"
    for drift, change in ((0.1, 0.0), (0.2, -0.05), (0.4, -0.01), (0.9, -0.5), (None, -0.5)):
        model = tmp_path / f"{drift}.onnx"
        model.write_bytes(str(drift).encode())
        cell = {
            "files": {"model": str(model)}, "run": {"words": "L1"}, "ratio": 0.25,
            "data": {"kind": "pictures"},
        }  # fmt: skip
        for seed in (0, 1):  # which changed nothing: one file, counted once
            part("accuracy.cells").keep(
                results, cell | {"seed": seed}, {"drift": drift, "change": change}
            )
    runs = warning.load([results])
    assert warning.load([results], ["L2"]) == runs and not warning.load([results], ["L2", "L1"])
    assert [run.lost for run in runs] == pytest.approx([0.0, 5.0, 1.0, 50.0])
    line = warning.bounds(runs, [0.3], 2.0).splitlines()[-1]
    assert line == "| 0.3 | 1 of 2 (50 %) | 1 of 2 (50 %) | 2.5 (5.0) | 25.5 (50.0) |"
    assert "| 0.9 | L1 | -25 %: 0.90 / 50.0 |" in warning.listed(runs)
