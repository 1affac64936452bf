"""What the sinks of sites feel of an error, as a share of all that they carry."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spa.coupling.model import Coupling
from spa.executor.sites import Site, concerned, sites_of
from spa.executor.survey import survey

SPREAD = 1e-6  # of an output's energy: what varies less is rounding
DETAIL = 0.3  # of the mean variance of a sink: directions that vary less count less
Matrix = NDArray[np.float64]
Feeds = Sequence[Mapping[str, NDArray[Any]]]


class Felt:
    """The measure of errors at the sites that read what may go; one dense pass.

    Directions in which a sink varies a lot would drown those that carry the detail; so each counts
    by λ / (λ + ε), its variance λ against a floor ε, and the whole is the number of directions that
    count: tr(E (Σ + εI)⁻¹) / tr(Σ (Σ + εI)⁻¹).
    """

    def __init__(self, coupling: Coupling, feeds: Feeds, device: Any = "cpu") -> None:
        sites = (s for s in sites_of(coupling) if concerned(s, coupling))
        wanted = {(s.sink.tensor, s.sink.axis) for s in sites}
        self.seen = survey(coupling, feeds, wanted, device=device)
        self.consts = {**coupling.graph.consts, **self.seen.statistics}

    def rows(self, site: Site, matrix: Matrix) -> tuple[Matrix, Matrix]:
        """Rows whose squares add up to what is felt, and the whole of each group.

        Args:
            site: where the error arises.
            matrix: `[groups, rows, m]`, rows as the site makes them.

        Returns:
            `[groups, rows, m]` and `[groups]`.
        """
        gain = site.sink.gain(self.consts)
        if gain is not None:
            matrix = matrix * gain.reshape(matrix.shape[:2])[:, :, None]
        made, whole = np.empty_like(matrix), np.ones(len(matrix))
        for g in range(len(matrix)):
            lower, whole[g] = self._metric(site, g, matrix.shape[1])
            made[g] = np.linalg.solve(lower, matrix[g])
        return made, whole

    def error(self, site: Site, change: NDArray[Any]) -> float:
        """What is felt of a change of the site's output, as a share."""
        rows = site.form.rows(change, site.groups(), None).astype(np.float64)
        made, whole = self.rows(site, rows)
        shares = np.square(made).sum((1, 2)) / whole
        return float(shares.sum() / rows.shape[2])

    def _metric(self, site: Site, g: int, rows: int) -> tuple[Matrix, float]:
        """The Cholesky factor of what errors of one group are measured against, and the whole."""
        tensor = site.sink.tensor
        covariance, energy = self.seen.covariance[tensor], self.seen.energy[tensor]
        if site.sink.axis is None:
            covariance = covariance * np.eye(rows)
        else:
            own = slice(g * rows, (g + 1) * rows)
            covariance = covariance[own, own]
        floor = max(DETAIL * float(np.mean(np.diag(covariance))), SPREAD * energy, 1e-30)
        whole = covariance + floor * np.eye(rows)
        dims = float(np.trace(np.linalg.solve(whole, covariance)))
        return np.asarray(np.linalg.cholesky(whole), np.float64), max(dims, SPREAD)
