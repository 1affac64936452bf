"""Gradients against finite differences in float64, operator by operator.

Every node test of the onnx wheel with floats going in and out is moved away from kinks a little
and differentiated along a random direction: (f(x + e v) - f(x - e v)) / 2e beside v . grad f.
"""

from __future__ import annotations

import zlib

import numpy as np
import pytest

torch = pytest.importorskip("torch")

import spa.torch  # noqa: E402
from spa.errors import ReadError  # noqa: E402
from tests.torch.test_nodes import cases, fed, lacks_type, value  # noqa: E402

pytestmark = pytest.mark.corpus

LARGEST = 20_000
STEP = 1e-6
STEPS = set(
    """Ceil Floor Round Sign QuantizeLinear DynamicQuantizeLinear Hardmax ArgMax ArgMin Shape Size
    IsInf IsNaN Equal Greater GreaterOrEqual Less LessOrEqual NonZero Unique NonMaxSuppression
    EyeLike RandomNormalLike RandomUniformLike Bernoulli Multinomial TopK Dropout BitCast
    QLinearMatMul QLinearConv""".split()
)
"""What is constant almost everywhere, is chance, or hands on places beside values."""


def chosen():
    """By operator, the node tests to differentiate: those with floats alone going in and out."""
    found: dict[str, list] = {}
    for case in cases():
        nodes = case.model.graph.node
        if len(nodes) != 1 or nodes[0].op_type in STEPS or lacks_type(case):
            continue
        inputs, outputs = case.data_sets[0]
        values = [value(v) for v in (*inputs, *outputs)]
        floats = [isinstance(v, np.ndarray) and v.dtype in (np.float32, np.float64) for v in values]
        small = sum(v.size for v in values if isinstance(v, np.ndarray)) <= LARGEST
        if any(floats[: len(inputs)]) and all(floats[len(inputs) :]) and small:
            found.setdefault(nodes[0].op_type, []).append(case)
    return {op: held[:6] for op, held in found.items()}


def gap(case):
    """How far the gradient of a case is from differences, or None where it has none."""
    try:
        module = spa.torch.load(case.model)
    except ReadError:
        return None
    generator = torch.Generator().manual_seed(zlib.crc32(case.name.encode()))

    def noise(like):
        return torch.randn(like.shape, dtype=torch.float64, generator=generator)

    names = [info.name for info in case.model.graph.input]
    feeds = {n: fed(value(v)) for n, v in zip(names, case.data_sets[0][0], strict=False)}
    moving = _moving(case)
    for name in moving:
        x = feeds[name].double()
        feeds[name] = x + 1e-3 * noise(x)
    others = {n: v.double() if _wide(v) else v for n, v in feeds.items() if n not in moving}
    weights: list[torch.Tensor] = []

    def f(tensors):
        found = module.run({**others, **dict(zip(moving, tensors, strict=True))})
        outputs = [v for v in found.values() if v is not None and v.is_floating_point()]
        while len(weights) < len(outputs):
            weights.append(noise(outputs[len(weights)]))
        return sum((w * v).sum() for w, v in zip(weights, outputs, strict=True))

    starts = [feeds[name].clone().requires_grad_() for name in moving]
    y = f(starts)
    if not torch.as_tensor(y).requires_grad or not torch.isfinite(y):
        return None
    grads = torch.autograd.grad(y, starts, allow_unused=True)
    ways = [noise(x) for x in starts]
    along = sum((g * v).sum() for g, v in zip(grads, ways, strict=True) if g is not None)
    with torch.no_grad():
        ends = [f([x + s * v for x, v in zip(starts, ways, strict=True)]) for s in (STEP, -STEP)]
    slope = (ends[0] - ends[1]) / (2 * STEP)
    size = sum(float(g.norm()) for g in grads if g is not None)
    return float(abs(along - slope)) / max(1e-3, size)


def _wide(v):
    return isinstance(v, torch.Tensor) and v.dtype == torch.float32


def _moving(case):
    """Inputs that data flow through."""
    from spa.torch.registry import find

    node = case.model.graph.node[0]
    version = next(o.version for o in case.model.opset_import if o.domain == node.domain)
    operator = find(node.domain, node.op_type, version)
    steer = operator.steer if operator is not None else frozenset()
    inputs = {
        info.name: value(v)
        for info, v in zip(case.model.graph.input, case.data_sets[0][0], strict=False)
    }
    return [
        n
        for k, n in enumerate(node.input)
        if k not in steer
        and isinstance(inputs.get(n), np.ndarray)
        and inputs[n].dtype in (np.float32, np.float64)
    ]


def test_gradients():
    torch.set_num_threads(1)
    wrong, checked = {}, set()
    for op, held in chosen().items():
        for case in held:
            found = gap(case)
            if found is not None:
                checked.add(op)
                if found > 1e-5:
                    wrong[case.name] = found
    assert not wrong
    assert len(checked) > 100
    for op in ("Conv", "ConvTranspose", "LSTM", "GRU", "Attention", "LayerNormalization", "Resize"):
        assert op in checked


def test_a_wrong_gradient_would_be_found(monkeypatch):
    case = next(c for c in cases() if c.name == "test_tanh")
    assert gap(case) < 1e-6
    monkeypatch.setattr(
        "torch.autograd.grad", lambda y, xs, **_: [2 * torch.ones_like(x) for x in xs]
    )
    assert gap(case) > 0.1
