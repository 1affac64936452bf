"""BatchNorm scale: what network slimming ranks by (Liu et al., ICCV 2017)."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from spa.criteria.context import Context, Scores, criterion
from spa.criteria.magnitude import magnitudes
from spa.errors import ReadError
from spa.rules import trait_of


@criterion()
def bn_scale(context: Context) -> Scores:
    """Size of the BatchNormalization's scale (network slimming).

    For nets that keep their BatchNormalization and were trained with a penalty on its scales (Liu
    et al., ICCV 2017, arXiv 1708.06519).  Channels of a group that none scales go by `l1`, at the
    mean of all scales.
    """
    graph, groups = context.coupling.graph, context.coupling.groups
    scales = {
        node.inputs[norm.scale]
        for node in graph.nodes
        if (norm := trait_of(node).statistics) is not None
    }

    def weigh(tensor: str, array: NDArray[np.float32]) -> NDArray[np.float32] | None:
        return np.abs(array) if tensor in scales else None

    scores = context.per_channel(weigh)
    scaled = [scores[group.cells] for group in groups if scores[group.cells].any()]
    if groups and not scaled:
        raise ReadError(
            "--scorer bn-scale reads the scales of BatchNormalizations, and no channel of this "
            "model has one that is not 0 (exporters fold them into convolutions): export it "
            "without folding, or choose --scorer l2"
        )
    mean = np.concatenate([own.ravel() for own in scaled]).mean() if scaled else 1.0
    norms = context.per_channel(magnitudes)
    for group in groups:
        own = norms[group.cells]
        if not scores[group.cells].any():
            scores[group.cells] = mean * own / (own.mean() or 1.0)
    return scores
