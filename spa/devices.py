"""Where models run: the onnxruntime that is installed, its providers, and whether CUDA starts."""

from __future__ import annotations

import contextlib
import ctypes
import io
from collections.abc import Callable, Iterator, Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from spa.errors import ReadError, first_line, install
from spa.make import make
from spa.registry import ENGINES, Registry

Device = str
"""The name of an engine, or `auto`."""
Providers = list[tuple[str, Mapping[str, str]]]
"""Execution providers of onnxruntime, best first, with their options."""
Engine = Callable[[bool], Providers]
"""What runs models: gives its providers, from whether runs are timed, or raises ReadError."""
engine: Registry[Engine] = ENGINES
CPU, CUDA = "CPUExecutionProvider", "CUDAExecutionProvider"
EXACT = {
    "use_tf32": "0",
    "cudnn_conv_algo_search": "HEURISTIC",
    "arena_extend_strategy": "kSameAsRequested",
}
"""Of CUDA, for what is compared and not timed: all bits of float32 (TF32, the default, keeps 11 of
24), no trying out of algorithms in sessions that run once, and no more memory than is needed."""
LIBRARIES = ("onnxruntime_providers_shared", "onnxruntime_providers_cuda")


@lru_cache(maxsize=1)
def library() -> Any:
    """The onnxruntime module, or a sentence that says how to get it."""
    try:
        import onnxruntime
    except ImportError as error:
        raise ReadError(
            f"onnxruntime is not installed; install it with {install('cpu', 'gpu')}"
        ) from error
    return onnxruntime


@contextlib.contextmanager
def hushed() -> Iterator[None]:
    """Sessions that are opened meanwhile, by us or by other libraries, log nothing."""
    try:
        runtime = library()
    except ReadError:
        yield
        return
    runtime.set_default_logger_severity(4)
    try:
        yield
    finally:
        runtime.set_default_logger_severity(2)  # what onnxruntime starts with; it cannot be asked


@engine()
def cpu(timed: bool) -> Providers:
    """The processor."""
    return [(CPU, {})]


@engine()
def cuda(timed: bool) -> Providers:
    """An NVIDIA GPU.

    What is compared, and not timed, runs with all bits of float32.
    """
    problem = no_cuda()
    if problem:
        raise ReadError(f"{problem} or choose --device cpu")
    return [(CUDA, {} if timed else EXACT), (CPU, {})]


def configured(device: Device = "auto", timed: bool = False) -> Providers:
    """The execution providers used on `device`, best first, with their options.

    Raises:
        ReadError: the device cannot be had.
        UsageError: there is none of that name.
    """
    if device == "auto":
        device = "cpu" if no_cuda() else "cuda"
    found = engine.get(device)(timed)
    known = library().get_available_providers() if device not in ENGINES.own else []
    missing = [name for name, _ in found if known and name not in known]
    if missing:
        raise ReadError(
            f"--device {device} needs {missing[0]}, and this onnxruntime only has "
            f"{', '.join(known)}; install one that has it"
        )
    return found


def providers(device: Device = "auto") -> list[str]:
    """The names of the execution providers used on `device`, best first; raises as above."""
    return [name for name, _ in configured(device)]


def no_cuda() -> str:
    """Why models cannot run on a GPU, and what to do; empty where they can."""
    if CUDA not in library().get_available_providers():
        return f"this onnxruntime cannot use a GPU; install it with {install('gpu')}"
    return idle_cuda()


@lru_cache(maxsize=1)
def idle_cuda() -> str:
    """Why the GPU is idle although this onnxruntime was made for one, and what to do.

    onnxruntime itself would print that for every session and run it on the CPU.
    """
    runtime = library()
    if CUDA not in runtime.get_available_providers():
        return ""
    why = ""
    with hushed(), contextlib.redirect_stdout(io.StringIO()):
        try:
            runtime.preload_dlls()  # CUDA and cuDNN that pip has installed lie on no path
            session = runtime.InferenceSession(_tiny(), providers=[CUDA], enable_fallback=0)
            session.run(None, {"x": np.ones(1, np.float32)})
            if CUDA in session.get_providers():
                return ""
        except Exception as error:  # onnxruntime has a class per status, none of them documented
            why = first_line(error)
    return (
        f"CUDA does not start here ({why or _missing(runtime)}); install NVIDIA's driver, and "
        'CUDA with pip install "onnxruntime-gpu[cuda,cudnn]",'
    )


def _missing(runtime: Any) -> str:
    """What the loader says of the library that onnxruntime could not load."""
    folder = Path(runtime.__file__).parent / "capi"
    try:
        for name in LIBRARIES:
            for file in folder.glob(f"*{name}.*"):
                ctypes.CDLL(str(file), mode=ctypes.RTLD_GLOBAL)
    except OSError as error:
        return str(error)
    return "onnxruntime does not say why"


def _tiny() -> bytes:
    """A model that takes next to nothing to run, and needs the device nevertheless."""
    from onnx import TensorProto, helper

    ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [1]) for name in "xy"]
    graph = helper.make_graph([make.Exp(["x"], ["y"])], "tiny", ends[:1], ends[1:])
    opsets = [helper.make_opsetid("", 13)]
    model = helper.make_model(graph, opset_imports=opsets, ir_version=8)
    return bytes(model.SerializeToString())
