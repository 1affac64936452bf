"""Saliency from a file of any framework."""

from __future__ import annotations

import numpy as np
import pytest
from safetensors.numpy import save_file

from spa.criteria import Context, score
from spa.criteria.aggregate import AGGREGATES, NORMALIZERS
from spa.errors import UsageError
from tests.carried import coupling_of

FLOATS = [np.float16, np.float32, np.float64]


@pytest.fixture
def weights():
    """Every weight of the digits model."""
    coupling = coupling_of("digits")
    return {
        name: np.array(array)
        for name, array in coupling.graph.consts.items()
        if array.dtype == np.float32
    }


def magnitudes(weights):
    return {name: np.asarray(np.abs(w)) for name, w in weights.items()}


def saved(path, arrays):
    if path.suffix == ".safetensors":
        save_file(arrays, path)
    else:
        with path.open("wb") as file:
            np.savez(file, **arrays)
    return path


@pytest.mark.parametrize("suffix", [".npz", ".safetensors"])
@pytest.mark.parametrize("how", AGGREGATES)
def test_magnitudes_from_a_file_are_l1(tmp_path, weights, suffix, how):
    path = saved(tmp_path / f"s{suffix}", magnitudes(weights))
    for norm in NORMALIZERS:
        found = score(Context(coupling_of("digits"), aggregate=how), saliency=path, normalize=norm)
        want = score(Context(coupling_of("digits"), aggregate=how), "l1", normalize=norm)
        np.testing.assert_allclose(found, want, rtol=1e-6)


def test_it_takes_the_place_of_the_scorer(tmp_path, weights):
    path = saved(tmp_path / "s.npz", magnitudes(weights))
    coupling = coupling_of("digits")
    found = [
        score(Context(coupling), scorer, saliency=str(path)) for scorer in ("l1", "l2", "random")
    ]
    np.testing.assert_array_equal(found[0], found[1])
    np.testing.assert_array_equal(found[0], found[2])


@pytest.mark.parametrize("dtype", [*FLOATS, np.int32, np.uint8, np.bool_])
def test_any_type_of_number(tmp_path, weights, dtype):
    one = {"stem.conv.weight": np.ones(weights["stem.conv.weight"].shape, dtype)}
    found = score(
        Context(coupling_of("digits")), saliency=saved(tmp_path / "s.npz", one), normalize="none"
    )
    stem = coupling_of("digits").groups[0]
    assert (found[stem.cells] == 9).all(), "one 3 x 3 filter of ones"


def test_what_the_file_does_not_name_counts_nothing(tmp_path, weights):
    arrays = {"head.conv.weight": np.abs(weights["head.conv.weight"]), "unknown": np.ones(3)}
    found = score(
        Context(coupling_of("digits")), saliency=saved(tmp_path / "s.npz", arrays), normalize="none"
    )
    for group in coupling_of("digits").groups:
        named = any(m.tensor == "head.conv.weight" for m in group.members)
        assert found[group.cells].any() == named


def test_negative_saliency_is_an_order_too(tmp_path, weights):
    """Scores of the kind -|w * g|: larger is more important, and all are below zero."""
    shape = weights["head.conv.weight"].shape
    ranks = -np.arange(np.prod(shape), dtype=np.float32)[::-1].reshape(shape) - 1
    path = saved(tmp_path / "s.npz", {"head.conv.weight": ranks})
    head = next(g for g in coupling_of("digits").groups if g.name == "head.conv.weight")
    want = ranks.reshape(shape[0], -1).sum(1)
    for how, rest in (("sum", 0.0), ("max", None)):
        found = score(
            Context(coupling_of("digits"), aggregate=how), saliency=path, normalize="none"
        )[head.cells][0]
        if rest is not None:  # other members are worth nothing
            np.testing.assert_allclose(found, want)
        else:
            assert (found <= 0).all()


BAD = {
    "text": lambda path, w: path.write_text("no archive"),
    "empty": lambda path, w: path.touch(),
    "folder": lambda path, w: path.mkdir(),
    "missing": lambda path, w: None,
    "cut short": lambda path, w: (saved(path, w), path.write_bytes(path.read_bytes()[:900])),
}


@pytest.mark.parametrize("suffix", [".npz", ".safetensors", ".pt"])
@pytest.mark.parametrize("kind", BAD)
def test_a_file_that_cannot_be_read(tmp_path, weights, kind, suffix):
    path = tmp_path / f"s{suffix}"
    BAD[kind](path, weights)
    with pytest.raises(UsageError, match=r"cannot be read .*give .npz or .safetensors") as caught:
        score(Context(coupling_of("digits")), saliency=path)
    assert str(path) in str(caught.value) and "\n" not in str(caught.value)


def test_a_pickle_is_not_unpacked(tmp_path):
    path = tmp_path / "s.npz"
    np.savez(path, **{"stem.conv.weight": np.array([{"a": print}], object)})
    with pytest.raises(UsageError, match="cannot be read"):
        score(Context(coupling_of("digits")), saliency=path)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda w: {f"module.{k}": v for k, v in w.items()}, "names no initializer of the model"),
        (lambda w: {}, "names no initializer of the model"),
        (lambda w: {**w, "head.conv.weight": np.ones(3)}, r"head.conv.weight .* has shape \(3,\)"),
        (lambda w: {"head.conv.weight": w["head.conv.weight"].T}, r"has shape \(1, 1, 24, 32\)"),
        (lambda w: {"head.bn.bias": np.full(32, np.nan)}, "no finite number"),
        (lambda w: {"head.bn.bias": np.full(32, np.inf)}, "no finite number"),
        (lambda w: {"head.bn.bias": np.full(32, "a")}, "no finite number"),
        (lambda w: {"head.bn.bias": np.full(32, 1j)}, "no finite number"),
    ],
)
def test_a_file_that_does_not_fit(tmp_path, weights, change, words):
    path = tmp_path / "s.npz"
    np.savez(path, **change(weights))
    with pytest.raises(UsageError, match=words):
        score(Context(coupling_of("digits")), saliency=path)


def test_one_array_is_no_file_of_arrays(tmp_path):
    np.save(tmp_path / "s.npy", np.ones(3))
    with pytest.raises(UsageError, match=r"cannot be read .it holds one array, without a name"):
        score(Context(coupling_of("digits")), saliency=tmp_path / "s.npy")
