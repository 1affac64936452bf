"""Activations that other operators have inside, and those of onnxruntime's domain."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import torch
from torch import Tensor
from torch.nn import functional

from spa.torch.registry import MICROSOFT, op

Activation = Callable[[Tensor], Tensor]

PLAIN: dict[str, Activation] = {
    "": lambda x: x,
    "relu": torch.relu,
    "tanh": torch.tanh,
    "sigmoid": torch.sigmoid,
    "softsign": functional.softsign,
    "softplus": functional.softplus,
    "hardswish": functional.hardswish,
    "gelu": functional.gelu,
    "silu": functional.silu,
    "swish": functional.silu,
    "identity": lambda x: x,
}
WITH: dict[str, tuple[tuple[float, ...], Callable[..., Tensor]]] = {
    "leakyrelu": ((0.01,), lambda x, a: functional.leaky_relu(x, a)),
    "thresholdedrelu": ((1.0,), lambda x, a: torch.where(x > a, x, torch.zeros_like(x))),
    "elu": ((1.0,), lambda x, a: functional.elu(x, a)),
    "hardsigmoid": ((0.2, 0.5), lambda x, a, b: torch.clamp(a * x + b, 0, 1)),
    "scaledtanh": ((1.0, 1.0), lambda x, a, b: a * torch.tanh(b * x)),
    "affine": ((1.0, 0.0), lambda x, a, b: a * x + b),
    "clip": ((-math.inf, math.inf), lambda x, a, b: torch.clamp(x, a, b)),
}
"""By name, the parameters they have by default, and how they are computed."""


def activate(x: Tensor, name: str, parameters: Sequence[float] = ()) -> Tensor:
    """An activation by its name.

    Raises:
        ValueError: nobody knows it.
    """
    known = name.lower()
    if known in PLAIN:
        return PLAIN[known](x)
    if known not in WITH:
        raise ValueError(f"no activation is called '{name}'")
    defaults, function = WITH[known]
    stated = [*parameters[: len(defaults)], *defaults[len(parameters) :]]
    return function(x, *stated)


@op("Gelu", domain=MICROSOFT)
def gelu(x: Tensor) -> Tensor:
    return functional.gelu(x)


@op("QuickGelu", domain=MICROSOFT)
def quick_gelu(x: Tensor, *, alpha: float = 1.702) -> Tensor:
    return x * torch.sigmoid(alpha * x)


@op("BiasGelu", domain=MICROSOFT)
def bias_gelu(x: Tensor, bias: Tensor) -> Tensor:
    return functional.gelu(x + bias)


@op("FastGelu", domain=MICROSOFT)
def fast_gelu(x: Tensor, bias: Tensor | None = None) -> Tensor:
    return functional.gelu(x if bias is None else x + bias, approximate="tanh")


@op("FusedGemm", domain=MICROSOFT)
def fused_gemm(
    a: Tensor,
    b: Tensor,
    c: Tensor | None = None,
    *,
    activation: str = "",
    activation_alpha: float | None = None,
    activation_beta: float | None = None,
    activation_gamma: float | None = None,
    alpha: float = 1.0,
    beta: float = 1.0,
    transA: int = 0,
    transB: int = 0,
) -> Tensor:
    from spa.torch.ops.linear import gemm

    made = gemm(a, b, c, alpha=alpha, beta=beta, transA=transA, transB=transB)
    stated = [v for v in (activation_alpha, activation_beta) if v is not None]
    return activate(made, activation, stated)
