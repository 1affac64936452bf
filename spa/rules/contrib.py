"""Operators of onnxruntime's own domain, as its optimiser and exporters leave them in files."""

from __future__ import annotations

from collections.abc import Callable

from spa.graph.model import Node
from spa.labels import Image
from spa.rules import neutral
from spa.rules.contract import gemm, matrices
from spa.rules.contraction import of_convolution, of_product
from spa.rules.convolve import conv_group, conv_last, convolved
from spa.rules.meet import alongside, follow, meet, still, wide_axes
from spa.rules.normalize import MEAN, normalized
from spa.rules.pointwise import nary, unary
from spa.rules.quantize import convert
from spa.rules.traits import Lookup, Summed, trait
from spa.trace import MICROSOFT, Op, refit, rule

rule("Gelu", "QuickGelu", domain=MICROSOFT)(unary)
rule("BiasGelu", "FastGelu", domain=MICROSOFT)(nary)
rule("QuantizeLinear", "DequantizeLinear", domain=MICROSOFT)(convert)
rule("FusedGemm", domain=MICROSOFT)(gemm)
refit("FusedConv", "NhwcConv", "NhwcFusedConv", domain=MICROSOFT)(conv_group)


@rule("FusedConv", domain=MICROSOFT)
def fused_conv(op: Op, x: Image, *_: Image) -> Image:  # as Conv, plus a tensor of its output
    return _plus(op, convolved(op, x))


@rule("NhwcConv", "NhwcFusedConv", domain=MICROSOFT, note="channels last; no kernel on most CPUs")
def nhwc_conv(op: Op, x: Image, *_: Image) -> Image:  # n * (g i), (g o) i *k, (g o) -> n * (g o)
    return _plus(op, conv_last(op, x))


def _plus(op: Op, made: Image) -> Image:
    """What is made, and input 3 added to it, if there is one."""
    if not op.has(3):
        return made
    if op.is_const(3):
        follow(op, 3, op.shape(3), made.maps)
        return made
    both = made, op.operand(3)
    return Image(made.shape, meet(op, both, wide_axes(op, [x.shape for x in both])))


trait("FusedConv", "NhwcConv", "NhwcFusedConv", domain=MICROSOFT, macs=of_convolution())
trait("NhwcConv", domain=MICROSOFT, linear="multiplies")


@rule("FusedMatMul", "TransposeMatMul", domain=MICROSOFT, note="not with transposed batches")
def fused_matmul(op: Op, *_: Image) -> Image:  # ... i k, ... k j -> ... i j
    if op.attr("transBatchA", 0) or op.attr("transBatchB", 0):
        for each in op.x:
            op.freeze(each, "batches are transposed")
        return op.frozen()
    return matrices(op, bool(op.attr("transA", 0)), bool(op.attr("transB", 0)))


trait("FusedGemm", "FusedMatMul", "TransposeMatMul", domain=MICROSOFT, macs=of_product)
trait("FusedMatMul", "TransposeMatMul", domain=MICROSOFT, linear="multiplies")


@rule("SkipLayerNormalization", "SkipSimplifiedLayerNormalization", domain=MICROSOFT, lossy=MEAN)
def skip_layer_normalization(op: Op, *_: Image) -> list[Image]:  # * c, * c, c, c, c -> * c
    found = normalized(op, len(op.shape(0)) - 1, min(op.outputs, 3))
    return [*found, *found[:1] * (op.outputs - 3)]


def _norm_alone(op: str) -> Callable[[Node, int], list[neutral.Step] | None]:
    """The norm without the sum before it, of the other of its first two inputs."""

    def rest(node: Node, end: int) -> list[neutral.Step] | None:
        if any(node.outputs[1:3]):
            return None
        stored = node.inputs[2:4] if op == "LayerNormalization" else node.inputs[2:3]
        told = {"axis": -1, "epsilon": node.attrs.get("epsilon", EPSILON)}
        given = (node.inputs[1 - end], *(name for name in stored if name))
        return [neutral.Step(op, given, node.outputs[:1], told)]

    return rest


EPSILON = 1e-12  # of norms behind a sum that do not say theirs

trait(
    "SkipLayerNormalization",
    domain=MICROSOFT,
    neutral=neutral.skipped,
    begins=Summed(_norm_alone("LayerNormalization"), beside=(4,), total=3),
)
trait(
    "SkipSimplifiedLayerNormalization",
    domain=MICROSOFT,
    neutral=neutral.skipped_without_shift,
    begins=Summed(_norm_alone("SimplifiedLayerNormalization"), beside=(3,), total=3),
)


@rule("EmbedLayerNormalization", "QEmbedLayerNormalization", domain=MICROSOFT, lossy=MEAN)
def embed(op: Op, *_: Image) -> list[Image]:  # ids, v c, p c, s c, c, c -> * c
    still(op, 0, 1, *range(7, len(op.x)), reason="indexes a table")
    if op.is_const(2):
        own = op.param(2, op.shape(2), makes=(1,))[0].dense
    else:
        own = op.along(op.operand(2), 1, "indexed by data")
    for i in range(3, 7):
        axis = len(op.shape(i)) - 1 if op.has(i) else 0
        alongside(op, i, own, axis, reason="added to a table that cannot be cut")
    if not op.decide(lambda: bool(own.any())):
        return op.all_frozen()
    op.lossy(MEAN)
    images = [op.made(own, 2, k=k) if k != 1 and o else None for k, o in enumerate(op.node.outputs)]
    return [image or frozen for image, frozen in zip(images, op.all_frozen(), strict=True)]


trait("EmbedLayerNormalization", domain=MICROSOFT, neutral=neutral.embedded)
trait(
    "EmbedLayerNormalization",
    domain=MICROSOFT,
    lookups=tuple(Lookup(i, table, rows=True) for i, table in ((0, 2), (1, 4), (8, 3))),
)
trait("QEmbedLayerNormalization", domain=MICROSOFT, lookups=(Lookup(0, 2), Lookup(1, 4)))
trait(
    "QEmbedLayerNormalization",
    domain=MICROSOFT,
    quantised=tuple((i, i + 6, i + 11) for i in range(2, 7)),
    neutral=neutral.embedded_bytes,
)
