"""Mixtures of experts, and weights of a few bits that a product unpacks."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from spa.torch.ops.activations import activate
from spa.torch.registry import MICROSOFT, op

INTERLEAVED = 1


@op("MoE", domain=MICROSOFT)
def moe(
    x: Tensor,
    router: Tensor,
    w1: Tensor,
    b1: Tensor | None,
    w2: Tensor,
    b2: Tensor | None = None,
    w3: Tensor | None = None,
    b3: Tensor | None = None,
    *,
    activation_alpha: float = 1.0,
    activation_beta: float = 0.0,
    activation_type: str = "relu",
    k: int = 1,
    normalize_routing_weights: int = 0,
    swiglu_fusion: int = 0,
    swiglu_limit: float | None = None,
    use_sparse_mixer: int = 0,
) -> Tensor:
    """Each token is the sum of what its `k` experts make of it, weighted by the router.

    Args: x `[.., c]`, router `[tokens, experts]`, w1 `[experts, hidden, c]`, w2 `[experts, c,
    hidden]`, w3 as w1.
    """
    if use_sparse_mixer:
        raise ValueError("a sparse mixer has no gradients here")
    rows = x.reshape(-1, x.shape[-1])
    chosen, experts = router.softmax(-1).topk(k, -1)
    if normalize_routing_weights:
        chosen = chosen / chosen.sum(-1, keepdim=True)
    shares = torch.zeros_like(router).scatter(1, experts, chosen)
    made = torch.zeros_like(rows)
    for number in range(w1.shape[0]):
        at = shares[:, number].nonzero().reshape(-1)
        if not at.numel():
            continue
        held = rows[at]
        hidden = functional.linear(held, w1[number], None if b1 is None else b1[number])
        if activation_type == "swiglu":
            more = (activation_alpha, activation_beta, swiglu_limit)
            hidden = _gated(hidden, swiglu_fusion == INTERLEAVED, *more)
        else:
            hidden = activate(hidden, activation_type)
        if w3 is not None:
            third = None if b3 is None else b3[number]
            hidden = hidden * functional.linear(held, w3[number], third)
        y = functional.linear(hidden, w2[number], None if b2 is None else b2[number])
        made = made.index_add(0, at, y * shares[at, number, None])
    return made.reshape(x.shape)


def _gated(x: Tensor, interleaved: bool, alpha: float, beta: float, limit: float | None) -> Tensor:
    """Gate sigmoid(alpha gate) (linear + beta), with both held within a limit."""
    gate, linear = (x[..., 0::2], x[..., 1::2]) if interleaved else x.chunk(2, -1)
    if limit is not None:
        gate, linear = gate.clamp(max=limit), linear.clamp(-limit, limit)
    return gate * torch.sigmoid(alpha * gate) * (linear + beta)


def unpacked(x: Tensor, bits: int) -> Tensor:
    """Bytes as whole numbers of `bits` bits, of which the lowest come first."""
    if bits == 8:
        return x
    each = 8 // bits
    shifts = torch.arange(each, device=x.device, dtype=torch.int32) * bits
    made = (x.to(torch.int32)[..., None] >> shifts) & ((1 << bits) - 1)
    return made.flatten(-2)


@op("MatMulNBits", domain=MICROSOFT, steer=(1, 2, 3, 4))
def matmul_nbits(
    x: Tensor,
    w: Tensor,
    scales: Tensor,
    zeros: Tensor | None = None,
    groups: Tensor | None = None,
    bias: Tensor | None = None,
    *,
    K: int,
    N: int,
    accuracy_level: int = 0,
    bits: int = 4,
    block_size: int,
    weight_prepacked: int = 0,
) -> Tensor:
    """Gradients reach the data and the bias; the weight is stored in few bits."""
    blocks = -(-K // block_size)
    held = unpacked(w.reshape(N, blocks, -1), bits)[..., :block_size].to(x.dtype)
    if zeros is None:
        shift = torch.full((N, blocks), float(1 << (bits - 1)), device=x.device, dtype=x.dtype)
    elif zeros.is_floating_point():
        shift = zeros.reshape(N, blocks)
    else:
        shift = unpacked(zeros.reshape(N, -1), bits)[:, :blocks].to(x.dtype)
    by = scales.reshape(N, blocks).to(x.dtype)
    if groups is not None and groups.numel() == K:
        at = groups.long()
        whole = held.reshape(N, -1)[:, :K]
        weight = (whole - shift[:, at]) * by[:, at]
    else:
        weight = ((held - shift[..., None]) * by[..., None]).reshape(N, -1)[:, :K]
    return functional.linear(x, weight, bias)


@op("GatherBlockQuantized", domain=MICROSOFT, steer=(0, 1, 2, 3))
def gather_block_quantized(
    table: Tensor,
    index: Tensor,
    scales: Tensor,
    zeros: Tensor | None = None,
    *,
    bits: int = 4,
    block_size: int = 128,
    gather_axis: int = 0,
    quantize_axis: int = 1,
) -> Tensor:
    """Rows of a table of few bits, in the type of its scales; no gradient reaches them."""
    packed = table.dtype == torch.uint8
    held = unpacked(table, bits) if packed else table
    along = quantize_axis % held.dim()
    by = scales.repeat_interleave(block_size, along).narrow(along, 0, held.shape[along])
    if zeros is not None:
        shift = unpacked(zeros, bits) if packed else zeros
        shift = shift.narrow(along, 0, scales.shape[along])
        shift = shift.repeat_interleave(block_size, along).narrow(along, 0, held.shape[along])
        whole = held.to(scales.dtype) - shift.to(scales.dtype)
    else:
        whole = held.to(scales.dtype) - (float(1 << (bits - 1)) if packed else 0.0)
    place = gather_axis % held.dim()
    at = index.long().reshape(-1)
    at = torch.where(at < 0, at + held.shape[place], at)
    rows = (whole * by).index_select(place, at)
    return rows.reshape(*held.shape[:place], *index.shape, *held.shape[place + 1 :])
