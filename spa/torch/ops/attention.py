"""Attention, of the standard and as onnxruntime fuses it, and what rotates queries and keys."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional

from spa.torch.ops.flow import ran
from spa.torch.program import Program
from spa.torch.registry import op
from spa.torch.values import DTYPES


def heads(x: Tensor, number: int) -> Tensor:
    """`[batch, time, heads * size]` as `[batch, heads, time, size]`."""
    return x.unflatten(2, (number, -1)).transpose(1, 2)


def flat(x: Tensor) -> Tensor:
    """`[batch, heads, time, size]` as `[batch, time, heads * size]`."""
    return x.transpose(1, 2).flatten(2)


def shared(x: Tensor, number: int) -> Tensor:
    """Heads of keys or values, each as often as queries read it: `number` in all."""
    times = number // x.shape[1]
    return x if times == 1 else x.repeat_interleave(times, 1)


def allowed(
    queries: int,
    keys: int,
    offset: Tensor | int,
    device: torch.device,
    *,
    causal: bool = True,
    left: int = -1,
    right: int = -1,
) -> Tensor:
    """Which keys a query may see, `[queries, keys]` or `[batch, 1, queries, keys]`.

    Args:
        queries: how many.
        keys: how many.
        offset: keys before the first query, of each row of the batch or of all.
        device: where the result lies.
        causal: whether later keys are hidden.
        left: how far before itself a query sees, -1 without bound.
        right: likewise behind.
    """
    at = torch.arange(queries, device=device)[:, None]
    place = torch.arange(keys, device=device)
    if isinstance(offset, Tensor):
        offset = offset.to(device).reshape(-1, 1, 1, 1)
    ahead = place - at - offset
    seen = ahead <= 0 if causal else torch.ones_like(ahead, dtype=torch.bool)
    if left >= 0:
        seen = seen & (ahead >= -left)
    return seen & (ahead <= right) if right >= 0 else seen


def as_bias(seen: Tensor, like: Tensor, low: float = -math.inf) -> Tensor:
    """A mask of truth as what is added to scores."""
    return torch.zeros((), dtype=like.dtype, device=like.device).masked_fill(~seen, low)


def attend(
    q: Tensor, k: Tensor, v: Tensor, bias: Tensor | None, scale: float, softcap: float = 0.0
) -> Tensor:
    """softmax(q k^T scale + bias) v, by torch's kernel; a query that sees nothing gives 0."""
    k, v = shared(k, q.shape[1]), shared(v, q.shape[1])
    if softcap or bias is not None:
        return scored(q, k, v, bias, scale, softcap)[0]
    return functional.scaled_dot_product_attention(q, k, v, None, 0.0, False, scale=scale)


def scored(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    bias: Tensor | None,
    scale: float,
    softcap: float = 0.0,
    precision: torch.dtype | None = None,
) -> tuple[Tensor, list[Tensor]]:
    """The same step by step, with what scores were: raw, capped, with bias, as probabilities."""
    raw = (q * math.sqrt(scale)) @ (k * math.sqrt(scale)).transpose(-1, -2)
    capped = softcap * torch.tanh(raw / softcap) if softcap else raw
    full = capped if bias is None else capped + bias
    shares = torch.softmax(full if precision is None else full.to(precision), -1)
    if bias is not None:
        blind = torch.isneginf(bias.amax(-1, keepdim=True))
        shares = shares.masked_fill(blind, 0.0)
    shares = shares.to(q.dtype)
    return shares @ v, [raw, capped, full, shares]


