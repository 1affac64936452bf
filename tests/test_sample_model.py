"""The carried models are what models/README.md says, and evaluate.py is a gate."""

from __future__ import annotations

import importlib
import re
import shlex
from pathlib import Path
from types import ModuleType

import numpy as np
import onnx
import pytest

from spa.cli.main import run

ROOT = Path(__file__).parents[1]
MODELS = ROOT / "models"
NAMES = ("digits", "fashion")


@pytest.fixture
def evaluate(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """scripts/benchmarks/evaluate.py as a module."""
    monkeypatch.syspath_prepend(str(ROOT / "scripts" / "benchmarks"))
    return importlib.import_module("evaluate")


def files(name: str) -> tuple[Path, Path, Path]:
    """The model, its evaluation set and its calibration images."""
    return tuple(MODELS / f"{name}{end}" for end in (".onnx", "_eval.npz", "_calib.npz"))


def damaged(name: str, folder: Path) -> Path:
    """The model with its classifier set to zero: every image becomes class 0."""
    proto = onnx.load(files(name)[0])
    for tensor in proto.graph.initializer:
        if tensor.name.startswith("classifier."):
            zero = np.zeros(tuple(tensor.dims), np.float32)
            tensor.CopyFrom(onnx.numpy_helper.from_array(zero, tensor.name))
    onnx.save(proto, folder / "damaged.onnx")
    return folder / "damaged.onnx"


# Measured: digits 99.80 %, fashion 93.50 %; one image is 0.2 and 0.05 points.
@pytest.mark.parametrize(("name", "least"), [("digits", 0.99), ("fashion", 0.93)])
def test_accuracy(evaluate: ModuleType, name: str, least: float) -> None:
    model, data, _ = files(name)
    (row,) = evaluate.measure([model], *evaluate.load(data))
    assert least <= row.top1 < 1
    assert row.agreement == 1


@pytest.mark.parametrize("name", NAMES)
def test_has_the_structure_that_pruning_is_shown_on(name: str) -> None:
    proto = onnx.load(files(name)[0])
    onnx.checker.check_model(proto, full_check=True)
    assert [(entry.domain, entry.version) for entry in proto.opset_import] == [("", 17)]
    assert proto.graph.input[0].type.tensor_type.shape.dim[0].dim_param == "N"
    nodes = proto.graph.node
    norms = [node for node in nodes if node.op_type == "BatchNormalization"]
    convs = [node for node in nodes if node.op_type == "Conv"]
    assert len(norms) == len(convs) >= 10
    for node in norms:
        values = {item.name: onnx.helper.get_attribute_value(item) for item in node.attribute}
        assert values.get("training_mode", 0) == 0
        assert len(node.output) == 1
    groups = [item.i for node in convs for item in node.attribute if item.name == "group"]
    assert max(groups) > 1
    assert [node.op_type for node in nodes].count("Add") >= 3


@pytest.mark.parametrize("name", NAMES)
def test_any_batch_size(evaluate: ModuleType, name: str) -> None:
    model, data, _ = files(name)
    images = evaluate.load(data)[0][:3]
    alone = [evaluate.predict(model, image[None])[0] for image in images]
    assert list(evaluate.predict(model, images)) == alone


def test_readme_names_every_file() -> None:
    text = (MODELS / "README.md").read_text(encoding="utf-8")
    carried = {path.name for path in MODELS.iterdir()} - {"README.md", "zoo.toml"}
    assert carried == {path.name for name in NAMES for path in files(name)}
    assert all(f"`{name}`" in text for name in carried)
    for name in NAMES:
        assert f"{files(name)[0].stat().st_size:,} bytes" in text


@pytest.mark.parametrize(("name", "most"), [("digits", 130_000), ("fashion", 2_000_000)])
def test_is_small(name: str, most: int) -> None:
    assert sum(path.stat().st_size for path in files(name)) < most


@pytest.mark.parametrize("name", NAMES)
def test_calibration_images_are_not_evaluation_images(evaluate: ModuleType, name: str) -> None:
    _, data, calibration = files(name)
    images, labels = evaluate.load(data)
    seen = np.load(calibration)["images"]
    assert seen.dtype == np.float32 and seen.shape == (256, *images.shape[1:])
    assert seen.min() == 0 and seen.max() == 1
    assert len(np.unique(labels)) == 10
    assert not {image.tobytes() for image in seen} & {image.tobytes() for image in images}


def test_speed_stands_beside_accuracy(
    evaluate: ModuleType, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    asked: list[object] = []

    def bench(paths: list[Path], *, threads: int) -> dict[str, list[dict[str, float]]]:
        asked.append(([path.name for path in paths], threads))
        return {"models": [{"speedup": 1.0 + at / 2} for at in range(len(paths))]}

    monkeypatch.setattr(evaluate.spa, "bench", bench)
    model, data, _ = map(str, files("digits"))
    assert evaluate.main([model, model, "--data", data, "--threads", "2"]) == 0
    _, first, second = capsys.readouterr().out.splitlines()
    assert first.endswith(" 1.00x") and second.endswith(" 1.50x")
    assert asked == [(["digits.onnx", "digits.onnx"], 2)]


def test_the_demo_keeps_what_the_readme_says(evaluate: ModuleType, tmp_path: Path) -> None:
    recipe = re.search(r"-m (spa prune .+)", (ROOT / "Makefile").read_text(encoding="utf-8"))
    assert recipe is not None
    words = shlex.split(recipe[1])
    shown = " ".join(words[1 : words.index("--force")])
    assert f"`spa {shown}`" in (ROOT / "README.md").read_text(encoding="utf-8")
    pruned = tmp_path / "pruned.onnx"
    words = [str(ROOT / w) if w.startswith("models/") else w for w in words[1:-1]]
    assert run([*words, str(pruned), "--quiet"]) == 0
    model, data, _ = files("fashion")
    whole, cut = evaluate.measure([model, pruned], *evaluate.load(data))
    assert 100 * cut.bytes < 95 * whole.bytes
    assert cut.top1 > 0.88  # measured: 92.4 %; which channels go is for the clock to say


def test_gates_pass(evaluate: ModuleType, capsys: pytest.CaptureFixture[str]) -> None:
    model, data, _ = map(str, files("digits"))
    assert evaluate.main([model, model, "--data", data, "--min-top1=0.97", "--max-drop=0"]) == 0
    assert capsys.readouterr().out.count("digits.onnx") == 2


@pytest.mark.parametrize("gate", ["--min-top1=0.97", "--max-drop=0.01"])
def test_gates_fail(
    evaluate: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str], gate: str
) -> None:
    model, data, _ = map(str, files("digits"))
    bad = str(damaged("digits", tmp_path))
    assert evaluate.main([model, bad, "--data", data]) == 0
    assert evaluate.main([model, bad, "--data", data, gate]) == 5
    (failure,) = capsys.readouterr().err.splitlines()
    assert failure.startswith(f"failed: {bad}: top-1 ")


def test_fixed_batch(evaluate: ModuleType, tmp_path: Path) -> None:
    model, data, _ = files("digits")
    proto = onnx.load(model)
    for value in (*proto.graph.input, *proto.graph.output):
        value.type.tensor_type.shape.dim[0].dim_value = 7
    onnx.save(proto, tmp_path / "seven.onnx")
    images, labels = evaluate.load(data)
    rows = evaluate.measure([model, tmp_path / "seven.onnx"], images[:30], labels[:30])
    assert rows[1].agreement == 1


def test_unusable_files(
    evaluate: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model, data, calibration = map(str, files("digits"))
    np.save(tmp_path / "array.npy", np.zeros(3))
    (tmp_path / "empty.npz").touch()
    for wrong in (model, calibration, tmp_path / "array.npy", tmp_path / "empty.npz", "none.npz"):
        assert evaluate.main([model, "--data", str(wrong)]) == 3
    assert evaluate.main([data, "--data", data]) == 3
    assert evaluate.main(["none.onnx", "--data", data]) == 3
    assert all(line.startswith("error: ") for line in capsys.readouterr().err.splitlines())
    with pytest.raises(SystemExit, match="2"):
        evaluate.main([model, "--data", data, "--min-top1=97"])
