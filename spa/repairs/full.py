"""Least squares for all weights of a site."""

from __future__ import annotations

import numpy as np

from spa.executor.least_squares import ridge
from spa.repairs.fit import Fit, Matrix, repair
from spa.repairs.mixing import mix

LARGEST = 4700  # features of one solve; beyond, whole channels are mixed


@repair(shared=True)
def full(fit: Fit) -> tuple[Matrix, Matrix] | None:
    """All weights, by least squares.

    Convolutions that read very many features take a mixture of channels, and products go block by
    block, each on what the others leave.
    """
    if fit.weight.shape[2] <= LARGEST:
        return _at_once(fit)
    return mix(fit) if fit.mixes else _by_block(fit)


def _at_once(fit: Fit) -> tuple[Matrix, Matrix]:
    sums = fit.moments(fit.weight)
    fixed = fit.bias.astype(np.float32)[:, :, None]
    for chunk in fit.chunks():
        wanted = chunk.wanted if fit.affine else chunk.wanted - fixed
        sums.add(chunk.columns, wanted, chunk.samples)
    weight, bias = ridge(sums, fit.weight, fit.strength, fit.affine)
    return weight, bias if fit.affine else fit.bias


def _by_block(fit: Fit) -> tuple[Matrix, Matrix]:
    weight, bias = fit.weight.copy(), fit.bias.copy()
    for low in range(0, weight.shape[2], LARGEST):
        own = weight[:, :, low : low + LARGEST]
        sums = fit.moments(own)
        for chunk in fit.chunks():
            columns = chunk.columns[:, low : low + LARGEST]
            wanted = chunk.gap(weight, bias) + own.astype(np.float32) @ columns
            sums.add(columns, wanted, chunk.samples)
        own[...], gained = ridge(sums, own, fit.strength, fit.affine)
        bias += gained
    return weight, bias
