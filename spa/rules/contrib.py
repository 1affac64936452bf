"""Operators of onnxruntime's own domain, as its optimiser and exporters leave them in files."""

from __future__ import annotations

from spa.labels import Image
from spa.rules import pointwise, quantize
from spa.rules.contract import gemm, matrices
from spa.rules.convolve import conv, conv_group
from spa.rules.meet import together
from spa.rules.normalize import MEAN
from spa.rules.registry import refit, rule
from spa.trace.op import Op

MICROSOFT = "com.microsoft"

rule("Gelu", "QuickGelu", domain=MICROSOFT)(pointwise.unary)
rule("BiasGelu", "FastGelu", domain=MICROSOFT)(pointwise.nary)
rule("QuantizeLinear", "DequantizeLinear", domain=MICROSOFT)(quantize.convert)
rule("FusedGemm", domain=MICROSOFT)(gemm)
refit("FusedConv", domain=MICROSOFT)(conv_group)


@rule("FusedConv", domain=MICROSOFT, note="not with a sum")
def fused_conv(op: Op, x: Image, *rest: Image) -> Image:  # as Conv
    if not op.has(3):
        return conv(op, x, *rest)
    for each in op.x:
        op.freeze(each, "a convolution fused with a sum")
    return op.rock()


@rule("FusedMatMul", domain=MICROSOFT, note="not with transposed batches")
def fused_matmul(op: Op, *_: Image) -> Image:  # ... i k, ... k j -> ... i j
    if op.attr("transBatchA", 0) or op.attr("transBatchB", 0):
        for each in op.x:
            op.freeze(each, "batches are transposed")
        return op.rock()
    return matrices(op, bool(op.attr("transA", 0)), bool(op.attr("transB", 0)))


@rule("SkipLayerNormalization", "SkipSimplifiedLayerNormalization", domain=MICROSOFT, lossy=MEAN)
def skip_layer_normalization(op: Op, *_: Image) -> list[Image]:  # * c, * c, c, c, c -> * c
    rank = len(op.shape(0))
    inputs = [i for i in range(len(op.node.inputs)) if op.has(i)]
    whole = Image(op.out(), together(op, inputs, rank))
    if rank - 1 in whole.axes:
        op.lossy(MEAN)
    rows = tuple(p for p in whole.planes if rank - 1 not in p.axes)
    statistics = [
        Image(op.out(k), rows) if op.node.outputs[k] else whole
        for k in range(1, min(op.outputs, 3))
    ]
    return [whole, *statistics, *[whole] * (op.outputs - 3)]
