"""Inputs that a Python program holds: taken as they are, or refused at once in its words."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import spa
from spa.errors import UsageError
from spa.graph import read
from spa.probes import held, probe_for
from tests.carried import DIGITS
from tests.nets.net import Net
from tests.probes.test_choose import image_model, text_model

RNG = np.random.default_rng(0)
IMAGES = RNG.random((6, 3, 16, 16), np.float32)
BYTES = RNG.integers(0, 256, (6, 3, 16, 16), np.uint8)
TEXT = {
    "ids": RNG.integers(1, 30000, (6, 11)),
    "mask": np.ones((6, 11), np.int64),
    "kinds": np.zeros((6, 11), np.int64),
}
ROW = {key: value[0] for key, value in TEXT.items()}


def fed(graph, calib):
    """All rows that a model is fed."""
    probe = probe_for(graph, calib=held(calib) if not isinstance(calib, Path) else calib)
    return probe.feeds(probe.available or 1)


@pytest.mark.parametrize(
    "calib",
    (
        IMAGES,
        {"x": IMAGES},
        list(IMAGES),
        iter(IMAGES),
        [IMAGES[:4], IMAGES[4:]],
        ({"x": row} for row in IMAGES),
        BYTES,
    ),
    ids=("array", "dict", "rows", "iterator", "batches", "dicts", "bytes"),
)
def test_arrays_are_fed_as_from_a_file(tmp_path, calib):
    graph = image_model()
    np.savez(tmp_path / "a.npz", x=BYTES if calib is BYTES else IMAGES)
    want = fed(graph, tmp_path / "a.npz")["x"]
    assert want.shape == (6, 3, 16, 16)
    assert fed(graph, calib)["x"].tobytes() == want.tobytes()


@pytest.mark.parametrize("calib", (TEXT, [TEXT], [ROW, ROW], iter([TEXT, TEXT])))
def test_text_by_name(calib):
    rows = 2 if isinstance(calib, list) and calib[0] is ROW else 6
    found = fed(text_model(), calib)
    wanted = np.stack([ROW["ids"]] * 2) if rows == 2 else TEXT["ids"]
    assert np.array_equal(found["ids"][:rows], wanted)


def test_what_is_pruned_is_the_same_as_with_a_file(tmp_path):
    images = RNG.random((20, 1, 8, 8), np.float32)
    np.savez(tmp_path / "a.npz", images=images)
    options = {"samples": 16, "verify": "none"}
    results = [
        spa.prune(DIGITS, 0.3, calib=calib, **options)
        for calib in (str(tmp_path / "a.npz"), tmp_path / "a.npz", images, {"images": images})
    ]
    first, *others = ([t.raw_data for t in r.model.graph.initializer] for r in results)
    assert all(other == first for other in others)
    assert results[2].plan.recipe["calib"] == "the arrays of calib"
    assert any("from the arrays of calib: " in note for note in results[2].report["notes"])


@pytest.mark.parametrize(
    ("calib", "said"),
    (
        (
            IMAGES.astype(float),
            r"calib is float64 but input 'x' takes float32.*\.astype",
        ),
        (BYTES.astype(np.int64), "calib is int64 but input 'x' takes float32"),
        (IMAGES[0], r"calib has 3 axes, \[3, 16, 16\], but input 'x' takes 4.*array\[None\]"),
        (IMAGES[None], "calib has 5 axes"),
        (IMAGES.transpose(0, 2, 3, 1), r"turn it with \.transpose\(0, 3, 1, 2\)"),
        (IMAGES[:, :2], r"shape \[6, 2, 16, 16\] but input 'x' takes \[rows, 3, 16, 16\]"),
        (IMAGES[..., :8], r"shape \[6, 3, 16, 8\] but"),
        (BYTES[..., :8], r"shape \[6, 3, 16, 8\] but"),
        (IMAGES[:0], "holds nothing"),
        ({"y": IMAGES}, "calib has 'y', which is no input of the model; it has 'x'"),
        ({"x": IMAGES, "labels": np.arange(6)}, "calib has 'labels', which is no input"),
        ({"x": [1, 2]}, r"calib\['x'\] is a list"),
        ({}, "empty"),
        ([], "empty"),
        ([IMAGES, "a.npz"], "item 1 of calib is a str, not an array"),
        ([(IMAGES, 1)], "item 0 of calib is a tuple.*give the inputs alone"),
        ([IMAGES, {"x": IMAGES}], "item 1 of calib has other inputs than item 0"),
        ([IMAGES, IMAGES[:, :, :8]], r"item 1 of calib has shape \[6, 3, 8, 16\]"),
        (3, "calib is a path, an array, a dict of arrays by input.* not an int"),
        (b"a.npz", "not a bytes"),
    ),
)
def test_what_does_not_fit_is_said_in_the_words_of_python(calib, said):
    with pytest.raises(UsageError, match=said) as error:
        fed(image_model(), calib)
    assert "\n" not in str(error.value) and "--" not in str(error.value)


@pytest.mark.parametrize(
    ("change", "said"),
    (
        ({"ids": TEXT["ids"].astype(np.int32)}, r"calib\['ids'\] is int32 but .* takes int64"),
        ({"mask": TEXT["mask"][:4]}, r"calib\['mask'\] has 4 rows, but calib\['ids'\] has 6"),
        ({"mask": TEXT["mask"][:, :4]}, r"calib\['mask'\] has 4 along 'L', but calib\['ids'\]"),
    ),
)
def test_inputs_that_go_together(change, said):
    with pytest.raises(UsageError, match=said):
        fed(text_model(), {**TEXT, **change})
    with pytest.raises(UsageError, match="calib is one array, and the model's inputs are 'ids'"):
        fed(text_model(), TEXT["ids"])


def test_a_size_that_the_analysis_chose_can_be_set():
    n = Net()
    graph = read(n.done(n.Relu(n.conv(n.input("x", 3, "H", "W"), 3, 8))))
    with pytest.raises(UsageError, match=r"input_shape=\{'x': \(.*, 3, 80, 96\)\}"):
        fed(graph, np.zeros((4, 3, 80, 96), np.float32))


def test_fractions_are_no_ids(tmp_path):
    np.savez(tmp_path / "a.npz", ids=TEXT["ids"] + 0.5)
    with pytest.raises(UsageError, match="has fractions but the model takes int64"):
        fed(text_model(), tmp_path / "a.npz")


@pytest.mark.parametrize("scorer", ("auto", "l1"))
def test_it_is_said_before_any_work(monkeypatch, scorer):
    def work(*args, **options):
        raise AssertionError("this is work")

    monkeypatch.setattr("spa.pipeline.load.analyse", work)
    for call in (spa.prune, spa.plan):
        with pytest.raises(UsageError, match="calib has 3 axes"):
            call(DIGITS, 0.3, scorer=scorer, calib=np.zeros((1, 8, 8), np.float32))
    with pytest.raises(UsageError, match="there is no"):
        spa.prune(DIGITS, 0.3, scorer=scorer, calib="no.npz")
    with pytest.raises(UsageError, match="saliency= must be the path of a file"):
        spa.prune(DIGITS, 0.3, saliency=np.zeros(3))  # type: ignore[arg-type]
