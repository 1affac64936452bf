"""Inputs from files."""

from __future__ import annotations

import builtins

import numpy as np
import pytest

from spa.errors import ReadError, UsageError
from spa.graph import read
from spa.probes import probe_for
from tests.probes.test_choose import MODELS, image_model, text_model

PIXELS = np.random.default_rng(0).integers(0, 256, (5, 20, 30, 3), np.uint8)


@pytest.fixture(scope="module")
def digits():
    return read(MODELS / "digits.onnx")


@pytest.fixture(scope="module")
def network():
    return image_model()


def test_carried_calibration_is_taken_as_it_is(digits):
    path = MODELS / "digits_calib.npz"
    probe = probe_for(digits, calib=path)
    want = np.load(path)["images"]
    assert probe.kind == "calib" and probe.available == len(want)
    got = np.concatenate([feeds["images"] for feeds in probe.batches(10_000, 50)])
    assert np.array_equal(got, want)
    assert np.array_equal(probe.feeds(9)["images"], want[:9])


def test_a_scale_in_the_file_divides_its_bytes(digits):
    found = probe_for(digits, calib=MODELS / "digits_eval.npz").feeds(20)["images"]
    want = np.load(MODELS / "digits_eval.npz")["images"][:20] / np.float32(16)
    assert np.array_equal(found, want)


def test_bytes_get_the_range_of_the_model(tmp_path, network):
    np.save(tmp_path / "a.npy", PIXELS)
    images = probe_for(network, calib=tmp_path / "a.npy", input_range=(0, 1)).feeds(5)["x"]
    assert images.shape == (5, 3, 16, 16)
    assert images.mean() == pytest.approx(PIXELS.mean() / 255, abs=0.02)
    normal = probe_for(network, calib=tmp_path / "a.npy").feeds(5)["x"]
    assert np.allclose(normal, (images - 0.45) / 0.225, atol=1e-4)


def test_layouts_agree(tmp_path, network):
    np.savez(tmp_path / "last.npz", images=PIXELS, labels=np.arange(5))
    np.savez(tmp_path / "first.npz", x=PIXELS.transpose(0, 3, 1, 2))
    one = probe_for(network, calib=tmp_path / "last.npz").feeds(5)["x"]
    two = probe_for(network, calib=tmp_path / "first.npz").feeds(5)["x"]
    assert np.allclose(one, two, atol=1e-6)  # sums over axes in another order


def test_pictures_are_cut_in_the_middle_then_shrunk(tmp_path, network):
    image = np.zeros((1, 3, 32, 96), np.float32)
    image[..., 32:64] = 1  # the middle third becomes all of it
    image[..., :16, :] *= 0.5
    np.save(tmp_path / "a.npy", image)
    (found,) = probe_for(network, calib=tmp_path / "a.npy").feeds(1)["x"]
    assert np.allclose(found[:, 1:7], 0.5, atol=1e-6)
    assert np.allclose(found[:, 9:], 1, atol=1e-6)


@pytest.mark.parametrize(("given", "wanted"), ((1, 3), (3, 1), (4, 3)))
def test_channels_are_adapted(tmp_path, given, wanted):
    graph = image_model(shape=("N", wanted, 16, 16), w=np.ones((2, wanted, 3, 3), np.float32))
    np.save(tmp_path / "a.npy", np.full((4, given, 16, 16), 0.25, np.float32))
    found = probe_for(graph, calib=tmp_path / "a.npy").feeds(4)["x"]
    assert found.shape == (4, wanted, 16, 16)
    assert np.allclose(found, 0.25)


def test_a_folder_of_arrays(tmp_path, network):
    for k, image in enumerate(PIXELS[:3]):
        np.save(tmp_path / f"{k}.npy", image)
    probe = probe_for(network, calib=tmp_path)
    assert probe.available == 3
    assert len(list(probe.batches(99, 2))) == 2


def test_a_folder_of_pictures(tmp_path, network):
    image = pytest.importorskip("PIL.Image")
    for k, pixels in enumerate(PIXELS):
        image.fromarray(pixels[: 12 + k]).save(tmp_path / f"{k}.png")
    probe = probe_for(network, calib=tmp_path)
    assert probe.kind == "calib" and probe.available == 5
    assert probe.feeds(5)["x"].shape == (5, 3, 16, 16)


def test_pictures_need_pillow(tmp_path, network, monkeypatch):
    (tmp_path / "a.png").write_bytes(b"")
    real = builtins.__import__

    def without(name, *args, **kwargs):
        if name.startswith("PIL"):
            raise ImportError(name)
        return real(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(UsageError, match=r"onnx-spa\[images\]"):
        probe_for(network, calib=tmp_path)


def test_damaged_files_are_read_errors(tmp_path, network):
    for name in ("a.npz", "a.npy"):
        (tmp_path / name).write_bytes(b"nothing of the kind")
        with pytest.raises(ReadError, match=name):
            probe_for(network, calib=tmp_path / name)
    pytest.importorskip("PIL")
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "a.png").write_bytes(b"no picture")
    with pytest.raises(ReadError, match=r"a\.png"):
        probe_for(network, calib=tmp_path / "b")


def test_what_does_not_fit_is_a_usage_error(tmp_path, network):
    np.savez(tmp_path / "labels.npz", labels=np.arange(4))
    np.savez(tmp_path / "five.npz", x=np.zeros((4, 5, 16, 16), np.float32))
    np.savez(tmp_path / "none.npz", x=np.zeros((0, 3, 16, 16), np.float32))
    (tmp_path / "empty").mkdir()
    (tmp_path / "a.txt").write_text("x")
    for name in ("labels.npz", "five.npz", "none.npz", "empty", "a.txt", "missing.npz"):
        with pytest.raises(UsageError) as error:
            probe_for(network, calib=tmp_path / name)
        assert "\n" not in str(error.value)


def test_text_by_name_and_the_rest_made_up(tmp_path):
    graph = text_model()
    ids = np.random.default_rng(0).integers(1, 30000, (6, 11))
    np.savez(tmp_path / "a.npz", ids=ids)
    probe = probe_for(graph, calib=tmp_path / "a.npz")
    feeds = probe.feeds(6)
    assert np.array_equal(feeds["ids"], ids)
    assert feeds["mask"].shape == ids.shape and (feeds["mask"] == 1).all()
    assert sum("made up" in note for note in probe.notes) == 2
    np.savez(tmp_path / "b.npz", ids=ids[0, 0].reshape(1, 1, 1, 1))
    with pytest.raises(UsageError, match="ids"):
        probe_for(graph, calib=tmp_path / "b.npz")
