"""What onnxruntime's quantiser makes of whole operators: bytes in, bytes or floats out."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from spa.torch.ops.convolve import average_pool
from spa.torch.ops.fused import attention
from spa.torch.ops.integers import pair, rounded_to_bytes
from spa.torch.ops.normalize import embed_layer_normalization
from spa.torch.ops.quantize import quantize_linear
from spa.torch.ops.recurrent import lstm
from spa.torch.registry import ALL, MICROSOFT, op

Ints = Sequence[int]


@op("QLinearAveragePool", domain=MICROSOFT, steer=ALL)
def qlinear_average_pool(
    x: Tensor,
    sx: Tensor,
    zx: Tensor | None,
    sy: Tensor,
    zy: Tensor | None = None,
    *,
    auto_pad: str = "NOTSET",
    ceil_mode: int = 0,
    channels_last: int = 0,
    count_include_pad: int = 0,
    kernel_shape: Ints,
    pads: Ints | None = None,
    strides: Ints | None = None,
) -> Tensor:
    held = pair(x, sx, zx)
    made = average_pool(
        held.movedim(-1, 1) if channels_last else held,
        auto_pad=auto_pad,
        ceil_mode=ceil_mode,
        count_include_pad=count_include_pad,
        kernel_shape=kernel_shape,
        pads=pads,
        strides=strides,
    )
    made = made.movedim(1, -1) if channels_last else made
    return quantize_linear(made, sy, zy, soft=False, kinds=())


@op("QGemm", domain=MICROSOFT, steer=ALL)
def qgemm(
    a: Tensor,
    sa: Tensor,
    za: Tensor,
    b: Tensor,
    sb: Tensor,
    zb: Tensor,
    c: Tensor | None = None,
    sy: Tensor | None = None,
    zy: Tensor | None = None,
    *,
    alpha: float = 1.0,
    transA: int = 0,
    transB: int = 0,
) -> Tensor:
    """The bias counts in products of both scales."""
    left = a.double() - za.double()
    right = b.double() - (zb.double()[:, None] if transB and zb.numel() > 1 else zb.double())
    exact = (left.t() if transA else left) @ (right.t() if transB else right)
    exact = exact if c is None else exact + c.double()
    made = (alpha * exact * sa.double() * sb.double()).to(sa.dtype)
    return made if sy is None else quantize_linear(made, sy, zy, soft=False, kinds=())


@op("QEmbedLayerNormalization", domain=MICROSOFT, steer=ALL)
def qembed_layer_normalization(
    ids: Tensor,
    segments: Tensor | None,
    words: Tensor,
    positions: Tensor,
    kinds: Tensor | None,
    scale: Tensor,
    shift: Tensor,
    mask: Tensor | None,
    *more: Tensor,
    epsilon: float = 1e-12,
    outputs: int,
) -> Tensor | tuple[Tensor, ...]:
    """Five tables of bytes, then their scales, then their zero points."""
    tables = [words, positions, kinds, scale, shift]
    word, place, kind, by, plus = (
        None if table is None else pair(table, s, z)
        for table, s, z in zip(tables, more[:5], more[5:], strict=True)
    )
    if word is None or place is None or by is None or plus is None:
        raise ValueError("a table is missing")
    return embed_layer_normalization(
        ids, segments, word, place, kind, by, plus, mask, epsilon=epsilon, outputs=outputs
    )


@op("QAttention", domain=MICROSOFT, steer=(0, 1, 3, 4, 5, 6, 7))
def qattention(
    x: Tensor,
    w: Tensor,
    b: Tensor,
    sx: Tensor,
    sw: Tensor,
    mask: Tensor | None = None,
    zx: Tensor | None = None,
    zw: Tensor | None = None,
    past: Tensor | None = None,
    *,
    do_rotary: int = 0,
    mask_filter_value: float = -10000.0,
    num_heads: int,
    past_present_share_buffer: int = 0,
    scale: float = 0.0,
    unidirectional: int = 0,
    outputs: int,
) -> Tensor | tuple[Tensor, Tensor]:
    shift = 0.0 if zw is None else zw.to(sw.dtype)
    return attention(
        pair(x, sx, zx),
        (w.to(sw.dtype) - shift) * sw,
        b,
        mask,
        past,
        do_rotary=do_rotary,
        mask_filter_value=mask_filter_value,
        num_heads=num_heads,
        past_present_share_buffer=past_present_share_buffer,
        scale=scale,
        unidirectional=unidirectional,
        outputs=outputs,
    )


@op("DynamicQuantizeLSTM", domain=MICROSOFT, steer=(1, 2, 4, 8, 9, 10, 11))
def dynamic_quantize_lstm(
    x: Tensor,
    w: Tensor,
    r: Tensor,
    b: Tensor | None,
    lengths: Tensor | None,
    h: Tensor | None,
    c: Tensor | None,
    p: Tensor | None,
    sw: Tensor,
    zw: Tensor,
    sr: Tensor,
    zr: Tensor,
    *,
    activation_alpha: Sequence[float] | None = None,
    activation_beta: Sequence[float] | None = None,
    activations: Sequence[str] | None = None,
    clip: float | None = None,
    direction: str = "forward",
    hidden_size: int | None = None,
    input_forget: int = 0,
    outputs: int,
) -> Tensor | tuple[Tensor, ...]:
    """Weights lie transposed; the input and, at every step, the state are rounded to bytes."""
    held, back = (
        ((table.to(s.dtype) - _per_gate(z.to(s.dtype))) * _per_gate(s)).transpose(1, 2)
        for table, s, z in ((w, sw, zw), (r, sr, zr))
    )
    return lstm(
        rounded_to_bytes(x),
        held,
        back,
        b,
        lengths,
        h,
        c,
        p,
        rounded_to_bytes,
        activation_alpha=activation_alpha,
        activation_beta=activation_beta,
        activations=activations,
        clip=clip,
        direction=direction,
        hidden_size=hidden_size,
        input_forget=input_forget,
        outputs=outputs,
    )


def _per_gate(x: Tensor) -> Tensor:
    """One number per direction, or one per direction and gate."""
    return x.reshape(-1, 1, 1) if x.dim() == 1 else x[:, None]
