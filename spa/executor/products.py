"""Products of the rows of chunks, X Xᵀ and Y Xᵀ, computed where the models run."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from functools import cache, lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from spa import devices, runtime
from spa.make import make

if TYPE_CHECKING:
    from onnx import ModelProto

SMALL = 1 << 28
"""Multiplications of a product below which one thread of BLAS computes it, in milliseconds."""
Array = NDArray[np.float32]
Products = Callable[..., list[Array]]
"""From X `[groups, features, m]` and others `[groups, rows, m]`: each of them times Xᵀ, X first."""


def products(device: devices.Device) -> Products:
    """What multiplies: BLAS on the CPU, onnxruntime on a GPU."""
    return on_device(device) if devices.providers(device)[0] == devices.CUDA else on_host


def on_host(x: Array, *others: Array) -> list[Array]:
    """By numpy."""
    flipped = x.swapaxes(1, 2)
    rows = max(each.shape[1] for each in (x, *others))
    with threads_for(rows * x.shape[1] * x.shape[2]):
        return [each @ flipped for each in (x, *others)]


def threads_for(multiplications: int) -> AbstractContextManager[Any]:
    """One thread of BLAS for small products, as many as there are for others.

    Threads wait for each other within a product, and spin meanwhile.  On a busy machine one of them
    has no processor, and a product of a millisecond takes a turn of the scheduler, some hundreds.
    """
    return _blas().limit(limits=1) if multiplications < SMALL else nullcontext()


@cache
def _blas() -> Any:
    from threadpoolctl import ThreadpoolController

    return ThreadpoolController().select(user_api="blas")


@lru_cache(maxsize=4)
def on_device(device: devices.Device) -> Products:
    """By onnxruntime; columns travel to the device, only products come back."""
    sessions: dict[int, runtime.Session] = {}

    def multiply(*arrays: Array) -> list[Array]:
        count = len(arrays)
        if count not in sessions:
            sessions[count] = runtime.session(_model(count), device=device)
        feeds = {f"x{k}": np.ascontiguousarray(array) for k, array in enumerate(arrays)}
        found = runtime.run(sessions[count], feeds)
        return [found[f"y{k}"] for k in range(count)]

    return multiply


def _model(count: int) -> ModelProto:
    """A model that multiplies so many arrays by the first."""
    from onnx import TensorProto, helper

    inputs, outputs = (
        [
            helper.make_tensor_value_info(f"{n}{k}", TensorProto.FLOAT, [None] * 3)
            for k in range(count)
        ]
        for n in "xy"
    )
    nodes = [make.Transpose(["x0"], ["flipped"], perm=[0, 2, 1])]
    nodes += [make.MatMul([f"x{k}", "flipped"], [f"y{k}"]) for k in range(count)]
    graph = helper.make_graph(nodes, "products", inputs, outputs)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
