"""Fused attention: heads are not taken apart yet, but their products count as work."""

from __future__ import annotations

from spa.labels import Image
from spa.rules import rule
from spa.trace.op import Op

FUSED = "heads of a fused attention"


@rule("Attention", frozen=FUSED)
def attention(op: Op, *_: Image) -> list[Image]:  # b h q d, b h k d, b h k e -> b h q e
    for x in op.x:
        op.freeze(x, FUSED)
    q, k = op.shape(0), op.shape(1)
    heads = q[1] if len(q) == 4 else op.attr("q_num_heads")
    kept = k[1] if len(k) == 4 else op.attr("kv_num_heads")
    past = op.shape(4)[2] if op.has(4) else 0
    (d, e) = (s[3] if len(s) == 4 else s[2] // n for s, n in ((k, kept), (op.shape(2), kept)))
    op.work((q[0], heads, q[-2], k[-2] + past, d + e), 1.0)
    return op.rocks()


@rule("LinearAttention", frozen=FUSED)
@rule("FlexAttention", domain="ai.onnx.preview", frozen=FUSED)
@rule(
    "Attention",
    "MultiHeadAttention",
    "GroupQueryAttention",
    domain="com.microsoft",
    frozen=FUSED,
)
def other_attention(op: Op, *_: Image) -> list[Image]:
    for x in op.x:
        op.freeze(x, FUSED)
    return op.rocks()
