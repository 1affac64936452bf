"""Weights that memory should not hold go by way of a temporary file."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import onnx
import pytest

import spa
from spa.coupling import analyse
from spa.errors import UsageError
from spa.graph import read, spill
from spa.graph.tensors import OWN_FILES, is_external, to_array
from spa.rewrite import rewrite
from tests import oracles
from tests.nets.layers import products


def stored_outside(folder: Path, dtype: type = np.float32) -> Path:
    """A model of three layers, 2 MiB in all, whose weights lie in a file of their own."""
    path = folder / "model.onnx"
    model = products(5, 700, 700, 5, shape=(4,), dtype=dtype)
    onnx.save(model, path, save_as_external_data=True, location="w.bin", size_threshold=64)
    return path


@pytest.fixture
def little(monkeypatch: pytest.MonkeyPatch) -> None:
    """Memory for nothing."""
    monkeypatch.setattr(spill, "HELD", 0)
    monkeypatch.setattr(spill, "LEAST", 1 << 12)


OPTIONS = {"scorer": "l2", "reconstruct": False, "of": "params"}


@pytest.mark.parametrize("dtype", [np.float32, np.float16])
def test_the_same_weights_are_written(
    dtype: type, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, out = stored_outside(tmp_path, dtype), tmp_path / "small.onnx"
    spa.prune(path, 0.5, output=out, **OPTIONS)
    usual = onnx.load(out).graph
    monkeypatch.setattr(spill, "HELD", 0)
    monkeypatch.setattr(spill, "LEAST", 1 << 12)
    before = len(OWN_FILES)
    done = spa.prune(path, 0.5, output=out, force=True, **OPTIONS)
    assert len(OWN_FILES) == before + 1
    assert [p.stat().st_size > 1 << 16 for p in tmp_path.glob("small.*.data")] == [True]
    again = onnx.load(out).graph
    assert list(again.node) == list(usual.node)
    for one, other in zip(again.initializer, usual.initializer, strict=True):
        assert one.name == other.name and np.array_equal(to_array(one), to_array(other))
    assert done.report["verify"]["level"] == "equivalence", "onnxruntime has run it"


def test_what_is_set_aside_is_what_was_cut(little: None, tmp_path: Path) -> None:
    coupling = analyse(read(stored_outside(tmp_path)), strict=True)
    alive = oracles.scattered(0.5, 0)(coupling)
    small = rewrite(coupling, alive)
    aside = [t for t in small.graph.initializer if is_external(t) and len(t.dims) == 2]
    assert len(aside) == 3
    param = next(p for p in coupling.notes.params.values() if p.view == (700, 700))
    kept = [alive[coupling.root[p.dense]] for _, p in sorted(param.maps, key=lambda e: e[1].axes)]
    want = coupling.graph.consts[param.tensor or ""][np.ix_(*kept)]
    (found,) = [to_array(t, tmp_path) for t in aside if t.dims[0] == t.dims[1]]
    assert np.array_equal(found, want)


def test_a_model_in_one_piece_stays_in_memory(little: None) -> None:
    coupling = analyse(read(products(5, 2000, 5, shape=(4,))), strict=True)
    small = rewrite(coupling, oracles.scattered(0.5, 0)(coupling))
    assert not any(is_external(t) for t in small.graph.initializer)


def test_no_room_is_said(little: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(**_: object) -> tuple[int, str]:
        raise OSError(28, os.strerror(28))

    path = stored_outside(tmp_path)
    monkeypatch.setattr("tempfile.mkdtemp", full)
    with pytest.raises(UsageError, match="TMPDIR"):
        spa.prune(path, 0.5, **OPTIONS)