@op("Attention", since=23, steer=(6,))
def attention(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    mask: Tensor | None = None,
    past_key: Tensor | None = None,
    past_value: Tensor | None = None,
    lengths: Tensor | None = None,
    *,
    is_causal: int = 0,
    kv_num_heads: int = 0,
    left_window_size: int = -1,
    q_num_heads: int = 0,
    qk_matmul_output_mode: int = 0,
    right_window_size: int = -1,
    scale: float | None = None,
    softcap: float = 0.0,
    softmax_precision: int | None = None,
    outputs: int,
) -> Tensor | tuple[Tensor, ...]:
    rank = q.dim()
    if rank == 3:
        q, k, v = heads(q, q_num_heads), heads(k, kv_num_heads), heads(v, kv_num_heads)
    before = 0 if past_key is None else past_key.shape[2]
    if past_key is not None and past_value is not None:
        k, v = torch.cat([past_key, k], 2), torch.cat([past_value, v], 2)
    present = k, v
    number, keys = q.shape[2], k.shape[2]
    bias = _mask_of(mask, q, keys)
    window = left_window_size >= 0 or right_window_size >= 0
    if is_causal or window:
        own = lengths is not None and past_key is None
        offset = lengths - number if own and lengths is not None else before
        seen = allowed(
            number,
            keys,
            offset,
            q.device,
            causal=bool(is_causal),
            left=left_window_size,
            right=right_window_size,
        )
        bias = as_bias(seen, q) if bias is None else bias + as_bias(seen, q)
    if lengths is not None:
        seen = torch.arange(keys, device=q.device) < lengths.to(q.device).reshape(-1, 1, 1, 1)
        bias = as_bias(seen, q) if bias is None else bias + as_bias(seen, q)
    by = 1 / math.sqrt(q.shape[3]) if scale is None else scale
    k, v = shared(k, q.shape[1]), shared(v, q.shape[1])
    if outputs > 3 or softmax_precision is not None:
        kind = None if softmax_precision is None else DTYPES[softmax_precision]
        y, scores = scored(q, k, v, bias, by, softcap, kind)
        shown = scores[qk_matmul_output_mode]
    else:
        y = shown = attend(q, k, v, bias, by, softcap)
    y = flat(y) if rank == 3 else y
    return y if outputs == 1 else (y, *present, shown)[:outputs]


def _mask_of(mask: Tensor | None, q: Tensor, keys: int) -> Tensor | None:
    """A mask as what is added to scores; keys that it says nothing of are hidden."""
    if mask is None:
        return None
    bias = as_bias(mask, q) if mask.dtype == torch.bool else mask
    missing = keys - bias.shape[-1]
    bias = functional.pad(bias, (0, missing), value=-math.inf) if missing > 0 else bias
    return bias if bias.dim() > 1 else bias[None]


@op("FlexAttention", domain="ai.onnx.preview")
def flex_attention(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    *outer: Tensor,
    prob_mod: Program | None = None,
    scale: float | None = None,
    score_mod: Program | None = None,
    softmax_precision: int | None = None,
) -> Tensor:
    """With bodies that change scores and probabilities, in the precision that is asked for."""
    dtype = torch.float64 if q.dtype == torch.float64 else torch.float32
    dtype = dtype if softmax_precision is None else DTYPES[softmax_precision]
    by = 1 / math.sqrt(q.shape[3]) if scale is None else scale
    k, v = shared(k, q.shape[1]), shared(v, q.shape[1])
    scores = (q @ k.transpose(-1, -2)).to(dtype) * by
    if score_mod is not None:
        scores = ran(score_mod, outer, (scores,))[0]  # type: ignore[assignment]
    shares = scores.softmax(-1)
    if prob_mod is not None:
        shares = ran(prob_mod, outer, (shares,))[0]  # type: ignore[assignment]
    return shares.to(q.dtype) @ v


@op("RotaryEmbedding", since=23, steer=(3,))
def rotary_embedding(
    x: Tensor,
    cos: Tensor,
    sin: Tensor,
    places: Tensor | None = None,
    *,
    interleaved: int = 0,
    num_heads: int = 0,
    rotary_embedding_dim: int = 0,
) -> Tensor:
    held = heads(x, num_heads) if x.dim() == 3 else x
    if places is not None:
        cos, sin = cos[places.long()], sin[places.long()]
    made = rotated(held, cos[:, None], sin[:, None], interleaved, rotary_embedding_dim)
    return flat(made) if x.dim() == 3 else made


