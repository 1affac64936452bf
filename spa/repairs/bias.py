"""Biases alone: what is missing on average."""

from __future__ import annotations

import numpy as np

from spa.repairs.fit import Fit, Matrix, repair


@repair()
def bias(fit: Fit) -> tuple[Matrix, Matrix]:
    """Biases, by what is missing on average."""
    if not fit.affine:
        return fit.weight, fit.bias
    missing, count = np.zeros(fit.bias.shape), 0
    for chunk in fit.chunks():
        missing += chunk.gap(fit.weight, fit.bias).sum(2, dtype=np.float64)
        count += chunk.wanted.shape[2]
    return fit.weight, fit.bias + missing / max(count, 1)
