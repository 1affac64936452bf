"""Norms: over a batch, over channels, over groups of them."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import Parameter, functional

from spa.torch.program import Mode
from spa.torch.registry import MICROSOFT, op


@op("BatchNormalization", until=13, steer=(3, 4))
def batch_normalization_9(
    x: Tensor,
    scale: Tensor,
    shift: Tensor,
    mean: Tensor,
    var: Tensor,
    *,
    epsilon: float = 1e-5,
    momentum: float = 0.9,
    spatial: int = 1,
    is_test: int = 0,
    state: Mode,
    outputs: int,
) -> Tensor | tuple[Tensor, ...]:
    """With more outputs it was exported in training mode, which no inference runs."""
    y = _normalized(x, scale, shift, mean, var, epsilon, momentum, state)
    return y if outputs == 1 else (y, mean, var, mean, var)[:outputs]


@op("BatchNormalization", since=14, steer=(3, 4))
def batch_normalization(
    x: Tensor,
    scale: Tensor,
    shift: Tensor,
    mean: Tensor,
    var: Tensor,
    *,
    epsilon: float = 1e-5,
    momentum: float = 0.9,
    training_mode: int = 0,
    state: Mode,
    outputs: int,
) -> Tensor | tuple[Tensor, ...]:
    if not training_mode:
        return _normalized(x, scale, shift, mean, var, epsilon, momentum, state)
    axes = (0, *range(2, x.dim()))
    own, spread = x.mean(axes), x.var(axes, unbiased=False)
    y = functional.batch_norm(x, None, None, scale, shift, True, 0.0, epsilon)
    if outputs == 1:
        return y
    kept = 1 - momentum
    running = (mean * momentum + own * kept, var * momentum + spread * kept)
    return (y, *(r.to(mean.dtype) for r in running))[:outputs]


def _normalized(
    x: Tensor,
    scale: Tensor,
    shift: Tensor,
    mean: Tensor,
    var: Tensor,
    epsilon: float,
    momentum: float,
    state: Mode,
) -> Tensor:
    """On stored statistics, or on those of the batch, which the stored ones then follow.

    Statistics that a file shares with a weight are no place for those of a batch.
    """
    if not state.training or state.norms == "frozen":
        mean, var = mean.detach(), var.detach()
        return functional.batch_norm(x, mean, var, scale, shift, False, 0.0, epsilon)
    if isinstance(mean, Parameter) or isinstance(var, Parameter):
        return functional.batch_norm(x, None, None, scale, shift, True, 0.0, epsilon)
    follow = 1 - momentum
    if state.norms == "batch":
        before = state.seen.get(id(mean), 0)
        state.seen[id(mean)] = before + 1
        follow = 1 / (before + 1)
    return functional.batch_norm(x, mean, var, scale, shift, True, follow, epsilon)


@op("InstanceNormalization")
def instance_normalization(
    x: Tensor, scale: Tensor, shift: Tensor, *, epsilon: float = 1e-5
) -> Tensor:
    axes = tuple(range(2, x.dim()))
    centred = x - x.mean(axes, keepdim=True)
    var = (centred * centred).mean(axes, keepdim=True)
    shape = (-1, *[1] * len(axes))
    return centred * torch.rsqrt(var + epsilon) * scale.reshape(shape) + shift.reshape(shape)


@op("LayerNormalization")  # optimisers leave it in files of older opsets, too
def layer_normalization(
    x: Tensor,
    scale: Tensor,
    shift: Tensor | None = None,
    *,
    axis: int = -1,
    epsilon: float = 1e-5,
    stash_type: int = 1,
    outputs: int,
) -> Tensor | tuple[Tensor, ...]:
    rank = x.dim()
    shape = x.shape[axis % rank :]
    if scale.shape == shape and (shift is None or shift.shape == shape):
        y = functional.layer_norm(x, shape, scale, shift, epsilon)
    else:
        y = functional.layer_norm(x, shape, None, None, epsilon) * scale
        y = y if shift is None else y + shift
    if outputs == 1:
        return y
    axes = tuple(range(axis % rank, rank))
    mean = x.mean(axes, keepdim=True)
    var = ((x - mean) ** 2).mean(axes, keepdim=True)
    return (y, mean, torch.rsqrt(var + epsilon))[:outputs]


@op("RMSNormalization")
def rms_normalization(
    x: Tensor, scale: Tensor, *, axis: int = -1, epsilon: float = 1e-5, stash_type: int = 1
) -> Tensor:
    axes = tuple(range(axis % x.dim(), x.dim()))
    return x * torch.rsqrt((x * x).mean(axes, keepdim=True) + epsilon) * scale


@op("SimplifiedLayerNormalization")
def simplified_layer_normalization(
    x: Tensor,
    scale: Tensor,
    *,
    axis: int = -1,
    epsilon: float = 1e-5,
    stash_type: int = 1,
    outputs: int,
) -> Tensor | tuple[Tensor, Tensor]:
    axes = tuple(range(axis % x.dim(), x.dim()))
    inverse = torch.rsqrt((x * x).mean(axes, keepdim=True) + epsilon)
    y = x * inverse * scale
    return y if outputs == 1 else (y, inverse)


@op("GroupNormalization", until=20)
def group_normalization_18(
    x: Tensor,
    scale: Tensor,
    shift: Tensor,
    *,
    epsilon: float = 1e-5,
    num_groups: int,
) -> Tensor:
    """Scale and shift are per group."""
    each = x.shape[1] // num_groups
    return functional.group_norm(
        x, num_groups, scale.repeat_interleave(each), shift.repeat_interleave(each), epsilon
    )


@op("GroupNormalization", since=21)
def group_normalization(
    x: Tensor,
    scale: Tensor,
    shift: Tensor,
    *,
    epsilon: float = 1e-5,
    num_groups: int,
    stash_type: int = 1,
) -> Tensor:
    return functional.group_norm(x, num_groups, scale, shift, epsilon)


@op("LRN")
def lrn(
    x: Tensor, *, alpha: float = 1e-4, beta: float = 0.75, bias: float = 1.0, size: int
) -> Tensor:
    around = (*[0, 0] * (x.dim() - 2), (size - 1) // 2, size // 2)
    squares = functional.pad(x * x, around).unfold(1, size, 1).sum(-1)
    return x / (bias + alpha / size * squares) ** beta


@op("LpNormalization")
def lp_normalization(x: Tensor, *, axis: int = -1, p: int = 2) -> Tensor:
    norm = x.norm(p, axis, keepdim=True)
    return torch.where(norm == 0, torch.zeros_like(x), x / torch.where(norm == 0, 1, norm))


@op("MeanVarianceNormalization")
def mean_variance_normalization(
    x: Tensor, *, axes: tuple[int, ...] = (0, 2, 3), across_channels: int = 0
) -> Tensor:
    mean = x.mean(axes, keepdim=True)
    var = (x * x).mean(axes, keepdim=True) - mean * mean
    return (x - mean) / (var.sqrt() + 1e-9)


@op("SkipLayerNormalization", domain=MICROSOFT)
def skip_layer_normalization(
    x: Tensor,
    skip: Tensor,
    scale: Tensor,
    shift: Tensor | None = None,
    bias: Tensor | None = None,
    *,
    epsilon: float = 1e-12,
    outputs: int,
) -> Tensor | tuple[Tensor, ...]:
    whole = x + skip if bias is None else x + skip + bias
    y = functional.layer_norm(whole, whole.shape[-1:], scale, shift, epsilon)
    if outputs == 1:
        return y
    mean = whole.mean(-1, keepdim=True)
    var = ((whole - mean) ** 2).mean(-1, keepdim=True)
    return (y, mean, torch.rsqrt(var + epsilon), whole)[:outputs]


@op("SkipSimplifiedLayerNormalization", domain=MICROSOFT)
def skip_simplified_layer_normalization(
    x: Tensor,
    skip: Tensor,
    scale: Tensor,
    bias: Tensor | None = None,
    *,
    epsilon: float = 1e-12,
    outputs: int,
) -> Tensor | tuple[Tensor, ...]:
    whole = x + skip if bias is None else x + skip + bias
    inverse = torch.rsqrt((whole * whole).mean(-1, keepdim=True) + epsilon)
    y = whole * inverse * scale
    return y if outputs == 1 else (y, inverse, inverse, whole)[:outputs]


@op("EmbedLayerNormalization", domain=MICROSOFT)
def embed_layer_normalization(
    ids: Tensor,
    segments: Tensor | None,
    words: Tensor,
    positions: Tensor,
    kinds: Tensor | None,
    scale: Tensor,
    shift: Tensor,
    mask: Tensor | None = None,
    places: Tensor | None = None,
    *,
    epsilon: float = 1e-12,
    mask_index_type: int = 1,
    outputs: int,
) -> Tensor | tuple[Tensor, ...]:
    """Tables are added, then normed; the mask becomes the number of tokens of each row."""
    at = functional.embedding(ids.long(), words)
    if places is None:
        whole = at + positions[: ids.shape[1]]
    else:
        whole = at + functional.embedding(places.long(), positions)
    if segments is not None and kinds is not None:
        whole = whole + functional.embedding(segments.long(), kinds)
    y = functional.layer_norm(whole, whole.shape[-1:], scale, shift, epsilon)
    if mask is None:
        counts = torch.zeros(ids.shape[0], dtype=torch.int32, device=ids.device)
    else:
        counts = mask.sum(1).to(torch.int32)
    return y if outputs == 1 else (y, counts, whole)[:outputs]
