"""Windows that slide: what attributes of convolutions and pools mean."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from torch import Tensor
from torch.nn import functional

Ints = Sequence[int]


@dataclass(frozen=True)
class Window:
    """A window over some axes; pads are those before all axes, then those behind."""

    kernel: tuple[int, ...]
    strides: tuple[int, ...]
    pads: tuple[int, ...]
    dilations: tuple[int, ...]


def window(
    kernel: Ints,
    strides: Ints | None,
    pads: Ints | None,
    dilations: Ints | None,
    auto_pad: str,
    size: Ints,
) -> Window:
    """The window of a node on an input of a size, with all that attributes leave open."""
    rank = len(kernel)
    step = tuple(strides or (1,) * rank)
    reach = tuple(dilations or (1,) * rank)
    around = tuple(pads or (0,) * 2 * rank)
    if auto_pad in ("SAME_UPPER", "SAME_LOWER"):
        spans = [(k - 1) * d + 1 for k, d in zip(kernel, reach, strict=True)]
        total = [
            max(0, (-(-n // s) - 1) * s + span - n)
            for n, s, span in zip(size, step, spans, strict=True)
        ]
        less, more = [t // 2 for t in total], [t - t // 2 for t in total]
        around = (*less, *more) if auto_pad == "SAME_UPPER" else (*more, *less)
    elif auto_pad == "VALID":
        around = (0,) * 2 * rank
    return Window(tuple(kernel), step, around, reach)


def covered(how: Window, size: Ints) -> Window:
    """A window whose last step may reach beyond the padding, but must begin before it."""
    rank = len(how.kernel)
    more = []
    for k, n in enumerate(size):
        span = (how.kernel[k] - 1) * how.dilations[k] + 1
        whole = n + how.pads[k] + how.pads[k + rank]
        steps = -(-(whole - span) // how.strides[k])
        if steps * how.strides[k] >= n + how.pads[k]:
            steps -= 1
        more.append(max(0, steps * how.strides[k] + span - whole))
    behind = [p + m for p, m in zip(how.pads[rank:], more, strict=True)]
    return replace(how, pads=(*how.pads[:rank], *behind))


def padded(x: Tensor, pads: Ints, value: float = 0.0) -> Tensor:
    """A tensor with its last axes padded; negative pads cut."""
    if not any(pads):
        return x
    rank = len(pads) // 2
    flat = [p for k in reversed(range(rank)) for p in (pads[k], pads[k + rank])]
    return functional.pad(x, flat, "constant", value)
