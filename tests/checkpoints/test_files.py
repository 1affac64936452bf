"""Checkpoints as files: each format keeps its kind, and the shell says what it found."""

from __future__ import annotations

import json

import numpy as np
import pytest

from spa.checkpoints.files import opened
from spa.cli.main import run
from spa.errors import ReadError
from tests.checkpoints.test_carry import tiny

KEEP = [0, 3, 5, 6]


@pytest.fixture
def files(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    model, arrays, plan, _ = tiny()
    (tmp_path / "model.onnx").write_bytes(model.SerializeToString())
    plan.save("plan.json")
    return arrays


def npz(path, arrays):
    np.savez(path, **arrays)


def safetensors(path, arrays):
    pytest.importorskip("safetensors.numpy").save_file(
        {name: np.ascontiguousarray(array) for name, array in arrays.items()}, path, {"by": "us"}
    )


def h5(path, arrays):
    with pytest.importorskip("h5py").File(path, "w") as file:
        file.attrs["by"] = "us"
        for name, array in arrays.items():
            file.create_dataset(f"layers/{name}/vars/0", data=array)


def pt(path, arrays):
    torch = pytest.importorskip("torch")
    tensors = {name: torch.from_numpy(array.copy()) for name, array in arrays.items()}
    torch.save({"model": tensors, "epoch": 3}, path)


FORMATS = {".npz": npz, ".safetensors": safetensors, ".h5": h5, ".pt": pt}


@pytest.mark.parametrize("suffix", FORMATS)
def test_every_format_is_cut_by_value_and_keeps_its_kind(files, tmp_path, suffix):
    place = tmp_path / f"w{suffix}"
    FORMATS[suffix](place, {"first": files["a"].T, "second": files["b"], "step": np.ones(3)})
    assert run(["apply", f"w{suffix}", "plan.json", "--export", "model.onnx", "-q"]) == 0
    before, _ = opened(place)
    after, _ = opened(tmp_path / f"w.spa{suffix}")
    assert after.keys() == before.keys()
    first, second = (next(a for n, a in after.items() if w in n) for w in ("first", "second"))
    assert np.array_equal(first, files["a"].T[KEEP])
    assert np.array_equal(second, files["b"][KEEP])
    if suffix == ".pt":
        import torch

        assert torch.load(tmp_path / "w.spa.pt")["epoch"] == 3


def test_the_shell_says_what_became_of_each_tensor(files, capsys):
    npz("w.npz", files)
    words = ["apply", "w.npz", "plan.json", "-o", "out.npz", "--json", "-q"]
    assert run(words) == 0
    told = json.loads(capsys.readouterr().out)
    assert [(row["name"], row["how"], row["new_shape"]) for row in told["rows"]] == [
        ("a", "name", [8, 4]),
        ("b", "name", [4, 8]),
    ]
    assert run(words) == 2  # out.npz is there
    assert "--force" in capsys.readouterr().err
    assert run([*words[:-2], "--force"]) == 0
    assert "called the same" in capsys.readouterr().out


@pytest.mark.parametrize(
    "words, said",
    [
        (["w.npz", "plan.json", "--max-drift", "0.1"], "--max-drift is for models"),
        (["model.onnx", "plan.json", "--export", "model.onnx"], "--export goes with a checkpoint"),
        (["w.npz", "plan.json", "--report", "r.html"], "goes to a .json file"),
        (["w.npz", "plan.json", "-o", "plan.json"], "plan.json is the plan"),
        (["w.npz", "plan.json", "--pruned", "model.onnx"], "with --export"),
        (["w.npz", "model.onnx"], "carries no plan"),
    ],
)
def test_what_makes_no_sense_is_refused_in_a_sentence(files, capsys, words, said):
    npz("w.npz", files)
    assert run(["apply", *words]) == 2
    assert said in capsys.readouterr().err


def test_a_damaged_checkpoint_is_an_input_error(files, tmp_path):
    (tmp_path / "w.npz").write_bytes(b"no")
    with pytest.raises(ReadError, match="cannot be read"):
        opened(tmp_path / "w.npz")
    assert run(["apply", "none.npz", "plan.json"]) == 3
