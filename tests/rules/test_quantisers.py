"""What onnxruntime's own quantisers make of small nets is cut as the nets themselves are."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import ModelProto

import spa
from spa import rules
from spa.coupling import Coupling, analyse
from spa.errors import ReadError
from spa.graph import read
from tests.nets import Net
from tests.nets.integer import MICROSOFT

quantization = pytest.importorskip("onnxruntime.quantization")

WIDTH, TOKENS = 16, 6
Make = Callable[[Net], str]


def layers(n: Net) -> str:
    y = n.Gemm(n.input("x", 16), n.weight(32, 16), n.weight(32, scale=0.1), transB=1)
    y = n.Sigmoid(n.linear(n.Relu(y), 32, 24))
    return n.Gemm(y, n.weight(24, 5), n.weight(5, scale=0.1))


def convolutions(n: Net) -> str:
    y = n.Relu(n.conv(n.input("x", 3, 8, 8), 3, 16))
    y = n.Add(y, n.LeakyRelu(n.conv(y, 16, 16), alpha=0.1))
    a, b = n.split(n.MaxPool(y, kernel_shape=[2, 2], strides=[2, 2]), [8, 8], 1)
    limits = n.scalar(0), n.scalar(6)
    y = n.Concat(n.Clip(n.conv(a, 8, 12), *limits), b, axis=1)
    y = n.Relu(n.conv(y, 20, 20, group=20))
    y = n.Mul(y, n.Sigmoid(n.conv(n.GlobalAveragePool(y), 20, 20, 1)))
    y = n.AveragePool(n.pad(n.resize(y, 2), 0, 0, 1, 1, 0, 0, 1, 1), kernel_shape=[2, 2])
    y = n.Softmax(n.Transpose(y, perm=[0, 2, 3, 1]), axis=-1)
    return n.head(n.Transpose(y, perm=[0, 3, 1, 2]), 20)


def wider(n: Net) -> str:
    y = n.Relu(n.conv(n.input("x", 3, 4, 4), 3, 16))
    y = n.Relu(n.conv(y, 16, 12, 4, op="ConvTranspose", stride=2))
    return n.conv(n.Relu(n.conv(y, 12, 10, 4, op="ConvTranspose", stride=2)), 10, 3)


def block(n: Net) -> str:
    ids = n.input("ids", TOKENS, dtype=np.int64)
    y = n.Add(n.Gather(n.weight(40, WIDTH, scale=1.0), ids), n.weight(TOKENS, WIDTH, scale=1.0))
    z = n.layer_norm(y, WIDTH)
    q, k, v = (n.heads(n.linear(z, WIDTH, 16), TOKENS, 2, 8, key=i == 1) for i in range(3))
    y = n.Add(y, n.linear(n.merge(n.attend(q, k, v), TOKENS, 16), 16, WIDTH))
    z = n.Relu(n.linear(n.layer_norm(y, WIDTH), WIDTH, 32))
    return n.linear(n.Add(y, n.linear(z, 32, WIDTH)), WIDTH, 5)


def fused_block(n: Net) -> str:
    ids, kinds, mask = (n.input(k, TOKENS, dtype=np.int32) for k in ("ids", "kinds", "mask"))
    tables = [n.weight(rows, WIDTH, scale=1.0) for rows in (40, TOKENS, 2)]
    norm = n.positive(WIDTH), n.weight(WIDTH, scale=0.1)
    y, lengths = n.EmbedLayerNormalization(
        ids, kinds, *tables, *norm, mask, domain=MICROSOFT, outs=2
    )
    given = n.weight(WIDTH, 48, scale=0.25), n.weight(48, scale=0.1), lengths
    y = n.Attention(y, *given, domain=MICROSOFT, num_heads=2)
    return n.linear(n.Relu(n.linear(y, WIDTH, 12)), 12, 5)


def _steps(n: Net, op: str, gates: int) -> str:
    y = n.Transpose(n.linear(n.input("x", TOKENS, 8), 8, 12), perm=[1, 0, 2])
    stored = n.weight(2, gates * 10, 12), n.weight(2, gates * 10, 10), n.weight(2, 20 * gates)
    y, _ = n.node(op, y, *stored, hidden_size=10, direction="bidirectional", outs=2)
    return n.linear(n.Reshape(n.Transpose(y, perm=[2, 0, 1, 3]), n.ints(0, 0, 20)), 20, 5)


def lstm(n: Net) -> str:
    return _steps(n, "LSTM", 4)


def gru(n: Net) -> str:
    return _steps(n, "GRU", 3)


def choices(n: Net) -> str:
    x = n.input("x", TOKENS, 16)
    which = n.Greater(n.MatMul(x, n.weight(16, 12)), n.scalar(0))
    y = n.Where(which, n.MatMul(x, n.weight(16, 12)), n.MatMul(x, n.weight(16, 12)))
    y = n.slice(
        n.Transpose(n.batch_norm(n.Transpose(y, perm=[0, 2, 1]), 12), perm=[0, 2, 1]), 0, 4, 1
    )
    y = n.linear(n.reduce("ReduceMean", y, 1, keep=False), 12, 10)
    return n.ArgMax(n.linear(y, 10, 5), axis=-1, keepdims=0)


NETS: dict[str, Make] = {
    make.__name__: make
    for make in (layers, convolutions, wider, block, fused_block, lstm, gru, choices)
}
MODES: dict[str, dict[str, Any]] = {
    "dynamic s8": {"weight_type": "QInt8"},
    "dynamic u8 by column": {"weight_type": "QUInt8", "per_channel": True},
    "QDQ u8 s8": {"quant_format": "QDQ", "activation_type": "QUInt8", "weight_type": "QInt8"},
    "QDQ s8 s8 by column": {
        "quant_format": "QDQ",
        "activation_type": "QInt8",
        "weight_type": "QInt8",
        "per_channel": True,
    },
    "QDQ u16 s16": {"quant_format": "QDQ", "activation_type": "QUInt16", "weight_type": "QInt16"},
    "QDQ u8 s4": {"quant_format": "QDQ", "activation_type": "QUInt8", "weight_type": "QInt4"},
    "QOperator u8 s8 by column": {
        "quant_format": "QOperator",
        "activation_type": "QUInt8",
        "weight_type": "QInt8",
        "per_channel": True,
    },
    "QOperator u8 u8": {
        "quant_format": "QOperator",
        "activation_type": "QUInt8",
        "weight_type": "QUInt8",
    },
}
OPSETS = {"QDQ u8 s4": 21, "QDQ u16 s16": 21}
FEW = [
    ("block", "dynamic u8 by column"),
    ("block", "QOperator u8 u8"),
    ("convolutions", "QOperator u8 s8 by column"),
    ("fused_block", "dynamic u8 by column"),
    ("choices", "QOperator u8 u8"),
    ("layers", "QDQ u8 s4"),
    ("lstm", "dynamic s8"),
]
REST = [(net, mode) for net in NETS for mode in MODES if (net, mode) not in FEW]
each_file = pytest.mark.parametrize(
    ("net", "mode"), [*FEW, *(pytest.param(*pair, marks=pytest.mark.slow) for pair in REST)]
)


class Samples(quantization.CalibrationDataReader):  # type: ignore[misc]
    """A few random inputs to find ranges with."""

    def __init__(self, model: ModelProto) -> None:
        self.left: Iterator[dict[str, np.ndarray]] = iter([_sample(model, k) for k in range(4)])

    def get_next(self) -> dict[str, np.ndarray] | None:
        return next(self.left, None)


def _sample(model: ModelProto, seed: int) -> dict[str, np.ndarray]:
    random = np.random.default_rng(seed)
    found = {}
    for info in model.graph.input:
        kind = info.type.tensor_type
        shape = [d.dim_value for d in kind.shape.dim]
        dtype = onnx.helper.tensor_dtype_to_np_dtype(kind.elem_type)
        most = {"mask": 2, "kinds": 2}.get(info.name, 40)
        ids = random.integers(0, most, shape)
        found[info.name] = (random.normal(size=shape) if dtype.kind == "f" else ids).astype(dtype)
    return found


def quantised(net: str, mode: str, folder: Path) -> tuple[ModelProto, Path]:
    """A net, and what the quantiser of the installed onnxruntime makes of it in a mode."""
    n = Net(opset=OPSETS.get(mode, 17))
    model = n.done(NETS[net](n))
    source, target = folder / "float.onnx", folder / "quantised.onnx"
    onnx.save(model, source)
    given = {
        key: getattr(quantization.QuantType, value) if key.endswith("_type") else value
        for key, value in MODES[mode].items()
    }
    options = {"DefaultTensorType": onnx.TensorProto.FLOAT, "ForceQuantizeNoInputCheck": True}
    extra = {"extra_options": options}
    logging.disable(logging.WARNING)
    try:
        if "quant_format" in given:
            given["quant_format"] = getattr(quantization.QuantFormat, given["quant_format"])
            quantization.quantize_static(source, target, Samples(model), **given, **extra)
        else:
            quantization.quantize_dynamic(source, target, **given, **extra)
    except Exception as error:
        pytest.skip(f"this quantiser does not take the net: {error}"[:200])
    finally:
        logging.disable(logging.NOTSET)
    return model, target


def known(coupling: Coupling) -> bool:
    """Whether every operator is one that was there when the rules were written."""
    return all(rules.is_known(node.domain, node.op) for node in coupling.graph.order)


@each_file
def test_is_cut_as_the_net_is(net: str, mode: str, tmp_path: Path) -> None:
    model, path = quantised(net, mode, tmp_path)
    coupling = analyse(read(path))
    if not known(coupling):
        pytest.skip("the quantiser emits operators of later versions")
    assert not coupling.notes.unknown
    assert _channels(coupling) == _channels(analyse(read(model)))


def _channels(coupling: Coupling) -> int:
    """How many channels may go; some of them only together."""
    return sum(group.cells.size for group in coupling.groups)


@each_file
def test_is_proved(net: str, mode: str, tmp_path: Path) -> None:
    _, path = quantised(net, mode, tmp_path)
    try:
        done = spa.prune(path, ratio=0.3, of="channels", scorer="l2", round_to=1)
    except ReadError as error:
        if "cannot load" not in str(error):
            raise
        pytest.skip(f"the installed onnxruntime has no kernels for it: {error}"[:200])
    assert done.report["reduction"]["channels"] > 0
    assert done.report["verify"]["equivalence_error"] is not None
