"""The models that the repository carries, and small nets, read and analysed once for all tests."""

from __future__ import annotations

from functools import cache
from pathlib import Path

from spa.coupling import Coupling, analyse
from spa.coupling.cost import Cost
from spa.graph import read
from tests.nets import MOTIFS

MODELS = Path(__file__).parents[1] / "models"
DIGITS = MODELS / "digits.onnx"
FASHION = MODELS / "fashion.onnx"


@cache
def coupling_of(name: str) -> Coupling:
    """A carried model or a motif; shared, so never refine it."""
    path = MODELS / f"{name}.onnx"
    return analyse(read(path if path.exists() else MOTIFS[name].build()), strict=True)


@cache
def cost_of(name: str) -> Cost:
    """Its cost function."""
    return Cost(coupling_of(name))
