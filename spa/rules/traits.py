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
from spa.rules.neutral import Neutral, Step

Where = Callable[[Node], bool]


Linear = Literal[
    "reshapes", "permutes", "moves", "pads", "joins", "averages",
    "adds", "subtracts", "scales", "divides", "multiplies",
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
    """Input `index` numbers what lies in input `table`."""

    index: int
    table: int
    axis: str = ""  # the attribute that names the axis they number; else they number the first
    each: bool = False  # they number as many of the first axes as their own last one is long
    depth: bool = False  # what they number is not there: one value, the table, says how much it is
    rows: bool = False  # the output is made of rows of the table as they are


@dataclass(frozen=True)
class Summed:
    """A sum that an operator begins with: of two inputs, which may be computed.

    `rest` makes the steps that are left of a node where the input of a number is nothing, None
    where that cannot be said.  Inputs `beside` are added to that one first, and go with it.  Output
    `total` is the sum itself, if any is.
    """

    rest: Callable[[Node, int], list[Step] | None]
    operands: tuple[int, int] = (0, 1)
    beside: tuple[int, ...] = ()
    total: int | None = None


@dataclass(frozen=True)
class Trait:
    """What an operator is like.

    Of its first input a linear operator leaves the elements in their order (`reshapes`) or brings
    them into another (`permutes`), repeats some or leaves some out (`moves`), puts others around
    them (`pads`) or takes means (`averages`).  Or it joins its inputs, adds or subtracts, scales or
    divides.
    """

    decides: tuple[int, ...] = ()  # inputs by which it decides: rounding may turn a decision
    sized: tuple[int, ...] = ()  # inputs whose values say how long its outputs are
    counts: bool = False  # the values of its first input say how long its outputs are
    draws: bool = False  # random numbers
    # inputs that it multiplies as bytes: activations, weights, and the zero point of the weights
    bytes: tuple[tuple[int, int, int], ...] = ()
    # inputs that are integers, their scale and zero point (-1: there is none)
    quantised: tuple[tuple[int, int, int], ...] = ()
    summed: tuple[int, ...] = ()  # inputs whose longer integers are numbers: biases, not indices
    # it measures the range of what it keeps to itself: what is removed must not lie in it, and it
    # hangs on how many threads share the rows
    inward: bool = False
    zero: int | None = None  # the input that says which integer stands for zero in its outputs
    zero_made: int | None = None  # the output that says so
    casts: bool = False  # it changes the type of its input and nothing else
    rounds: bool = False  # it makes whole numbers of others
    quantizes: bool = False  # it makes integers of floats by a scale and a zero point
    dequantizes: bool = False  # it makes floats of them again
    bounded: bool = False  # its outputs lie between 0 and 1, and say yes or no
    compares: Literal["equal", "larger"] | None = None  # what it asks of two numbers
    negates: bool = False  # it turns yes into no
    chooses: bool = False  # each number of its outputs is one of its inputs', or a bound
    condition: int | None = None  # the input that says which of the two that follow is chosen
    lookups: tuple[Lookup, ...] = ()  # what its inputs number
    writes: bool = False  # its output is its first input with something new in some places
    past: tuple[int, ...] = ()  # inputs in which it is given what it made in earlier runs
    spectral: bool = False  # it tells frequencies
    shiftless: bool = False  # it forgets a number that is added along its axis
    resamples: bool = False  # its first input at other places, between which it guesses
    # what takes its place in a proof, in both models, where a statistic over channels of which some
    # are gone forbids equality
    neutral: Neutral | None = None
    linear: Linear | None = None
    begins: Summed | None = None  # the sum that it begins with
    only_shape: bool = False  # it tells nothing of its input but the shape
    hands_on: bool = False  # its output is its first input as it is
    idempotent: bool = False  # done to its own output it changes nothing
    statistics: Statistics | None = None  # the stored ones that it normalises with
    contracts: Contraction | None = None  # how it multiplies a weight that can be refitted
    # what it costs where its rule does not say so: in bodies, and for want of channels
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


def trait(*names: str, domain: str = "", where: Where = lambda node: True, **said: Any) -> None:
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


def trait_named(domain: str, op: str) -> Trait:
    """What an operator is like, of whatever node."""
    return _of_all(domain, op) if (domain, op) in TRAITS else NONE


@cache
def _of_all(domain: str, op: str) -> Trait:
    return _joined([each for _, each in TRAITS[domain, op]])


def _joined(traits: list[Trait]) -> Trait:
    return replace(NONE, **{k: v for each in traits for k, v in _told(each).items()})
