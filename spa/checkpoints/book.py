"""What is settled so far while a checkpoint is cut."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property

from spa.checkpoints.cutter import Cutter, Left, lines
from spa.checkpoints.exported import Array, Arrays, is_float, same_numbers
from spa.checkpoints.names import called
from spa.checkpoints.told import How, Row


@dataclass
class Book:
    """The checkpoint, what is cut of it, and what became of each tensor so far.

    Attributes:
        weights: the checkpoint.
        cutter: what is kept of what the file stores.
        new: tensors that are settled.
        rows: what is told of them.
        kept: positions that are kept of their axes.
        biases: by weight, what the refit adds to its channels.
        homes: by stored tensor, the tensors of the checkpoint that it was found to be.
        means: by stored vector that scales, the mean in the checkpoint that is subtracted first.
    """

    weights: Arrays
    cutter: Cutter
    new: dict[str, Array] = field(default_factory=dict)
    rows: dict[str, Row] = field(default_factory=dict)
    kept: dict[str, Mapping[int, tuple[int, ...]]] = field(default_factory=dict)
    biases: dict[str, Array] = field(default_factory=dict)
    homes: dict[str, list[str]] = field(default_factory=dict)
    means: dict[str, str] = field(default_factory=dict)

    @cached_property
    def called(self) -> dict[str, str]:
        """What the file calls tensors of the checkpoint, where that is the same but for a front."""
        floats = {n: a.size for n, a in self.weights.items() if is_float(a)}
        return called(floats, self.cutter.sizes())

    def open(self) -> list[str]:
        """Names of tensors of the checkpoint that hold floats and are not settled."""
        return [n for n, a in self.weights.items() if n not in self.rows and is_float(a) and a.size]

    def free(self) -> list[str]:
        """Names of tensors of the file that nothing was found to be."""
        export = self.cutter.export
        return [] if export is None else [n for n in export.tensors if n not in self.homes]

    def put(self, name: str, how: How, tensors: tuple[str, ...], left: Left) -> None:
        """Settle a tensor by what is left of it."""
        array = self.weights[name]
        new = left.of(array)
        fresh = left.fresh is not None
        refitted = fresh and not same_numbers(new, array.reshape(-1)[left.positions])
        lost = self.cutter.slim is not None and not fresh
        why = "the pruned model does not hold it in this shape; it was only cut" if lost else ""
        self.tell(name, how, new, tensors, refitted=refitted, why=why)
        self.kept[name] = lines(left.positions, array.shape)

    def tell(
        self,
        name: str,
        how: How,
        new: Array,
        tensors: tuple[str, ...] = (),
        *,
        refitted: bool = False,
        why: str = "",
    ) -> None:
        """Settle a tensor, and say how it was found."""
        for tensor in tensors:
            self.homes.setdefault(tensor, []).append(name)
        self.new[name] = new
        self.rows[name] = Row(
            name=name,
            how=how,
            tensors=list(tensors),
            shape=list(self.weights[name].shape),
            new_shape=list(new.shape),
            refitted=refitted,
            why=why,
        )


def parent(name: str) -> str:
    """A name without its last part, whatever divides them."""
    for divider in ("/", "."):
        if divider in name:
            return name.rpartition(divider)[0]
    return ""


def siblings(name: str, names: Iterable[str]) -> list[str]:
    """Names that differ from one in the last part only."""
    return [n for n in names if n != name and parent(n) == parent(name)]
