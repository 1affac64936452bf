"""Operators that contract a stored weight: as which matrix, and at which cost."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import prod
from typing import Literal

from spa.graph.model import Attributes, Node
from spa.labels import Shape

Terms = tuple[tuple[str, ...], ...]  # letters of the axes of both inputs and of the output


@dataclass(frozen=True)
class Contraction:
    """`Y = W X + b`: how a node contracts one of its first two inputs.

    `letters` are of the axes of both inputs and of the output, from a node and their ranks; None
    where it is no plain product.  Those of all three are groups, of both inputs alone summed over.
    """

    letters: Callable[[Node, Sequence[int]], Terms | None] | None = None
    # of a convolution: whether its kernel reads what lies around a place, or writes it
    window: Literal["reads", "writes"] | None = None
    bias: int | None = None  # the input that is added to the rows, if the operator has one


Macs = Callable[[Sequence[Shape], Attributes, Shape], float]
"""Multiply-accumulates from the shapes of the inputs, the attributes and the shape of the output.

It may raise where a shape is not that of a product.
"""


def of_convolution(weight: int = 1) -> Macs:
    """Every element of the output costs a filter, input number `weight`."""
    return lambda shapes, _, out: float(prod(out) * prod(shapes[weight][1:]))


def of_transposed(shapes: Sequence[Shape], _: Attributes, out: Shape) -> float:
    """Every element of the input costs a filter."""
    return float(prod(shapes[0]) * prod(shapes[1][1:]))


def of_product(shapes: Sequence[Shape], attrs: Attributes, out: Shape) -> float:
    """Every element of the output costs the length of a row."""
    return float(prod(out) * shapes[0][-2 if attrs.get("transA", 0) else -1])


def of_recurrence(shapes: Sequence[Shape], _: Attributes, out: Shape) -> float:
    """Every step of every sequence costs both matrices."""
    return float(prod(shapes[0][:2]) * (prod(shapes[1]) + prod(shapes[2])))


def of_attention(shapes: Sequence[Shape], _: Attributes, out: Shape) -> float:
    """Every query meets every key, and every score a value."""
    return float((prod(shapes[0]) + prod(out)) * shapes[1][-2])


def of_projected_attention(shapes: Sequence[Shape], _: Attributes, out: Shape) -> float:
    """What queries, keys and values are made by; keys are as wide as values."""
    return float(prod(shapes[0][:-1]) * prod(shapes[1]) + 2 * prod(out) * shapes[0][1])


def of_experts(shapes: Sequence[Shape], attrs: Attributes, _: Shape) -> float:
    """Every token meets the matrices of `k` experts."""
    matrices = sum(prod(shapes[i][1:]) for i in (2, 4, 6) if i < len(shapes) and shapes[i])
    return float(prod(shapes[0][:-1]) * attrs.get("k", 1) * matrices)


def of_equation(shapes: Sequence[Shape], attrs: Attributes, out: Shape) -> float:
    """The product of the lengths of all letters of an Einsum of several tensors."""
    equation = attrs["equation"]
    text = equation.decode() if isinstance(equation, bytes) else equation
    terms = text.replace(" ", "").split("->")[0].split(",")
    if len(terms) == 1 or any("." in term for term in terms):
        return 0.0
    letters = zip("".join(terms), (n for shape in shapes for n in shape), strict=True)
    return float(prod(dict(letters).values()))
