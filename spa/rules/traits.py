"""What operators are like, apart from what they say about channels: registered beside their rules.

Everything outside `spa.rules` asks for a trait and never for a name, so that a new operator is told
of in one place.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from functools import cache
from typing import Any, Literal

from spa.graph.model import Node
from spa.rules.contraction import Contraction, Macs
from spa.rules.neutral import Neutral

Where = Callable[[Node], bool]


def _always(_: Node) -> bool:
    return True


Linear = Literal[
    "reshapes", "permutes", "moves", "pads", "joins", "averages",
    "adds", "subtracts", "scales", "divides",
]  # fmt: skip
MOVES: frozenset[Linear | None] = frozenset(("reshapes", "permutes", "moves"))


@dataclass(frozen=True)
class Statistics:
    """Which inputs of a normalisation are stored: `(x - mean) / sqrt(variance) * scale + shift`."""

    scale: int
    shift: int
    mean: int
    variance: int

    @property
    def all(self) -> tuple[int, int, int, int]:
        """The four inputs."""
        return self.scale, self.shift, self.mean, self.variance


@dataclass(frozen=True)
class Lookup:
    """Input `index` numbers what lies in input `table`.

    Attributes:
        index: the input that holds the indices.
        table: the input that they number.
        axis: the attribute that names the axis they number; `""`: they number the first.
        each: they number as many of the first axes as their own last one is long.
        depth: what they number is not there: the table's one value says how much of it there is.
        rows: the output is made of rows of the table as they are.
    """

    index: int
    table: int
    axis: str = ""
    each: bool = False
    depth: bool = False
    rows: bool = False


@dataclass(frozen=True)
class Trait:
    """What an operator is like.

    Attributes:
        decides: inputs by which it decides something: a difference of rounding may turn a decision.
        sized: inputs whose values say how long its outputs are.
        counts: whether the values of its first input say how long its outputs are.
        draws: whether it draws random numbers.
        bytes: triples of inputs that it multiplies as bytes: activations, weights, and the zero
            point of the weights.
        quantised: triples of inputs: integers, their scale and zero point (-1: there is none).
        inward: whether it measures the range of what it keeps to itself: what is dead must not lie
            in it, and it hangs on how many threads share the rows.
        zero: the input that says which integer stands for zero in its outputs.
        zero_made: the output that says so.
        casts: whether it changes the type of its input and nothing else.
        rounds: whether it makes whole numbers of others.
        quantizes: whether it makes integers of floats by a scale and a zero point.
        dequantizes: whether it makes floats of them again.
        bounded: whether its outputs lie between 0 and 1, and say yes or no.
        shiftless: whether it forgets a number that is added along its axis.
        resamples: whether its output is its first input at other places, between which it guesses.
        compares: what it asks of two numbers: whether they are equal, or which is larger.
        negates: whether it turns yes into no.
        chooses: whether each number of its outputs is one of its inputs', or a bound.
        condition: the input that says which of the two that follow is chosen.
        lookups: what its inputs number.
        writes: whether its output is its first input with something new in some places.
        past: inputs in which it is given what it made in earlier runs.
        spectral: whether it tells frequencies.
        neutral: what takes its place in a proof, in both models, where a statistic over channels of
            which some are gone forbids equality.
        linear: what a linear operator does.  Of its first input it leaves the elements in their
            order (`reshapes`) or brings them into another (`permutes`), repeats some or leaves some
            out (`moves`), puts others around them (`pads`) or takes means (`averages`).  Or it
            joins its inputs, adds or subtracts, scales or divides.
        only_shape: whether it tells nothing of its input but the shape.
        hands_on: whether its output is its first input as it is.
        statistics: the stored ones that it normalises with.
        contracts: how it multiplies a stored weight, if it can be refitted by least squares.
        macs: what it costs where its rule does not say so: in bodies, and for want of channels.
    """

    decides: tuple[int, ...] = ()
    sized: tuple[int, ...] = ()
    counts: bool = False
    draws: bool = False
    bytes: tuple[tuple[int, int, int], ...] = ()
    quantised: tuple[tuple[int, int, int], ...] = ()
    inward: bool = False
    zero: int | None = None
    zero_made: int | None = None
    casts: bool = False
    rounds: bool = False
    quantizes: bool = False
    dequantizes: bool = False
    bounded: bool = False
    compares: Literal["equal", "larger"] | None = None
    negates: bool = False
    chooses: bool = False
    condition: int | None = None
    lookups: tuple[Lookup, ...] = ()
    writes: bool = False
    past: tuple[int, ...] = ()
    spectral: bool = False
    shiftless: bool = False
    resamples: bool = False
    neutral: Neutral | None = None
    linear: Linear | None = None
    only_shape: bool = False
    hands_on: bool = False
    statistics: Statistics | None = None
    contracts: Contraction | None = None
    macs: Macs | None = None

    @property
    def moves(self) -> bool:
        """Whether its output holds elements of its first input, none of them changed."""
        return self.linear in MOVES

    @property
    def carries(self) -> bool:
        """Whether its outputs hold numbers of its inputs alone, perhaps in another type."""
        return self.moves or self.linear == "joins" or self.casts or self.chooses

    @property
    def convolves(self) -> bool:
        """Whether it contracts what lies around each place, and can be refitted."""
        return self.contracts is not None and self.contracts.window == "reads"


NONE = Trait()
TRAITS: dict[tuple[str, str], list[tuple[Where, Trait]]] = {}


def trait(*names: str, domain: str = "", where: Where = _always, **said: Any) -> None:
    """Register what one or more operators are like, or some of their nodes.

    Args:
        names: the operators.
        domain: of the operators; `""` is ai.onnx.
        where: of which nodes it is true.
        said: fields of `Trait`.

    Raises:
        ValueError: something was said of an operator before.
    """
    new = Trait(**said)
    for name in names:
        known = TRAITS.setdefault((domain, name), [])
        twice = {key for _, old in known for key in _told(old)} & said.keys()
        if twice:
            raise ValueError(f"{', '.join(twice)} of {name} registered twice")
        known.append((where, new))


def _told(each: Trait) -> dict[str, Any]:
    values = {f.name: getattr(each, f.name) for f in fields(Trait)}
    return {name: value for name, value in values.items() if value != getattr(NONE, name)}


def trait_of(node: Node) -> Trait:
    """What a node is like."""
    known = TRAITS.get((node.domain, node.op))
    if known is None:
        return NONE
    true = [each for where, each in known if where(node)]
    if len(true) == len(known):
        return _of_all(node.domain, node.op)
    return _joined(true)


@cache
def _of_all(domain: str, op: str) -> Trait:
    return _joined([each for _, each in TRAITS[domain, op]])


def _joined(traits: list[Trait]) -> Trait:
    return replace(NONE, **{k: v for each in traits for k, v in _told(each).items()})
