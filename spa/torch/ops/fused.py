"""Attention of onnxruntime's domain: with its projection, of many heads, of grouped queries."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from spa.torch.ops.attention import allowed, as_bias, attend, flat, heads, rotated, scored, shared
from spa.torch.registry import MICROSOFT, op


def masked(
    mask: Tensor | None, batch: int, keys: int, like: Tensor, low: float, before: int = 0
) -> Tensor | None:
    """A mask in one of the forms of onnxruntime, as what is added to scores.

    A row of lengths, of ends and then starts, a mask of keys, of keys by query, or of all.
    """
    if mask is None:
        return None
    if mask.dim() == 1 and mask.numel() in (batch, 2 * batch):
        place = torch.arange(keys, device=like.device)
        seen = place < mask[:batch, None]
        if mask.numel() == 2 * batch:
            seen = seen & (place >= mask[batch:, None])
        return as_bias(seen[:, None, None], like, low)
    if mask.dim() == 2:
        return as_bias((mask > 0)[:, None, None], like, low)
    if mask.dim() == 3:
        return as_bias((mask > 0)[:, None], like, low)
    if mask.dim() == 4:
        return as_bias(mask[:, :, before:keys, :keys] > 0, like, low)
    raise ValueError(f"a mask of the shape {list(mask.shape)} is not known")


def _sum(*terms: Tensor | None) -> Tensor | None:
    found = [t for t in terms if t is not None]
    return sum(found[1:], found[0]) if found else None


def _causal(q: Tensor, k: Tensor, wanted: int) -> Tensor | None:
    if not wanted:
        return None
    seen = allowed(q.shape[2], k.shape[2], k.shape[2] - q.shape[2], q.device)
    return as_bias(seen, q, torch.finfo(q.dtype).min)


@op("Attention", domain=MICROSOFT, steer=(3, 6))
def attention(
    x: Tensor,
    w: Tensor,
    b: Tensor | None = None,
    mask: Tensor | None = None,
    past: Tensor | None = None,
    bias: Tensor | None = None,
    past_length: Tensor | None = None,
    *,
    do_rotary: int = 0,
    mask_filter_value: float = -10000.0,
    num_heads: int,
    past_present_share_buffer: int = 0,
    qkv_hidden_sizes: Sequence[int] | None = None,
    rotary_embedding_dim: int = 0,
    scale: float = 0.0,
    unidirectional: int = 0,
    outputs: int,
) -> Tensor | tuple[Tensor, Tensor]:
    """Queries, keys and values are columns of one product."""
    if do_rotary or past_present_share_buffer:
        raise ValueError("rotation inside, and a past that is shared, have no gradients here")
    made = x @ w if b is None else x @ w + b
    sizes = list(qkv_hidden_sizes or [made.shape[-1] // 3] * 3)
    q, k, v = (heads(part, num_heads) for part in made.split(sizes, -1))
    before = 0
    if past is not None:
        before = past.shape[3]
        k, v = torch.cat([past[0], k], 2), torch.cat([past[1], v], 2)
    by = scale or 1 / math.sqrt(q.shape[3])
    own = masked(mask, x.shape[0], k.shape[2], q, mask_filter_value, before)
    y = flat(attend(q, k, v, _sum(own, _causal(q, k, unidirectional), bias), by))
    return y if outputs == 1 else (y, torch.stack([k, v]))


@op("MultiHeadAttention", domain=MICROSOFT, steer=(4, 8, 9))
def multi_head_attention(
    q: Tensor,
    k: Tensor | None = None,
    v: Tensor | None = None,
    b: Tensor | None = None,
    mask: Tensor | None = None,
    bias: Tensor | None = None,
    past_key: Tensor | None = None,
    past_value: Tensor | None = None,
    past_length: Tensor | None = None,
    beams: Tensor | None = None,
    *,
    mask_filter_value: float = -10000.0,
    num_heads: int,
    scale: float = 0.0,
    unidirectional: int = 0,
    outputs: int,
) -> Tensor | tuple[Tensor, ...]:
    """Keys and values apart, packed with each other or with queries, or split into heads."""
    if q.dim() == 5:  # batch, time, heads, three, size
        q, k, v = (part.flatten(2) for part in q.unbind(3))
    elif k is not None and k.dim() == 5:
        k, v = (part.flatten(2) for part in k.unbind(3))
    if k is None or v is None:
        raise ValueError("keys or values are missing")
    if b is not None:
        widths = q.shape[-1], _width(k), _width(v)
        bq, bk, bv = b.split(widths)
        q = q + bq
        k = k + bk if k.dim() == 3 else k + bk.reshape(num_heads, 1, -1)
        v = v + bv if v.dim() == 3 else v + bv.reshape(num_heads, 1, -1)
    q, k, v = heads(q, num_heads), _split(k, num_heads), _split(v, num_heads)
    if past_key is not None and past_value is not None:
        k, v = torch.cat([past_key, k], 2), torch.cat([past_value, v], 2)
    by = scale or 1 / math.sqrt(q.shape[3])
    own = masked(mask, q.shape[0], k.shape[2], q, mask_filter_value)
    whole = _sum(own, _causal(q, k, unidirectional), bias)
    if outputs > 3:
        y, scores = scored(q, k, v, whole, by)
        return (flat(y), k, v, scores[0])
    y = flat(attend(q, k, v, whole, by))
    return y if outputs == 1 else (y, k, v)[:outputs]


def _width(x: Tensor) -> int:
    return x.shape[-1] if x.dim() == 3 else x.shape[1] * x.shape[3]


def _split(x: Tensor, number: int) -> Tensor:
    return heads(x, number) if x.dim() == 3 else x


@op("GroupQueryAttention", domain=MICROSOFT, host=(5, 6), steer=(9,))
def group_query_attention(
    q: Tensor,
    k: Tensor | None = None,
    v: Tensor | None = None,
    past_key: Tensor | None = None,
    past_value: Tensor | None = None,
    lengths: Tensor | None = None,
    total: Tensor | None = None,
    cos: Tensor | None = None,
    sin: Tensor | None = None,
    places: Tensor | None = None,
    bias: Tensor | None = None,
    sink: Tensor | None = None,
    *,
    do_rotary: int = 0,
    kv_num_heads: int,
    local_window_size: int = -1,
    num_heads: int,
    rotary_interleaved: int = 0,
    scale: float = 0.0,
    smooth_softmax: int = 0,
    softcap: float = 0.0,
    outputs: int,
) -> Tensor | tuple[Tensor, ...]:
    """Causal; all rows of the batch have the same past."""
    if k is None or v is None:
        size = q.shape[2] // (num_heads + 2 * kv_num_heads)
        q, k, v = q.split([num_heads * size, kv_num_heads * size, kv_num_heads * size], -1)
    q, k, v = heads(q, num_heads), heads(k, kv_num_heads), heads(v, kv_num_heads)
    before = _past(past_key, q.shape[2], lengths, total)
    if do_rotary and cos is not None and sin is not None:
        at = (
            torch.arange(before, before + q.shape[2], device=q.device) if places is None else places
        )
        size = 2 * cos.shape[1]
        angles = cos[at.long()], sin[at.long()]
        angles = angles if at.dim() == 1 else (angles[0][:, None], angles[1][:, None])
        q = rotated(q, *angles, rotary_interleaved, size)
        k = rotated(k, *angles, rotary_interleaved, size)
    if before and past_key is not None and past_value is not None:
        k = torch.cat([past_key[:, :, :before], k], 2)
        v = torch.cat([past_value[:, :, :before], v], 2)
    keys = k.shape[2]
    left = local_window_size - 1 if local_window_size > 0 else -1
    seen = allowed(q.shape[2], keys, before, q.device, left=left)
    by = scale or 1 / math.sqrt(q.shape[3])
    hidden = as_bias(seen, q)
    whole = hidden if bias is None else hidden + bias[..., :keys]
    if smooth_softmax or sink is not None:
        y = _with_sink(q, k, v, whole, by, softcap, sink)
    else:
        y = attend(q, k, v, whole, by, softcap)
    return flat(y) if outputs == 1 else (flat(y), k, v)[:outputs]


def _past(past: Tensor | None, queries: int, lengths: Tensor | None, total: Tensor | None) -> int:
    """How many keys lie before the first query, in every row of the batch."""
    whole = queries if total is None else int(total.reshape(-1)[0].item())
    if past is None or whole <= queries:
        return 0
    known = {n + 1 - queries for n in lengths.reshape(-1).tolist()} if lengths is not None else {0}
    if len(known) > 1:
        raise ValueError("rows of the batch have pasts of several lengths")
    return int(known.pop())


def _with_sink(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    bias: Tensor,
    scale: float,
    softcap: float,
    sink: Tensor | None,
) -> Tensor:
    """One more score per head, whose share goes nowhere."""
    k, v = shared(k, q.shape[1]), shared(v, q.shape[1])
    raw = scale * q @ k.transpose(-1, -2)
    raw = softcap * torch.tanh(raw / softcap) if softcap else raw
    own = raw.new_zeros(q.shape[1]) if sink is None else sink
    column = own.reshape(1, -1, 1, 1).expand(*raw.shape[:3], 1)
    shares = torch.softmax(torch.cat([raw + bias, column], -1), -1)[..., :-1]
    return shares @ v


@op("RotaryEmbedding", domain=MICROSOFT, steer=(1,))
def rotary_embedding(
    x: Tensor,
    places: Tensor,
    cos: Tensor,
    sin: Tensor,
    *,
    interleaved: int = 0,
    is_packed_batching: int = 0,
    num_heads: int = 0,
    rotary_embedding_dim: int = 0,
    scale: float = 1.0,
) -> Tensor:
    """A single place is that of the first row."""
    size = 2 * cos.shape[1]
    number = num_heads or (x.shape[2] // size if x.dim() == 3 else x.shape[1])
    held = heads(x, number) if x.dim() == 3 else x
    if places.numel() == 1 and places.dim() == 1:
        at = places.long() + torch.arange(held.shape[2], device=places.device)
        made = rotated(held, cos[at], sin[at], interleaved, size)
    else:
        at = places.long()
        made = rotated(held, cos[at][:, None], sin[at][:, None], interleaved, size)
    return flat(made) if x.dim() == 3 else made
