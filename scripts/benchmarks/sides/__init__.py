"""What `frameworks.py` asks of a framework, one module each; nothing is imported before it is used.

Every side has the same network: two convolutions with BatchNormalization, a hidden and a last
linear map.  Pictures come as `[N, 8, 8, 1]` (float32, 0 .. 1), labels as integers.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np

WIDTHS = (32, 64, 64)
CLASSES = 10
BATCH = 32
RATE = 1e-3


@dataclass(frozen=True)
class Data:
    """Pictures to train on, and others to test on."""

    train: np.ndarray
    labels: np.ndarray
    test: np.ndarray
    test_labels: np.ndarray


class Side(Protocol):
    """A framework, with its own kind of network (`Any`)."""

    words: str  # name and version

    def build(self, seed: int) -> Any:
        """A network before training."""

    def train(self, net: Any, data: Data, epochs: int, seed: int) -> Any:
        """The network after so many epochs more, by Adam; it may be the same object."""

    def logits(self, net: Any, pictures: np.ndarray) -> np.ndarray:
        """What the network says, `[N, 10]`."""

    def fed(self, pictures: np.ndarray) -> np.ndarray:
        """Pictures as its exported file takes them."""

    def export(self, net: Any, path: Path) -> None:
        """Write an ONNX file with an open batch axis."""

    def back(self, net: Any, export: Path, slim: Path) -> Any:
        """The network as narrow as a pruned file of its export, with that file's numbers."""


def batches(count: int, epochs: int, seed: int) -> list[np.ndarray]:
    """Rows of every step, all of one size."""
    draw = np.random.default_rng(seed)
    whole = count - count % BATCH
    return [
        rows for _ in range(epochs) for rows in draw.permutation(count)[:whole].reshape(-1, BATCH)
    ]
