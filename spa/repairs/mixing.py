"""Channel mixing: every lost input channel as a mixture of those that stay.

x ~ B x̃ + c over all pixels, then W'[:, :, k] = W[:, :, k] B for every kernel position k, and the
bias takes Σ_k W[:, :, k] c.  One solve of the size of the channels, whatever the kernel.
"""

from __future__ import annotations

from math import prod

import numpy as np

from spa.executor.columns import places_for, rows_of
from spa.executor.least_squares import Moments, ridge
from spa.repairs.fit import Fit, Matrix, repair


@repair()
def mix(fit: Fit) -> tuple[Matrix, Matrix] | None:
    """Lost channels as mixtures of those that stay, at convolutions."""
    if not fit.mixes:
        return None
    site, dense = fit.site, fit.targets.dense
    kept, rows = (fit.kept(name) for name in (site.x, site.y))
    channels = fit.coupling.graph.shapes[site.tensor][1]
    sums = Moments(1, len(kept), channels, dense.device)
    for k in fit.batches:
        pair = fit.targets.input(site, k), dense.values[site.x][k]
        samples, _, *space = pair[1].shape
        at = places_for(len(kept), prod(space), samples * dense.count, 0)
        x, y = (rows_of(each, at).astype(np.float32)[None] for each in pair)
        sums.add(x, y, samples)
    start = np.zeros((1, channels, len(kept)))  # every channel that stays as it is
    start[0, kept, np.arange(len(kept))] = 1.0
    (blend,), (offset,) = ridge(sums, start, fit.strength)
    split = site.weight(fit.coupling)[0][rows].reshape(len(rows), channels, -1)
    weight = np.einsum("ock,cd->odk", split, blend, optimize=True)
    gained = np.einsum("ock,c->o", split, offset, optimize=True)
    return weight.reshape(1, len(rows), -1), fit.bias + gained
