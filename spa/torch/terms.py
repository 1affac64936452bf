"""What a file remembers of the inputs that its model was trained on, as terms of a loss.

Statistics are those of `spa.executor.remembered`; and a classifier is sure of its answers, and all
are given.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from numpy.typing import NDArray
from torch import Tensor

FLOOR = 1e-2
"""Of the mean variance of a tensor: what is added to the variance of each of its channels, as
those that never vary would outweigh all others."""
CLASSES = (3, 100_000)
"""Lengths of a last axis that may hold scores of classes."""
SURE = 1e-3
"""By how much probabilities may miss a sum of 1."""

Array = NDArray[Any]


class Term(Protocol):
    """Something known of a tensor: what to run, and how far it is missed."""

    @property
    def name(self) -> str:
        """The tensor."""

    def misfit(self, x: Tensor) -> Tensor:
        """How far the tensor, `[rows, channels, ...]`, is from what is known; 0 where it is met."""


@dataclass(frozen=True, eq=False)
class Stored:
    """Statistics of channels that a file stores, float32 `[channels]`.

    The misfit is the mean over channels of (m - M)² / (V + f) + log²((v + f) / (V + f)), with mean
    and variance of the batch (m, v) and of the file (M, V), and f = `FLOOR` times the mean of V
    (Yin et al., "Dreaming to Distill", eq. 4, made free of the scale).
    """

    name: str
    mean: Tensor
    variance: Tensor

    def misfit(self, x: Tensor) -> Tensor:
        """See the class."""
        mean, variance = moments(x)
        wanted, floor = self.variance, FLOOR * self.variance.mean()
        away = (mean - self.mean) ** 2 / (wanted + floor)
        spread = ((variance + floor) / (wanted + floor)).log() ** 2
        return (away + spread).mean()


@dataclass(frozen=True)
class Centred:
    """A tensor whose channels have mean 0: the mean over channels of m² / (v + f)."""

    name: str

    def misfit(self, x: Tensor) -> Tensor:
        """See the class."""
        mean, variance = moments(x)
        return (mean**2 / (variance + FLOOR * variance.mean())).mean()


@dataclass(frozen=True)
class Answers:
    """Scores of classes, `[rows, classes]`, as numbers of any size or as probabilities."""

    name: str
    classes: int
    probable: bool

    def scores(self, x: Tensor) -> Tensor:
        """Logarithms of probabilities, up to a constant in each row."""
        return x.clamp_min(1e-12).log() if self.probable else x


def moments(x: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and variance of the channels, which lie along axis 1, `[channels]`."""
    axes = [axis for axis in range(x.dim()) if axis != 1]
    variance, mean = torch.var_mean(x, axes, correction=0)
    return mean, variance


def terms_of(
    stored: Mapping[str, tuple[Array, Array]], centred: Sequence[str], device: str
) -> tuple[Term, ...]:
    """One term per tensor: of stored statistics where there are any, else of means that are 0."""
    if not stored:
        return tuple(map(Centred, centred))
    return tuple(
        Stored(name, torch.tensor(mean, device=device), torch.tensor(variance, device=device))
        for name, (mean, variance) in stored.items()
    )


def answers_of(outputs: Mapping[str, Tensor]) -> Answers | None:
    """The first output that may hold scores of classes, as told by a run of several rows."""
    for name, x in outputs.items():
        if x.dim() != 2 or not x.is_floating_point() or not CLASSES[0] <= x.shape[1] <= CLASSES[1]:
            continue
        whole = x.float().sum(1)
        probable = bool((x >= 0).all() and ((whole - 1).abs() < SURE).all())
        return Answers(name, x.shape[1], probable)
    return None


def vague(scores: Tensor) -> float:
    """What answers leave open: 1 - I / log(classes), with I the mutual information.

    That is the entropy of the mean answer less the mean entropy of an answer: 0 where every answer
    is sure and no class is preferred, 1 where all rows get one answer or none is sure.
    """
    logs = scores.log_softmax(1)
    each = -(logs.exp() * logs).sum(1).mean()
    mean = logs.exp().mean(0).clamp_min(1e-12)
    most = math.log(max(2, min(scores.shape)))
    return 1 - float(-(mean * mean.log()).sum() - each) / most
