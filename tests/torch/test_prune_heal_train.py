"""The page from an export to a healed file to training on, and the script that measures it, run."""

from __future__ import annotations

import importlib
import re
import shutil
import sys
import warnings
from pathlib import Path

import numpy as np
import onnxruntime
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("onnxscript")

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "howto" / "prune_heal_train.md"


def of_file(path, images):
    """What a file says."""
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    return session.run(None, {session.get_inputs()[0].name: images})[0]


def test_the_page_runs(tmp_path, monkeypatch):
    torch.set_num_threads(1)
    monkeypatch.chdir(tmp_path)
    Path("models").mkdir()
    shutil.copy(ROOT / "models" / "digits_eval.npz", "models")
    ran: dict = {}
    small = None
    for code in re.findall(r"^```python\n(.*?)^```", PAGE.read_text("utf-8"), re.M | re.S):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of exporters
            exec(compile(code, str(PAGE), "exec"), ran)  # the code of our own page
        if small is None and "small" in ran:
            small, images = ran["small"].eval(), ran["images"]
            with torch.no_grad():
                narrow = small(images).numpy()
            wanted = of_file("healed.onnx", images.numpy())
            np.testing.assert_allclose(narrow, wanted, atol=1e-4 * wanted.std())
            healed = ran["right"](small)
    assert small is not None
    numbers = [sum(p.numel() for p in each.parameters()) for each in (ran["net"], small)]
    assert numbers[1] < 0.4 * numbers[0]
    assert ran["healed"]["tune"]["after"] < ran["healed"]["tune"]["before"]
    assert ran["right"](ran["small"]) > max(0.8, healed - 0.05)
    images = images.numpy()
    agree = of_file("final.onnx", images).argmax(1) == of_file("model.onnx", images).argmax(1)
    assert agree.mean() > 0.8


@pytest.fixture
def frameworks(monkeypatch):
    """The script, and its sides forgotten afterwards."""
    monkeypatch.syspath_prepend(str(ROOT / "scripts" / "benchmarks"))
    yield importlib.import_module("frameworks")
    for name in [n for n in sys.modules if n.split(".")[0] in ("frameworks", "sides")]:
        monkeypatch.delitem(sys.modules, name)


@pytest.fixture
def data(frameworks):
    """The pictures that the repository carries."""
    with np.load(ROOT / "models" / "digits_eval.npz") as held:
        pictures = (held["images"] / held["scale"]).astype(np.float32).transpose(0, 2, 3, 1)
        labels = held["labels"].astype(np.int64)
    return frameworks.Data(pictures[:350], labels[:350], pictures[350:], labels[350:])


@pytest.mark.parametrize("name", ["torch", "keras", "flax"])
def test_from_a_framework_and_back(frameworks, data, name, tmp_path):
    try:
        side = frameworks.side_of(name)
    except ImportError as error:
        pytest.skip(str(error))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        few = {"steps": 30, "epochs": (8, 2)}
        (row,) = frameworks.chain(side, data, [0.75], folder=tmp_path, seed=0, **few)
    assert row["exported"] == pytest.approx(row["trained"], abs=1)
    assert row["apart"] < 1e-4 and row["back"] == pytest.approx(row["healed"], abs=1)
    assert row["less_macs"] > 0.5
    assert row["on"] > 60 and row["trained"] > 80


def test_the_table_has_means_and_spread(frameworks):
    steps = dict.fromkeys(frameworks.STEPS, 90.0)
    same = {"side": "One 1.0", "ratio": 0.5, "less_macs": 0.7, "apart": 1e-7, **steps}
    table = frameworks.table([{**same, "healed": 80.0}, same])
    assert "| One 1.0 | 0.5 | -70 % | 90.0 (90.0 .. 90.0) |" in table
    assert "| 85.0 (80.0 .. 90.0) |" in table


def test_what_is_not_installed_is_left_out(frameworks, monkeypatch, capsys):
    for module in ("jax", "flax"):
        monkeypatch.setitem(sys.modules, module, None)
    monkeypatch.delitem(sys.modules, "sides.in_flax", raising=False)  # of a test before
    frameworks.main(["--only", "flax"])
    told = capsys.readouterr()
    assert "Flax is left out" in told.err
    assert told.out.startswith("| framework |")
