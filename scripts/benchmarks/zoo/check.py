"""Whether onnxruntime loads and runs a file, and what the file holds."""

from __future__ import annotations

import json
import math
import sys
from pathlib import Path
from typing import Any

FLOATS = (1, 10, 11, 16)
"""ONNX's numbers of float, float16, double and bfloat16."""


def stored(path: Path) -> int:
    """The floating-point numbers a file holds, those in bodies and constants included."""
    import onnx

    return held(onnx.load(path, load_external_data=False).graph)


def held(graph: Any) -> int:
    """The floating-point numbers of a graph."""
    count = sum(math.prod(t.dims) for t in graph.initializer if t.data_type in FLOATS)
    for node in graph.node:
        for attribute in node.attribute:
            if attribute.HasField("t") and attribute.t.data_type in FLOATS:
                count += math.prod(attribute.t.dims)
            if attribute.HasField("g"):
                count += held(attribute.g)
    return count


def runs(path: Path) -> list[list[int]]:
    """Run a file once on inputs drawn at random; the shapes of its outputs.

    Raises:
        ValueError: an output has values that are not finite.
        Exception: whatever onnxruntime raises.
    """
    import numpy as np
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    rng = np.random.default_rng(0)
    found = session.run(None, {each.name: _drawn(each, rng) for each in session.get_inputs()})
    arrays = [value for value in found if isinstance(value, np.ndarray)]
    for value in arrays:
        if value.dtype.kind == "f" and not np.isfinite(value).all():
            raise ValueError("an output is not finite")
    return [list(value.shape) for value in arrays]


def _drawn(info: Any, rng: Any) -> Any:
    """An input's values: normal, or ones for whole numbers, which suit ids and masks."""
    import numpy as np

    shape = [d if isinstance(d, int) else (1 if k == 0 else 16) for k, d in enumerate(info.shape)]
    if "float" in info.type or "double" in info.type:
        kind = {"tensor(float16)": np.float16, "tensor(double)": np.float64}
        return rng.standard_normal(shape).astype(kind.get(info.type, np.float32))
    kinds = {"tensor(bool)": np.bool_, "tensor(int32)": np.int32, "tensor(uint8)": np.uint8}
    return np.ones(shape, kinds.get(info.type, np.int64))


def look(path: Path, original: Path | None = None) -> dict[str, Any]:
    """`valid` is True or why not; with an original the outputs must have its shapes."""
    found: dict[str, Any] = {"stored": stored(path)}
    try:
        shapes = runs(path)
        if original is not None and shapes != (want := runs(original)):
            raise ValueError(f"outputs have shapes {shapes}, not {want}")
        found["valid"] = True
    except Exception as error:
        found["valid"] = False
        found["why"] = f"{type(error).__name__}: {error}".strip().splitlines()[0][:240]
    return found


if __name__ == "__main__":
    print(json.dumps(look(*(Path(each) for each in sys.argv[1:]))))
