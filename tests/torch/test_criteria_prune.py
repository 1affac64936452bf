"""Criteria of gradients from the command and from Python: labels, none, what is said."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest

torch = pytest.importorskip("torch")
torch.set_num_threads(1)

import spa  # noqa: E402
import spa.torch  # noqa: E402
from spa.errors import UsageError  # noqa: E402
from spa.registry import CRITERIA  # noqa: E402
from tests.carried import DIGITS, MODELS  # noqa: E402

NAMES = ("snip", "grasp", "crop", "taylor", "fisher")


@pytest.fixture(scope="module")
def pictures():
    with np.load(MODELS / "digits_eval.npz") as file:
        return file["images"][:60].astype(np.float32) / 16, file["labels"][:60]


def planned(scorer, **options):
    return spa.plan(DIGITS, 0.4, scorer=scorer, repair="none", **options)


@pytest.mark.parametrize("name", NAMES)
def test_each_prunes_as_much_as_asked(name, pictures):
    x, y = pictures
    result = spa.prune(DIGITS, 0.4, scorer=name, calib=x, labels=y)
    assert result.report["status"] == "ok"
    assert result.report["reduction"]["macs"] >= 0.4
    assert result.report["recipe"]["labels"] == "the arrays of labels"
    assert any("the cross-entropy of the arrays of labels" in n for n in result.report["notes"])


def test_labels_may_stand_beside_the_inputs_or_alone(pictures, tmp_path):
    x, y = pictures
    np.savez(tmp_path / "both.npz", images=x, labels=y)
    np.savez(tmp_path / "inputs.npz", images=x)
    np.save(tmp_path / "classes.npy", y)
    beside = planned("taylor", calib=tmp_path / "both.npz")
    alone = planned("taylor", calib=tmp_path / "inputs.npz", labels=tmp_path / "classes.npy")
    without, again = (planned("taylor", calib=tmp_path / "inputs.npz") for _ in range(2))
    assert (
        beside.plan.sha256 == alone.plan.sha256 == planned("taylor", calib=x, labels=y).plan.sha256
    )
    assert without.plan.sha256 == again.plan.sha256 != beside.plan.sha256
    assert any("'labels' of" in note for note in beside.report["notes"])
    assert any("no labels" in note for note in without.report["notes"])


def test_labels_follow_rows_through_runs(pictures):
    """Rows and labels in another order, and other wrong labels for rows that are held back."""
    x, y = pictures
    model = spa.torch.load(DIGITS)
    seen = []

    def weigh(context):
        for run, own in zip(context.feeds, context.labels, strict=True):
            seen.append((model(images=run["images"]).argmax(1).numpy() == own).mean())
        return context.zeros() + 1.0

    entry = CRITERIA.own["taylor"]
    entry.__dict__["function"] = weigh
    try:
        planned("taylor", calib=x, labels=y)
    finally:
        del entry.__dict__["function"]
    assert len(seen) == 2 and min(seen) > 0.9


def test_without_data_inputs_are_made_up():
    result = planned("taylor", samples=32, invert="off")
    assert any("no labels" in note for note in result.report["notes"])


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"scorer": "l2"}, "are for scorers of gradients .snip, grasp, crop, taylor, fisher."),
        ({"scorer": "taylor", "labels": np.zeros(3, int)}, "holds 3"),
        ({"scorer": "taylor", "labels": np.full(60, 10)}, "10 classes"),
        ({"scorer": "taylor", "calib": None}, "add calib"),
    ],
)
def test_labels_that_make_no_sense_are_refused(options, words, pictures):
    x, y = pictures
    with pytest.raises(UsageError, match=words) as error:
        spa.plan(DIGITS, 0.4, **{"calib": x, "labels": y, "repair": "none", **options})
    assert "\n" not in str(error.value)


def test_without_torch_a_sentence_says_what_to_install_before_any_work():
    code = "import sys; sys.modules['torch'] = None\nfrom spa.__main__ import main\nmain()"
    asked = ["prune", str(DIGITS), "-r", "0.4", "-s", "taylor", "--dry-run"]
    done = subprocess.run(
        [sys.executable, "-c", code, *asked], capture_output=True, text=True, check=False
    )
    assert done.returncode == 2
    assert 'pip install "onnx-spa[torch]"' in done.stderr