def rotated(x: Tensor, cos: Tensor, sin: Tensor, interleaved: int, size: int = 0) -> Tensor:
    """Pairs of channels turned by angles, in the first `size` channels (0: in all).

    Args:
        x: `[batch, heads, time, size of a head]`.
        cos: `[..., time, size / 2]`, as `sin`.
        sin: likewise.
        interleaved: whether pairs are neighbours; else one is of the first half, one of the other.
        size: of the part that is turned.
    """
    whole = x.shape[-1]
    size = size or whole
    turned, rest = x[..., :size], x[..., size:]
    if interleaved:
        a, b = turned[..., 0::2], turned[..., 1::2]
        made = torch.stack([cos * a - sin * b, sin * a + cos * b], -1).flatten(-2)
    else:
        a, b = turned.chunk(2, -1)
        made = torch.cat([cos * a - sin * b, sin * a + cos * b], -1)
    return made if size == whole else torch.cat([made, rest], -1)


@op("LinearAttention")
def linear_attention(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    past: Tensor | None = None,
    decay: Tensor | None = None,
    beta: Tensor | None = None,
    *,
    chunk_size: int = 64,
    kv_num_heads: int,
    q_num_heads: int,
    scale: float = 0.0,
    update_rule: str = "gated_delta",
    outputs: int,
) -> Tensor | tuple[Tensor, Tensor]:
    """S' = e^decay S + k (v - S^T k)^T beta step by step; y = scale S^T q."""
    narrow = q.dtype
    q, k, v = heads(q, q_num_heads), heads(k, kv_num_heads), heads(v, kv_num_heads)
    state = q.new_zeros((q.shape[0], kv_num_heads, k.shape[3], v.shape[3]))
    state = state if past is None else past
    by = scale or 1 / math.sqrt(k.shape[3])
    gates = None if decay is None else heads(decay, kv_num_heads).exp()
    rates = None if beta is None else heads(beta, beta.shape[-1])
    rows = []
    for step in range(q.shape[2]):
        key, value = k[:, :, step], v[:, :, step]
        if gates is not None:
            state = state * gates[:, :, step, :, None]
        if rates is not None:
            known = torch.einsum("bhdm,bhd->bhm", state, key)
            value = rates[:, :, step] * (value - known)
        state = state + key[..., :, None] * value[..., None, :]
        mine = shared(state, q_num_heads)
        rows.append(by * torch.einsum("bhdm,bhd->bhm", mine, q[:, :, step]))
    y = flat(torch.stack(rows, 2)).to(narrow)
    return y if outputs == 1 else (y, state)


@op("CausalConvWithState")
def causal_conv_with_state(
    x: Tensor,
    w: Tensor,
    b: Tensor | None = None,
    past: Tensor | None = None,
    *,
    activation: str = "none",
    outputs: int,
) -> Tensor | tuple[Tensor, Tensor]:
    before = x.new_zeros((*x.shape[:2], w.shape[2] - 1)) if past is None else past
    whole = torch.cat([before, x], 2)
    y = functional.conv1d(whole, w, b, groups=x.shape[1])
    y = y if activation == "none" else functional.silu(y)
    return y if outputs == 1 else (y, whole[:, :, whole.shape[2] - w.shape[2] + 1 :])


@op("TensorScatter", steer=(2,), moves=True)
def tensor_scatter(
    past: Tensor,
    update: Tensor,
    at: Tensor | None = None,
    *,
    axis: int = -2,
    mode: str = "linear",
) -> Tensor:
    """Rows of a cache from a place of each row of the batch on."""
    along = axis % past.dim()
    steps = torch.arange(update.shape[along], device=past.device)
    first = torch.zeros(past.shape[0], dtype=torch.int64) if at is None else at
    index = first.to(past.device)[:, None] + steps
    index = index % past.shape[along] if mode == "circular" else index
    shape = [1] * past.dim()
    shape[0], shape[along] = index.shape
    return past.scatter(along, index.reshape(shape).expand(update.shape), update)


@op("SwiGLU")
def swiglu(a: Tensor, b: Tensor, *, alpha: float = 1.0) -> Tensor:
    return a * torch.sigmoid(alpha * a) * b
