"""Formulas that are spelt out, and the kernel that takes their place."""

from __future__ import annotations

import math

import numpy as np
import pytest
from onnx import helper

torch = pytest.importorskip("torch")

import spa.torch  # noqa: E402
from tests.torch.test_module import floats, model_of  # noqa: E402

INNER = {"Div": math.sqrt(2), "Mul": math.sqrt(0.5)}


def spelt(inner, first, swapped, values=(None, 1.0, 0.5)):
    """The formula: x divided or multiplied within, one half first or last, operands swapped."""

    def node(op, a, b, made):
        swap = swapped and op != "Div"
        return helper.make_node(op, [b, a] if swap else [a, b], [made])

    nodes = [
        helper.make_node("Mul", ["input", "w"], ["x"]),
        node(inner, "x", "c", "in"),
        helper.make_node("Erf", ["in"], ["erf"]),
        node("Add", "erf", "one", "plus"),
    ]
    if first:
        nodes += [node("Mul", "x", "half", "scaled"), node("Mul", "scaled", "plus", "y")]
    else:
        nodes += [node("Mul", "x", "plus", "times"), node("Mul", "times", "half", "y")]
    numbers = [INNER[inner] if values[0] is None else values[0], *values[1:]]
    weights = {n: np.float32(v) for n, v in zip(("c", "one", "half"), numbers, strict=True)}
    return model_of(nodes, {"input": (50,)}, {"y": (50,)}, {**weights, "w": floats(50)})


@pytest.fixture
def kernels(monkeypatch):
    """An entry for every time that the kernel was called."""
    kernel, called = torch.nn.functional.gelu, []
    monkeypatch.setattr(torch.nn.functional, "gelu", lambda x: called.append(x) or kernel(x))
    return called


@pytest.mark.parametrize("inner", INNER)
@pytest.mark.parametrize("first", [False, True])
@pytest.mark.parametrize("swapped", [False, True])
def test_the_kernel_takes_the_place_of_the_formula(kernels, inner, first, swapped):
    module = spa.torch.load(spelt(inner, first, swapped))
    x = torch.randn(50)
    wanted = torch.nn.functional.gelu(x * module.parameter("w"))
    kernels.clear()
    y = module(x)
    assert len(kernels) == 1
    torch.testing.assert_close(y, wanted)
    found = module.run({"input": x}, ["erf", "y"])  # nothing is fused over what is asked for
    assert len(kernels) == 1
    torch.testing.assert_close(found["y"], wanted)


def test_other_constants_are_computed_as_they_stand():
    x = torch.randn(50)
    for values in ((2.0, 1.0, 0.5), (None, 2.0, 0.5), (None, 1.0, 1.0)):
        module = spa.torch.load(spelt("Mul", False, False, values))
        c, one, half = (module.parameter(n).item() for n in ("c", "one", "half"))
        z = x * module.parameter("w")
        torch.testing.assert_close(module(x), z * (one + torch.erf(z * c)) * half)


def test_constants_that_change_or_learn_are_seen():
    module = spa.torch.load(spelt("Div", False, False))
    x = torch.randn(50)
    before = module(x)
    with torch.no_grad():
        module.parameter("half").fill_(1.0)
    torch.testing.assert_close(module(x), 2 * before)
    with torch.no_grad():
        module.parameter("half").fill_(0.5)
    torch.testing.assert_close(module(x), before)
    module.parameter("c").requires_grad_()
    module(x).sum().backward()
    assert module.parameter("c").grad.abs() > 0
