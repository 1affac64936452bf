"""Convolutions: they read one set of channels and make another, group by group."""

from __future__ import annotations

from math import prod

import numpy as np

from spa import labels
from spa.labels import Ids, Image
from spa.rules import neutral
from spa.rules.contraction import Contraction, of_convolution, of_transposed
from spa.rules.meet import alongside, still
from spa.rules.normalize import per_channel
from spa.rules.traits import trait
from spa.trace import Fixes, Op, Sizes, refit, rule

MIXED = "mixed by a convolution"


@rule("Conv", note="lossy where it slides along channels that lie where pixels do")
def conv(op: Op, x: Image, *_: Image) -> Image:  # n (g i) *, (g o) i *k, (g o) -> n (g o) *
    return _slide(op, x) if op.decide(lambda: _slides(op, x)) else convolved(op, x)


trait("Conv", neutral=neutral.passed, macs=of_convolution())
trait("Conv", contracts=Contraction(window="reads", bias=2))


def convolved(op: Op, x: Image) -> Image:
    """What all convolutions of images say whose channels come first."""
    g, (go, i, *k), out = op.attr("group", 1), op.shape(1), op.out()
    read = op.along(x, 1, MIXED).reshape(g, i)
    make = _weigh(op, (g, go // g, i, *k), read, (0, 2), float(prod(out[2:]) * out[0]))
    return _result(op, make, read, 2)


def _slides(op: Op, x: Image) -> bool:
    """Whether one filter slides along channels that lie where pixels do, and leaves as many."""
    axes = x.axes
    across = 1 not in axes and bool(axes - {0, 1})
    return across and x.shape == op.out() and op.is_const(1) and op.shape(1)[:2] == (1, 1)


def _slide(op: Op, x: Image) -> Image:
    """Channels side by side under a filter: of what is left, each has other neighbours."""
    op.lossy("a convolution along channels, of which some are gone")
    per_channel(op, 2, len(x.shape), ())
    view = (*op.out(), *op.shape(1)[2:])
    op.work(view, 1.0, *[labels.lay(p.dense, p.axes, len(view)) for p in x.maps])
    return op.like(x)


@rule("ConvTranspose")
def conv_transpose(
    op: Op, x: Image, *_: Image
) -> Image:  # n (g i) *, (g i) o *k, (g o) -> n (g o) *
    g, (gi, o, *k) = op.attr("group", 1), op.shape(1)
    read = op.along(x, 1, MIXED).reshape(g, gi // g)
    make = _weigh(op, (g, gi // g, o, *k), read, (0, 1), float(prod(x.shape[2:]) * x.shape[0]))
    return _result(op, make, read, 2)


trait("ConvTranspose", macs=of_transposed, contracts=Contraction(window="writes", bias=2))


@rule("DeformConv")
def deform_conv(op: Op, x: Image, *_: Image) -> Image:  # as Conv, with offsets for every (o c)
    still(op, 2, 4, reason="says where to look")
    g, (go, i, *k) = op.attr("group", 1), op.shape(1)
    read = op.along(x, 1, MIXED).reshape(g, i)
    op.rows(read.reshape(op.attr("offset_group", 1), -1))
    make = _weigh(op, (g, go // g, i, *k), read, (0, 2), float(prod(op.out()[2:]) * op.out()[0]))
    return _result(op, make, read, 3)


def _weigh(op: Op, view: tuple[int, ...], read: Ids, reads: tuple[int, int], times: float) -> Ids:
    """What the weight makes, `[groups, channels]`; `reads` are the axes of `view` it contracts."""
    out = 3 - reads[1]  # the axis of the view, beside the groups, that it makes
    index_map = labels.lay(read, reads, len(view))
    if op.is_const(1):
        make, _ = op.param(1, view, times=times, makes=(0, out), reads=index_map)
        return make.ids.reshape(view[0], -1)
    # a weight that is computed: its channels come with it
    weight = op.operand(1)
    op.computed(1)
    for p in weight.maps:
        if not {0, 1} & set(p.axes):
            op.freeze(p, MIXED)
        elif len(p.axes) > 1:
            op.crossed(p)
    first, second = (
        op.along(Image(weight.shape, weight.over(a)), a, "mixed in a weight") for a in (0, 1)
    )
    inner, bring = (second[None], first) if out == 1 else (first.reshape(read.shape), second)
    if out != 1 or view[reads[1]] > 1:  # a weight per channel has no axis of channels it reads
        op.same(read, inner, "its weight is computed")
    made = bring.reshape(view[0], -1) if out == 1 else np.tile(bring, (view[0], 1))
    op.work(view, times, labels.lay(made, (0, out), len(view)), index_map)
    return made


def _result(op: Op, make: Ids, read: Ids, bias: int, axis: int = 1) -> Image:
    """The output: per group, what is made and what is read are one cell; then the bias."""
    size = op.out()[axis]
    if size != make.size:
        raise ValueError(f"{make.size} channels made where {size} are expected")
    op.cells(make, read)
    made = op.shown(make.reshape(-1), axis)
    per_channel(op, bias, len(made.shape), made.maps, axis=axis)
    return made


def conv_last(op: Op, x: Image) -> Image:  # n * (g i), (g o) i *k, (g o) -> n * (g o)
    """A convolution of images whose channels come last."""
    last, g, (go, i, *k) = len(x.shape) - 1, op.attr("group", 1), op.shape(1)
    read = op.along(x, last, MIXED).reshape(g, i)
    make = _weigh(op, (g, go // g, i, *k), read, (0, 2), float(prod(op.out()[:-1])))
    return _result(op, make, read, 2, last)


@refit("Conv", "ConvTranspose", "DeformConv", silent=lambda node: node.attrs.get("group", 1) == 1)
def conv_group(new: Sizes) -> Fixes:
    """Fewer groups only where whole groups died."""
    return groups_left(new, 1)


def groups_left(new: Sizes, weight: int) -> Fixes:
    """The number of groups, told by the weight or by the product with one that is computed."""
    key = weight if new.is_const(weight) else -1 - len(new.node.inputs)
    return {"group": int(new.view(key)[0])} if "group" in new.node.attrs else {}


trait("DeformConv", "CausalConvWithState", macs=of_convolution())


@rule("CausalConvWithState")
def causal_conv(
    op: Op, x: Image, *_: Image
) -> list[Image]:  # n c l, c 1 k, c, n c s -> n c l, n c s
    ids = op.along(x, 1, MIXED)
    shape = op.shape(1)
    if op.is_const(1):
        times = float(x.shape[0] * x.shape[2])
        op.param(1, shape, times=times, scales=labels.lay(ids, (0,), 3))
    else:
        op.same(op.along(op.operand(1), 0), ids, "its weight is computed")
    maps = op.made(ids, 1).maps
    per_channel(op, 2, 3, maps)
    alongside(op, 3, ids, 1, "follows", "its state is no channel")
    return [op.made(ids, 1, k=k) for k in range(op.outputs)]
