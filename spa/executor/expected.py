"""What sites are expected to cost, in seconds of some processor: only ratios count.

Sessions run at one speed, Gram matrices of single precision at another, and inverses of double
precision at a third; which of them matters depends on a layer's width and size.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import prod
from typing import Any

from numpy.typing import NDArray

from spa.coupling.model import Coupling
from spa.executor.columns import ENOUGH, PER_FEATURE
from spa.executor.sites import Site

RUN, GRAM, SOLVE = 4e10, 6e10, 1e10
"""Multiply-accumulates per second: of a session, in single and in double precision."""

EACH = 0.02
"""Seconds for what every site takes: a session, and columns laid out."""


def passes(sites: Sequence[Site], feeds: Sequence[Mapping[str, NDArray[Any]]]) -> list[float]:
    """Of running all inputs up to each site."""
    samples = sum(max((len(x) for x in feed.values() if x.ndim), default=1) for feed in feeds)
    return [EACH + samples * prod(s.param.view) * s.param.times / RUN for s in sites]


def grams(sites: Sequence[Site], coupling: Coupling) -> list[float]:
    """Of a Gram matrix of each site's inputs."""
    return [
        groups * features**2 * max(ENOUGH, PER_FEATURE * features) / GRAM
        for groups, features in _sizes(sites, coupling)
    ]


def solves(sites: Sequence[Site], coupling: Coupling) -> list[float]:
    """Of a few matrices of each site inverted."""
    return [groups * features**3 / SOLVE for groups, features in _sizes(sites, coupling)]


def _sizes(sites: Sequence[Site], coupling: Coupling) -> list[tuple[int, int]]:
    """Groups of each site, and features of each group."""
    shapes = coupling.graph.shapes
    return [(s.groups(), s.form.features(shapes[s.tensor], s.groups())) for s in sites]
