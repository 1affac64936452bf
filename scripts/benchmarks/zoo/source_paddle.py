"""Networks of Paddle with random weights.  Needs paddlepaddle and paddle2onnx."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import paddle
from paddle import nn

# ruff: noqa: D102 - what `forward` does is what the class says


class Recurrent(nn.Layer):
    """Words to a class through recurrent layers."""

    def __init__(self, kind: Any, both: bool) -> None:
        super().__init__()
        way = "bidirect" if both else "forward"
        self.words = nn.Embedding(50, 24)
        self.core = kind(24, 32, num_layers=2, direction=way)
        self.head = nn.Linear(64 if both else 32, 5)

    def forward(self, ids: Any) -> Any:
        return self.head(self.core(self.words(ids))[0])


def transformer() -> nn.Layer:
    """Paddle's own encoder."""
    layer = nn.TransformerEncoderLayer(48, 4, 96, dropout=0.0, activation="gelu")
    return nn.Sequential(nn.Linear(12, 48), nn.TransformerEncoder(layer, 2), nn.Linear(48, 5))


def perceptron() -> nn.Layer:
    """Layers one after the other."""
    parts = (nn.Linear(12, 48), nn.ReLU(), nn.Linear(48, 32), nn.ReLU(), nn.Linear(32, 4))
    return nn.Sequential(*parts)


IMAGE = (1, 3, 64, 64)
NETS: dict[str, tuple[Callable[[], Any], tuple[int, ...], str]] = {
    "perceptron": (perceptron, (2, 12), "float32"),
    "resnet18": (lambda: paddle.vision.models.resnet18(), IMAGE, "float32"),
    "mobilenet_v2": (lambda: paddle.vision.models.mobilenet_v2(), IMAGE, "float32"),
    "shufflenet_v2_x0_5": (lambda: paddle.vision.models.shufflenet_v2_x0_5(), IMAGE, "float32"),
    "transformer": (transformer, (1, 9, 12), "float32"),
    "lstm": (lambda: Recurrent(nn.LSTM, True), (1, 9), "int64"),
    "gru": (lambda: Recurrent(nn.GRU, False), (1, 9), "int64"),
}


def export(name: str, size: int, exporter: str, path: Path) -> str:
    """Write a network as ONNX; what wrote it."""
    import paddle2onnx

    paddle.seed(0)
    make, shape, kind = NETS[name]
    model = make()
    model.eval()
    for key, tensor in model.state_dict().items():
        if tensor.ndim <= 1 and "float" in str(tensor.dtype):
            moved = tensor + 0.1 * paddle.rand(tensor.shape) + (0.1 if "variance" in key else 0.0)
            tensor.set_value(moved)
    spec = [paddle.static.InputSpec(list(shape), kind, "x")]
    with tempfile.TemporaryDirectory() as folder:
        paddle.onnx.export(model, f"{folder}/net", input_spec=spec, opset_version=17)
        path.write_bytes(Path(f"{folder}/net.onnx").read_bytes())
    return f"paddle2onnx {paddle2onnx.__version__}, Paddle {paddle.__version__}"
