"""Which device runs models: what is asked for, what there is, and what is said where it fails."""

from __future__ import annotations

import sys
from types import SimpleNamespace

import numpy as np
import pytest
from threadpoolctl import threadpool_info, threadpool_limits

import spa
from spa import devices, pipeline, runtime
from spa.errors import ReadError
from spa.executor import products
from spa.executor.least_squares import Moments
from spa.probes import plain
from spa.recipe import Recipe
from tests.carried import DIGITS

BOTH = [devices.CUDA, devices.CPU]


@pytest.fixture
def made_for_cuda(monkeypatch):
    """The onnxruntime at hand, as if it were made for a GPU that it cannot start.

    What it does then is what the package onnxruntime-gpu does without a driver: it goes on without.
    """
    real = devices.library()
    opened = []

    def session(source, options=None, providers=(), **others):
        opened.append(providers)
        return real.InferenceSession(source, options, providers=[devices.CPU], **others)

    fake = SimpleNamespace(
        **{n: getattr(real, n) for n in dir(real) if not n.startswith("__")}, __file__=real.__file__
    )
    fake.get_available_providers = lambda: BOTH
    fake.InferenceSession = session
    fake.preload_dlls = lambda: print("what nobody wants to read")
    fake.__version__ = real.__version__
    monkeypatch.setattr(devices, "library", lambda: fake)
    devices.idle_cuda.cache_clear()
    yield opened
    devices.idle_cuda.cache_clear()


@pytest.fixture
def pretended(monkeypatch):
    """A GPU for everything above onnxruntime; the sessions themselves run on the CPU."""
    asked = []
    monkeypatch.setattr(devices, "no_cuda", lambda: "")

    real = devices.configured

    def configured(device="auto", timed=None):
        found = real(device, bool(timed))
        if timed is None:
            return found  # names are asked for
        asked.append((tuple(name for name, _ in found), timed))
        return [(devices.CPU, {})]

    monkeypatch.setattr(devices, "configured", configured)
    products.on_device.cache_clear()
    yield asked
    products.on_device.cache_clear()


def test_an_onnxruntime_without_cuda_says_what_to_install(monkeypatch):
    fake = SimpleNamespace(get_available_providers=lambda: [devices.CPU])
    monkeypatch.setattr(devices, "library", lambda: fake)
    devices.idle_cuda.cache_clear()
    assert devices.idle_cuda() == "", "nobody expects a GPU of it"
    assert devices.providers("auto") == [devices.CPU]
    with pytest.raises(ReadError, match=r'onnx-spa\[gpu\]" or choose --device cpu'):
        devices.providers("cuda")
    devices.idle_cuda.cache_clear()


def test_cuda_that_does_not_start_is_refused_or_left(made_for_cuda, capfd):
    assert devices.providers("auto") == [devices.CPU]
    with pytest.raises(ReadError, match=r"CUDA does not start here \(.+\); install .*--device cpu"):
        devices.providers("cuda")
    assert made_for_cuda == [[devices.CUDA]], "tried once, and once only"
    assert capfd.readouterr() == ("", "")


def test_what_onnxruntime_raises_is_passed_on(made_for_cuda, monkeypatch):
    def refuses(*_, **__):
        raise RuntimeError("CUDA failure 35: driver too old\nmore that nobody reads")

    monkeypatch.setattr(devices.library(), "InferenceSession", refuses)
    assert devices.idle_cuda().startswith("CUDA does not start here (CUDA failure 35: driver too")
    assert "nobody reads" not in devices.idle_cuda()


def test_cuda_that_starts_comes_first(made_for_cuda, monkeypatch):
    class Session:
        def __init__(self, source, options=None, **_):
            self.source = source

        def run(self, names, feeds):
            return [np.exp(feeds["x"])]

        def get_providers(self):
            return BOTH

    monkeypatch.setattr(devices.library(), "InferenceSession", Session)
    assert devices.no_cuda() == ""
    assert devices.providers("auto") == devices.providers("cuda") == BOTH
    assert devices.providers("cpu") == [devices.CPU]


def test_what_is_timed_runs_as_by_default_and_what_is_compared_exactly(monkeypatch):
    monkeypatch.setattr(devices, "no_cuda", lambda: "")
    assert devices.configured("cuda", timed=True) == [(devices.CUDA, {}), (devices.CPU, {})]
    exact = devices.configured("cuda", timed=False)
    assert exact[0][1]["use_tf32"] == "0" and exact[1] == (devices.CPU, {})


