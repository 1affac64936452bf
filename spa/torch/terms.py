"""What a file tells of the inputs that its model was trained on, as terms of a loss.

Stored BatchNorm statistics say most: mean and variance of every channel of what a normalization
reads.  Where they are folded into the weights, linear bottlenecks still have mean 0 (see
`spa.executor.recovered`).  And a classifier is sure of its answers, and all are given.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from spa.executor.recovered import blocks_of, recover
from spa.executor.survey import stored_statistics
from spa.graph import Graph
from spa.rules import trait_of

FLOOR = 1e-2
"""Of the mean variance of a tensor: what is added to the variance of each of its channels, as
those that never vary would outweigh all others."""
CLASSES = (3, 100_000)
"""Lengths of a last axis that may hold scores of classes."""
SURE = 1e-3
"""By how much probabilities may miss a sum of 1."""

Feeds = Sequence[Mapping[str, NDArray[np.generic]]]


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


def stored_terms(graph: Graph, device: str) -> list[Term]:
    """One term per normalization with statistics that are constants, on a device of torch."""
    found: list[Term] = []
    for node in graph.nodes:
        if trait_of(node).statistics is None:
            continue
        told = [graph.consts.get(name) for name in stored_statistics(node)]
        if any(each is None for each in told):
            continue
        mean, variance = (np.asarray(each, np.float32) for each in told)
        usable = np.isfinite(mean).all() and np.isfinite(variance).all()
        if usable and variance.min() >= 0 and variance.max() > 0:
            wanted = (torch.tensor(each, device=device) for each in (mean, variance))
            found.append(Stored(node.inputs[0], *wanted))
    return found


def centred_terms(graph: Graph, feeds: Feeds) -> list[Term]:
    """One term per linear bottleneck, where the reasoning holds for this model."""
    known = recover(graph, feeds)
    names = (block.last.outputs[0] for block in blocks_of(graph))
    return [Centred(name) for name in names if name in known]


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
