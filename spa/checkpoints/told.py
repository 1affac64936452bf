"""What became of every tensor of a checkpoint."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, TypedDict

from spa.checkpoints.exported import Array

How = Literal["name", "value", "folded", "whole"]


class Row(TypedDict):
    """One tensor: how it was found in the file, where, and what is left of it.

    `how` is `name` (the file calls it the same), `value` (another name holds its numbers), `folded`
    (the file holds it with BatchNormalization worked in) or `whole` (the file does not hold it, and
    it stays as it is).  `refitted` says whether its numbers are those of the pruned model, `why`
    what else is to be known.
    """

    name: str
    how: How
    tensors: list[str]
    shape: list[int]
    new_shape: list[int]
    refitted: bool
    why: str


@dataclass(frozen=True)
class Carried:
    """A checkpoint that was cut.

    Attributes:
        weights: the new tensors under their old names, in the types they had.
        rows: what became of each.
        kept: positions that are kept of each axis that was cut, by name; only of tensors whose
            axes are independent.
        biases: by weight, what the refit adds to its channels where the checkpoint has no bias,
            `[channels]`.
        notes: what a person should know.
    """

    weights: Mapping[str, Array]
    rows: tuple[Row, ...]
    kept: Mapping[str, Mapping[int, tuple[int, ...]]] = field(default_factory=dict)
    biases: Mapping[str, Array] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