@pytest.mark.skipif(sys.platform != "linux", reason="the loader says it otherwise")
def test_the_loader_is_asked_what_is_missing(made_for_cuda, monkeypatch, tmp_path):
    (tmp_path / "capi").mkdir()
    for name in devices.LIBRARIES:
        (tmp_path / "capi" / f"lib{name}.so").write_text("no library")
    monkeypatch.setattr(devices.library(), "__file__", str(tmp_path / "__init__.py"))
    assert "here (" in devices.idle_cuda()
    assert "libonnxruntime_providers_shared.so" in devices.idle_cuda()
    for file in (tmp_path / "capi").iterdir():
        file.unlink()
    devices.idle_cuda.cache_clear()
    assert "here (onnxruntime does not say why)" in devices.idle_cuda()


def test_prune_says_once_that_the_gpu_is_idle(made_for_cuda):
    done = pipeline.prune(DIGITS, Recipe(scorer="l1", ratio=0.3))
    notes = [note for note in done.report["notes"] if "CUDA does not start here" in note]
    assert len(notes) == 1 and done.report["latency"]["provider"] == devices.CPU
    with pytest.raises(ReadError, match="CUDA does not start here"):
        pipeline.prune(DIGITS, Recipe(scorer="l1", device="cuda"))


def test_doctor_names_a_gpu_that_is_idle(made_for_cuda):
    found = pipeline.doctor()
    (problem,) = found["problems"]
    assert found["providers"] == [devices.CPU], "those that start"
    assert "CUDA does not start here" in problem and "go on on the CPU" in problem


@pytest.mark.parametrize("groups", [1, 3])
def test_products_are_the_same_wherever_they_are_computed(pretended, groups):
    rng = np.random.default_rng(0)
    x = rng.standard_normal((groups, 5, 40)).astype(np.float32)[..., ::2]
    y = rng.standard_normal((groups, 7, 20)).astype(np.float32)
    for arrays in ((x,), (x, y)):
        host, there = (how(*arrays) for how in (products.on_host, products.products("cuda")))
        assert len(host) == len(there) == len(arrays)
        for a, b in zip(host, there, strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-5)
    assert products.products("cpu") is products.on_host


def test_small_products_take_one_thread():
    def threads():
        return {pool["num_threads"] for pool in threadpool_info() if pool["user_api"] == "blas"}

    with threadpool_limits(limits=2, user_api="blas"):
        usual = threads()
        with products.threads_for(products.SMALL - 1):
            assert threads() == {1}
        with products.threads_for(products.SMALL):
            assert threads() == usual
        assert threads() == usual, "and it is over afterwards"


def test_everything_runs_on_the_device_that_was_asked_for(pretended):
    asked = {"ratio": 0.3, "scorer": "obspa", "seed": 0, "verify": "equivalence", "samples": 64}
    there = spa.prune(DIGITS, device="cuda", **asked)
    names = {names for names, _ in pretended}
    assert tuple(BOTH) in names, "segments, products and proofs"
    assert {timed for _, timed in pretended} == {True, False}
    assert products.on_device.cache_info().hits > 0, "products were computed there"
    pretended.clear()
    here = spa.prune(DIGITS, device="cpu", **asked)
    assert {names for names, _ in pretended} == {(devices.CPU,)}
    inputs = plain.feeds(spa.read(DIGITS), seed=3)
    a, b = (runtime.run(runtime.session(r.model), inputs) for r in (there, here))
    for name in a:
        np.testing.assert_allclose(a[name], b[name], rtol=1e-3, atol=1e-4)


def test_moments_are_those_of_the_columns(pretended):
    rng = np.random.default_rng(1)
    x, y = (rng.standard_normal((2, n, 30)).astype(np.float32) for n in (4, 3))
    for device in ("cpu", "cuda"):
        sums = Moments(2, 4, 3, device)
        sums.add(x, y)
        np.testing.assert_allclose(sums.xx, x @ x.swapaxes(1, 2), rtol=1e-5, atol=1e-5)
        np.testing.assert_allclose(sums.yx, y @ x.swapaxes(1, 2), rtol=1e-5, atol=1e-5)
