"""Perceptrons of scikit-learn, fitted for a moment to noise.  Needs scikit-learn and skl2onnx."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

NETS: dict[str, tuple[str, dict[str, Any], bool]] = {
    "MLPClassifier": ("MLPClassifier", {"hidden_layer_sizes": (48, 32)}, False),
    "MLPClassifier, scaled": ("MLPClassifier", {"hidden_layer_sizes": (64,)}, True),
    "MLPRegressor": ("MLPRegressor", {"hidden_layer_sizes": (32, 24, 16)}, False),
    "MLPRegressor, tanh": (
        "MLPRegressor",
        {"hidden_layer_sizes": (40,), "activation": "tanh"},
        True,
    ),
}


def export(name: str, size: int, exporter: str, path: Path) -> str:
    """Fit a perceptron and write it as ONNX; what wrote it."""
    import skl2onnx
    from sklearn import neural_network, pipeline, preprocessing

    kind, options, scaled = NETS[name]
    rng = np.random.default_rng(0)
    x = rng.standard_normal((60, 12)).astype(np.float32)
    y = rng.integers(0, 4, 60) if kind == "MLPClassifier" else rng.standard_normal((60, 3))
    model = getattr(neural_network, kind)(**options, max_iter=2, random_state=0)
    if scaled:
        model = pipeline.make_pipeline(preprocessing.StandardScaler(), model)
    model.fit(x, y)
    more = {"options": {id(model): {"zipmap": False}}} if kind == "MLPClassifier" else {}
    proto = skl2onnx.to_onnx(model, x[:1], target_opset=17, **more)
    path.write_bytes(proto.SerializeToString())
    return f"skl2onnx {skl2onnx.__version__}"
