"""Saves what can be evaluated of a model that onnxruntime refuses as a whole.

One node without a kernel (bfloat16 arithmetic on a CPU, say) makes the engine refuse all constants.
onnx-graphsurgeon peels such nodes off one by one and evaluates the rest.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from io import StringIO

import numpy as np
from onnx import ModelProto

from spa.devices import hushed
from spa.graph.tensors import is_external


def salvage(part: ModelProto) -> dict[str, np.ndarray]:
    """Values of those outputs of `part`, a model without inputs, that can be evaluated."""
    if any(map(is_external, part.graph.initializer)):
        return {}  # the surgeon would look for the data in the current folder
    import onnx_graphsurgeon

    with _silence():
        try:
            graph = onnx_graphsurgeon.import_onnx(part).fold_constants(partitioning="recursive")
        except Exception:  # whatever goes wrong in it: nothing is saved
            return {}
    constants = (one for one in graph.outputs if isinstance(one, onnx_graphsurgeon.Constant))
    return {one.name: np.asarray(one.values) for one in constants}


@contextmanager
def _silence() -> Iterator[None]:
    """Nothing but the command line prints."""
    from onnx_graphsurgeon.logger import G_LOGGER

    before = G_LOGGER.severity
    G_LOGGER.severity = G_LOGGER.CRITICAL
    try:
        with hushed(), redirect_stdout(StringIO()), redirect_stderr(StringIO()):
            yield
    finally:
        G_LOGGER.severity = before
