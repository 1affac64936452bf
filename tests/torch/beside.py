"""What modules are compared with: onnxruntime on the same file, as it stands."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import onnxruntime as ort
from onnx import ModelProto

KINDS = {
    "tensor(float)": np.float32,
    "tensor(float16)": np.float16,
    "tensor(double)": np.float64,
    "tensor(int64)": np.int64,
    "tensor(int32)": np.int32,
    "tensor(uint8)": np.uint8,
    "tensor(int8)": np.int8,
    "tensor(bool)": np.bool_,
}


class Beside:
    """A session without optimisations, and inputs for it."""

    def __init__(self, model: ModelProto | str) -> None:
        options = ort.SessionOptions()
        options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
        options.intra_op_num_threads = 1
        options.log_severity_level = 4
        given = model if isinstance(model, str) else model.SerializeToString()
        self.session = ort.InferenceSession(given, options, providers=["CPUExecutionProvider"])

    def feeds(self, open_axes: int = 3, seed: int = 0) -> dict[str, np.ndarray]:
        rng = np.random.default_rng(seed)
        made = {}
        for info in self.session.get_inputs():
            shape = [n if isinstance(n, int) and n > 0 else open_axes for n in info.shape]
            kind = np.dtype(KINDS[info.type])
            if kind.kind == "f":
                made[info.name] = rng.standard_normal(shape).astype(kind)
            elif kind.kind == "b":
                made[info.name] = np.ones(shape, bool)
            else:
                made[info.name] = rng.integers(0, 5, shape).astype(kind)
        return made

    def run(self, feeds: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        names = [info.name for info in self.session.get_outputs()]
        return dict(zip(names, self.session.run(None, dict(feeds)), strict=True))


def apart(found: np.ndarray, wanted: np.ndarray) -> float:
    """The largest difference over the largest value; the share that differs of integers."""
    assert found.shape == wanted.shape
    assert found.dtype == wanted.dtype
    if not wanted.size:
        return 0.0
    if wanted.dtype.kind != "f":
        return float(np.mean(found != wanted))
    difference = np.abs(found.astype(np.float64) - wanted.astype(np.float64)).max()
    return float(difference / max(1e-3, np.abs(wanted.astype(np.float64)).max()))
