"""Channel mixing: every lost input channel as a mixture of those that stay.

x ~ B x̃ + c over all pixels, then W'[:, :, k] = W[:, :, k] B for every kernel position k, and the
bias takes Σ_k W[:, :, k] c.  One solve of the size of the channels, whatever the kernel.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from spa.devices import Device
from spa.executor.columns import places_for, rows_of
from spa.executor.least_squares import Moments, ridge
from spa.registry import REPAIRS as repair
from spa.repairs.fit import Fit, Matrix

Array = NDArray[np.float32]


@repair()
def mix(fit: Fit) -> tuple[Matrix, Matrix] | None:
    """Lost channels as mixtures of those that stay, at convolutions."""
    if not fit.mixes:
        return None
    site, targets = fit.site, fit.targets
    whole = site.weight(fit.coupling)[0]
    kept, rows = (fit.kept(name) for name in (site.x, site.y))
    pairs = ((targets.input(site, k), targets.dense.values[site.x][k]) for k in fit.batches)
    dense = targets.dense
    blend, offset = mixture(pairs, kept, dense.count, fit.strength, dense.device)
    weight, gained = mixed(whole[rows], len(blend), blend, offset)
    return weight[None], fit.bias + gained


def mixture(
    pairs: Iterable[tuple[Array, Array]],
    kept: NDArray[np.int64],
    count: int,
    strength: float,
    device: Device = "cpu",
) -> tuple[Matrix, Matrix]:
    """(B `[channels, kept]`, c `[channels]`) from batches of (pruned, dense) inputs.

    Args:
        pairs: inputs `[samples, kept, *space]` and `[samples, channels, *space]`.
        kept: which channels the pruned ones are.
        count: how many batches there are.
        strength: ridge towards taking every kept channel as it is.
        device: where products are computed.
    """
    sums: Moments | None = None
    start = np.zeros((1, 0, len(kept)))
    for small, whole in pairs:
        if sums is None:
            sums = Moments(1, len(kept), whole.shape[1], device)
            start = np.zeros((1, whole.shape[1], len(kept)))
            start[0, kept, np.arange(len(kept))] = 1.0
        size = int(np.prod(whole.shape[2:]))
        at = places_for(len(kept), size, len(whole) * count, 0)
        columns, wanted = (rows_of(x, at).astype(np.float32)[None] for x in (small, whole))
        sums.add(columns, wanted, len(whole))
    if sums is None:
        return start[0], np.zeros(0)
    blend, offset = ridge(sums, start, strength)
    return blend[0], offset[0]


def mixed(weight: Matrix, channels: int, blend: Matrix, offset: Matrix) -> tuple[Matrix, Matrix]:
    """Weight `[rows, channels · kernel]` after mixing, and what its rows gain as bias."""
    split = weight.reshape(len(weight), channels, -1)
    return (
        np.einsum("ock,cd->odk", split, blend, optimize=True).reshape(len(weight), -1),
        np.einsum("ock,c->o", split, offset, optimize=True),
    )
