"""A few of the files that fuzz_files.py breaks by the thousand, and what the judge sees."""

from __future__ import annotations

import json
import os

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from spa.cli.main import run
from tests.fuzz import judge, mutation
from tests.nets import random_net

pytestmark = pytest.mark.skipif(os.name != "posix", reason="processes are forked")
SEEDS = range(24)
EXACT = 1
"""A seed whose net is exact, and can be cut."""


@pytest.mark.fuzz
@pytest.mark.parametrize("seed", SEEDS)
def test_a_broken_file_is_refused_or_cut_rightly(seed):
    found = judge.trial(seed)
    assert not found.fault, str(found)
    assert not found.note.startswith("5"), str(found)


def test_a_seed_is_a_file_and_every_mutator_is_used(tmp_path):
    steps = []
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        steps.append(mutation.mutated(3, tmp_path / name).steps)
    assert steps[0] == steps[1]
    a, b = ((tmp_path / name / "in.onnx").read_bytes() for name in ("a", "b"))
    assert a == b
    used = {step for s in range(150) for step in mutation.mutated(s, tmp_path / "a").steps}
    assert {f"[{m.__name__}]" for m in mutation.MUTATORS} <= used


def cut(tmp_path):
    """A net and its cut, where the judge looks for them."""
    onnx.save(random_net(EXACT).model, tmp_path / "in.onnx")
    (tmp_path / "facts.json").write_text(json.dumps({"steps": [], "below": {}, "sizes": []}))
    words = ["prune", str(tmp_path / "in.onnx"), "-o", str(tmp_path / "out.onnx")]
    assert run([*words, "-r", "0.5", "-s", "l2", "-q", "--force"]) == 0
    return onnx.load(tmp_path / "out.onnx")


def test_the_judge_sees_a_wrong_channel(tmp_path):
    small = cut(tmp_path)
    assert judge._written(1, tmp_path) == "0: as the reference"
    for tensor in small.graph.initializer:
        array = numpy_helper.to_array(tensor)
        if array.ndim > 1 and len(array) > 1:
            rolled = np.roll(array, 1, axis=0)
            tensor.CopyFrom(numpy_helper.from_array(rolled, tensor.name))
    onnx.save(small, tmp_path / "out.onnx")
    with pytest.raises(AssertionError, match="differs by"):
        judge._written(1, tmp_path)
    small.graph.node[0].op_type = "Nothing"
    onnx.save(small, tmp_path / "out.onnx")
    with pytest.raises(AssertionError, match="does not load"):
        judge._written(1, tmp_path)


@pytest.mark.parametrize(
    "said, code, fault",
    [
        ("spa: error: no\n", 3, ""),
        ("", 3, "not a word"),
        ("spa: error: \x1b[1mno\n", 3, "noise: '\\x1b'"),
        ("x.py:1: RuntimeWarning: overflow\nspa: error: no\n", 3, "noise: 'eWarning:'"),
        (f"spa: error: {'n' * 2000}\n", 3, "a sentence without end"),
        ("spa: error: no\n", 1, "exit 1"),
        ("spa: error: no\n", -11, "exit -11"),
        ("done\n", 0, "written: []"),
    ],
)
def test_the_judge_hears(tmp_path, said, code, fault):
    (tmp_path / "said").write_text(said)
    assert judge._manners(judge.Finding(0, code), tmp_path, {}) == fault


def test_the_judge_feels_time_and_memory(tmp_path):
    (tmp_path / "said").write_text("spa: error: no\n")
    for found in (judge.Finding(0, 3, seconds=61.0), judge.Finding(0, 3, peak=5 << 30)):
        assert judge._manners(found, tmp_path, {}) == "took too much"
