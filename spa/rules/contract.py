"""Operators that multiply matrices: they read one set of channels and make another."""

from __future__ import annotations

from collections.abc import Sequence

from spa import labels
from spa.graph.model import Node
from spa.labels import Image
from spa.rules.contraction import Contraction, Terms, of_equation, of_product
from spa.rules.einsum import contract, letters_of
from spa.rules.meet import aligned, follow, meet, wide_axes
from spa.rules.traits import trait
from spa.trace import Op, rule


@rule("Gemm")
def gemm(op: Op, *_: Image) -> Image:  # n k, k o, n o -> n o
    a = "kn" if op.attr("transA", 0) else "nk"
    b = "ok" if op.attr("transB", 0) else "ko"
    out = contract(op, (tuple(a), tuple(b)), tuple("no"))
    if not op.has(2):
        return out
    shape = (1,) * (2 - len(op.shape(2))) + op.shape(2)
    if op.is_const(2):
        follow(op, 2, shape, out.maps)
        return out
    c = labels.lift(op.operand(2), 2)
    wide = wide_axes(op, [out.shape, shape])
    return Image(out.shape, meet(op, (out, c), wide))


def _gemm_letters(node: Node, _: Sequence[int]) -> Terms | None:
    plain = node.attrs.get("alpha", 1.0) == 1.0 and node.attrs.get("beta", 1.0) == 1.0
    first = "kn" if node.attrs.get("transA", 0) else "nk"
    second = "jk" if node.attrs.get("transB", 0) else "kj"
    return (tuple(first), tuple(second), tuple("nj")) if plain else None


trait("Gemm", contracts=Contraction(_gemm_letters, bias=2), macs=of_product)


@rule("MatMul")
def matmul(op: Op, *_: Image) -> Image:  # ... i k, ... k j -> ... i j
    return matrices(op)


def _matmul_letters(_: Node, ranks: Sequence[int]) -> Terms | None:
    if min(ranks[:2]) < 2:
        return None
    batch = tuple(f"b{k}" for k in range(ranks[2] - 2))
    lead = [batch[len(batch) - r + 2 :] for r in ranks[:2]]
    return (*lead[0], "n", "k"), (*lead[1], "k", "j"), (*batch, "n", "j")


trait("MatMul", contracts=Contraction(_matmul_letters), macs=of_product)


def matrices(op: Op, flip_a: bool = False, flip_b: bool = False) -> Image:
    """A product of matrices, some of them transposed; axes before the last two are batches."""
    ra, rb = len(op.shape(0)), len(op.shape(1))
    batch = tuple(f"b{n}" for n in range(max(ra, rb) - 2))
    left, right = ("k", "i") if flip_a else ("i", "k"), ("j", "k") if flip_b else ("k", "j")
    a = ("k",) if ra == 1 else (*batch[len(batch) - ra + 2 :], *left)
    b = ("k",) if rb == 1 else (*batch[len(batch) - rb + 2 :], *right)
    out = (*batch, *(("i",) if ra > 1 else ()), *(("j",) if rb > 1 else ()))
    return contract(op, (a, b), out)


@rule("Einsum", note="of one or two tensors, without diagonals")
def einsum(op: Op, *_: Image) -> Image:  # as its equation says
    terms, out = letters_of(op.attr("equation"), [len(op.shape(i)) for i in range(len(op.x))])
    if len(terms) > 2 or any(len(set(t)) < len(t) for t in terms):
        for x in op.x:
            op.freeze(x, "a product of more than two tensors, or a diagonal")
        return op.frozen()
    if len(terms) == 2:
        return contract(op, terms, out)
    x = op.operand(0)
    if tuple(x.shape[terms[0].index(c)] for c in out) != op.out():
        raise ValueError(f"{op.out()} is not the size of this sum")
    x = aligned(op, x, [a for a, c in enumerate(terms[0]) if c not in out])
    left = [p for p in x.maps if all(terms[0][a] in out for a in p.axes)]
    return Image(op.out(), labels.placed(left, lambda a: out.index(terms[0][a]), len(out)))


def _einsum_letters(node: Node, ranks: Sequence[int]) -> Terms | None:
    if len(node.inputs) != 2:
        return None
    terms, out = letters_of(node.attrs["equation"], ranks[:2])
    return (*terms, out)


trait("Einsum", contracts=Contraction(_einsum_letters), macs=of_equation)
