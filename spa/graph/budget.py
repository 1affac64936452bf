"""How much folding may make and compute, in sum over a whole model.

A limit per node bounds nothing: tensors that double from node to node stay within it.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence

import onnx

from spa.graph.evaluate import attribute_of, windows, words

Shape = tuple[int, ...]

MADE = 1 << 28
TIMES = 4  # bytes that folding may make: so many, or so many times what the file stores
WORK = 1 << 33  # multiply-adds that an engine may do for it
SLOW_WORK = 1 << 27  # the same for ONNX's reference code, which is not made for speed
SLOW_PRODUCT = 64
"""How much slower a multiply-add of the reference may be than a step of an element-wise op."""

PRODUCTS = words(
    "Conv ConvTranspose Gemm MatMul ConvInteger MatMulInteger QLinearConv QLinearMatMul "
    "DeformConv LSTM GRU RNN Attention"
)


class Budget:
    """What may still be made and computed."""

    def __init__(self, made: float, work: float, product: int = 1) -> None:
        self.made = made
        self.work = work
        self.product = product  # what a multiply-add of a product counts

    def take(self, made: float, work: float, products: bool = False) -> bool:
        """Take this much; False, and nothing is taken, where that is not left."""
        cost = work * (self.product if products else 1)
        if made > self.made or cost > self.work:
            return False
        self.made -= made
        self.work -= cost
        return True


def work(node: onnx.NodeProto, shapes: Sequence[Shape | None], made: float) -> float:
    """At most so many multiply-adds make `made` elements from inputs of these shapes."""
    sizes = [math.prod(shape) for shape in shapes if shape is not None]
    read = sum(sizes)
    if node.op_type == "Einsum":
        return _einsum(node, shapes) + read + made
    if node.op_type in PRODUCTS:
        # Of M x K by K x N the product of all three sizes is the square of M * K * N.
        return math.sqrt(math.prod(map(float, sizes)) * max(1.0, made)) * windows(node) + read
    return read + made * windows(node)


def _einsum(node: onnx.NodeProto, shapes: Sequence[Shape | None]) -> float:
    """The product of the sizes of all letters."""
    text = attribute_of(node, "equation", b"")
    terms = text.decode("utf-8", "replace").replace(" ", "").split("->")[0].split(",")
    total = math.prod(float(math.prod(shape or (1,))) for shape in shapes)
    if b"..." in text or any(s is None for s in shapes) or len(terms) != len(shapes):
        return total
    sizes: Counter[str] = Counter()
    for term, shape in zip(terms, shapes, strict=True):
        for letter, size in zip(term, shape or (), strict=False):
            sizes[letter] = max(sizes[letter], size)
    return math.prod(map(float, sizes.values()))
