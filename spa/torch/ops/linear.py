"""Products of matrices."""

from __future__ import annotations

import torch
from torch import Tensor

from spa.torch.registry import MICROSOFT, op

op("MatMul")(torch.matmul)


@op("Gemm")
def gemm(
    a: Tensor,
    b: Tensor,
    c: Tensor | None = None,
    *,
    alpha: float = 1.0,
    beta: float = 1.0,
    transA: int = 0,
    transB: int = 0,
    broadcast: int = 0,
) -> Tensor:
    left, right = a.t() if transA else a, b.t() if transB else b
    if c is None:
        made = left @ right
        return made if alpha == 1 else alpha * made
    if not a.is_floating_point():
        return int(alpha) * (left @ right) + int(beta) * c
    return torch.addmm(c, left, right, beta=beta, alpha=alpha)


@op("Einsum")
def einsum(*tensors: Tensor, equation: str) -> Tensor:
    return torch.einsum(equation.replace(" ", ""), *tensors)


@op("FusedMatMul", "TransposeMatMul", domain=MICROSOFT)
def fused_matmul(
    a: Tensor,
    b: Tensor,
    *,
    alpha: float = 1.0,
    transA: int = 0,
    transB: int = 0,
    transBatchA: int = 0,
    transBatchB: int = 0,
) -> Tensor:
    """A batch that is transposed lies between the two axes of its matrices."""
    a, b = _batched(a, transBatchA), _batched(b, transBatchB)
    if transA and a.dim() > 1:
        a = a.transpose(-1, -2)
    if transB and b.dim() > 1:
        b = b.transpose(-1, -2)
    made = a @ b
    return made if alpha == 1 else alpha * made


def _batched(x: Tensor, transposed: int) -> Tensor:
    """`[m, batch, k]` as `[batch, m, k]`."""
    return x.movedim(0, -2) if transposed and x.dim() > 2 else x
