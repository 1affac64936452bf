"""How large an error is in the activations that sites feed, and scores from curves of errors."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from spa.coupling.model import Coupling
from spa.executor.sinks import scaled
from spa.executor.sites import Site
from spa.executor.survey import Survey

SPREAD = 1e-6  # of an output's energy: what varies less is rounding
DETAIL = 1.0  # of the mean variance of a sink: directions that vary less count less
TIE = 1e-9  # share by which equal slopes are told apart
Matrix = NDArray[np.float64]


class ActivationMetric:
    """The measure of errors at sites whose sinks have been surveyed.

    Directions in which a sink varies a lot would drown those that carry the detail; so each counts
    by λ / (λ + ε), its variance λ against a floor ε, and the whole is the number of directions that
    count: tr(E (Σ + εI)⁻¹) / tr(Σ (Σ + εI)⁻¹).
    """

    def __init__(self, coupling: Coupling, seen: Survey) -> None:
        self.seen = seen
        self.consts = {**coupling.graph.consts, **seen.statistics}
        self._metrics: dict[tuple[int, int], tuple[Matrix, float]] = {}

    def rows(self, site: Site, matrix: Matrix) -> tuple[Matrix, Matrix]:
        """Rows whose squares add up to the error, and the whole of each group, `[groups]`.

        `matrix` is `[groups, rows, m]`, rows as the site makes them; so is what comes back.
        """
        matrix = scaled(matrix, site.sink.gain(self.consts))
        made, whole = np.empty_like(matrix), np.ones(len(matrix))
        for g in range(len(matrix)):
            key = site.node.index, g
            if key not in self._metrics:
                self._metrics[key] = self._metric(site, g, matrix.shape[1])
            whitening, whole[g] = self._metrics[key]
            wide = whitening.ndim == 1
            made[g] = whitening[:, None] * matrix[g] if wide else whitening @ matrix[g]
        return made, whole

    def error(self, site: Site, change: NDArray[Any]) -> float:
        """How much a change of the site's output matters, as a share."""
        rows = site.form.rows(change, site.groups(), None).astype(np.float64)
        made, whole = self.rows(site, rows)
        shares = np.square(made).sum((1, 2)) / whole
        return float(shares.sum() / rows.shape[2])

    def _metric(self, site: Site, g: int, rows: int) -> tuple[Matrix, float]:
        """The inverse of the Cholesky factor of what errors are measured against, and the whole.

        Of a sink with very many channels only the diagonal, `[rows]`.
        """
        tensor = site.sink.tensor
        covariance, energy = self.seen.covariance[tensor], self.seen.energy[tensor]
        if covariance.ndim == 1:
            var = covariance[g * rows : (g + 1) * rows]
            floor = max(DETAIL * float(var.mean()), SPREAD * energy, 1e-30)
            return 1 / np.sqrt(var + floor), max(float((var / (var + floor)).sum()), SPREAD)
        if site.sink.axis is None:
            covariance = covariance * np.eye(rows)
        else:
            own = slice(g * rows, (g + 1) * rows)
            covariance = covariance[own, own]
        floor = max(DETAIL * float(np.mean(np.diag(covariance))), SPREAD * energy, 1e-30)
        whole = covariance + floor * np.eye(rows)
        whitening = _whitening(whole, floor)
        dims = rows - floor * float(np.square(whitening).sum())  # tr(Σ A⁻¹), as Σ = A - εI
        return whitening, max(dims, SPREAD)


def _whitening(whole: Matrix, floor: float) -> Matrix:
    """A matrix T with TᵀT the inverse of `whole`, of which nothing should be less than `floor`."""
    from scipy.linalg.lapack import dtrtri

    try:
        return np.asarray(dtrtri(np.linalg.cholesky(whole), lower=1)[0], np.float64)
    except np.linalg.LinAlgError:  # sums of large numbers left more rounding than there is variance
        values, vectors = np.linalg.eigh(whole)
        scaled = vectors / np.sqrt(np.maximum(values, floor))
        return np.asarray(scaled.T, np.float64)


def hull(steps: Matrix) -> Matrix:
    """Slopes of the largest convex curve below the one with these steps, `[n]`.

    They never fall, their sums follow the curve, and equal ones are told apart by their order.
    """
    from scipy.optimize import isotonic_regression

    slopes = isotonic_regression(steps).x if len(steps) else steps
    return np.asarray(slopes * (1 + TIE * np.arange(len(slopes))))
