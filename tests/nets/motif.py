"""The list of motifs: small nets, each with one idea, and what the analysis must find in them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from onnx import ModelProto

from tests.nets.net import Net

Make = Callable[[Net], "str | Sequence[str]"]


@dataclass(frozen=True)
class Motif:
    """One net.

    Attributes:
        groups: every group that must be found, as cells x channels ("8 2x4"), sorted.
        lossy: the ops, sorted, that may compute something else once channels are gone.
        options: of `Net`, where the motif needs others than the usual.
        fixed: the sizes are part of the motif; it is not built with other batches.
    """

    name: str
    make: Make
    groups: str
    lossy: tuple[str, ...]
    options: dict[str, Any]
    fixed: bool

    def build(self, **options: Any) -> ModelProto:
        """The model, with these options of `Net`."""
        net = Net(**{**self.options, **options})
        outputs = self.make(net)
        return net.done(*([outputs] if isinstance(outputs, str) else outputs))


MOTIFS: dict[str, Motif] = {}


def motif(groups: str, *lossy: str, fixed: bool = False, **options: Any) -> Callable[[Make], Make]:
    """Add a function that builds a net to the list."""

    def add(make: Make) -> Make:
        name = make.__name__.rstrip("_")
        if name in MOTIFS:
            raise ValueError(f"{name} is there twice")
        MOTIFS[name] = Motif(name, make, groups, tuple(sorted(lossy)), options, fixed)
        return make

    return add
