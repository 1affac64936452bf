"""Criteria: functions from a coupling to one importance per unit; one file each.

A criterion scores single weights; `aggregate` turns that into a score per coupled channel, as SPA
(arXiv 2403.18955, section 3.3) does: aggregate over all members of the channel, then normalise
within its group.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, NoReturn

import numpy as np
from numpy.typing import NDArray

from spa.coupling.model import Coupling
from spa.criteria.aggregate import aggregate, normalize
from spa.errors import ReadError, UsageError
from spa.events import Tell, quiet
from spa.trace.kinds import is_float

Scores = NDArray[np.float64]
SCORERS = ("l1", "l2", "fpgm", "random", "act", "obspa")
MEASURED = frozenset(("act", "obspa"))
"""Scorers that need probe inputs; their scores are errors, comparable between groups."""


def score(
    coupling: Coupling,
    scorer: str = "l2",
    *,
    saliency: str | Path | None = None,
    how: str = "sum",
    norm: str = "mean",
    seed: int = 0,
    feeds: Sequence[Mapping[str, NDArray[Any]]] = (),
    device: Literal["auto", "cpu", "cuda"] = "auto",
    batch_norm: bool = True,
    tell: Tell = quiet,
) -> Scores:
    """Importance per unit, float64 `[labels]`, normalised within each group.

    Args:
        coupling: the analysed graph.
        scorer: one of `SCORERS`; ignored when `saliency` is given.
        saliency: .npz or .safetensors with one array per initializer, of the initializer's shape.
        how: `sum`, `mean` or `max` over the members of a coupled channel.
        norm: `none`, `mean`, `max` or `gaussian` within the group.
        seed: for `random`.
        feeds: probe inputs, one dict per batch, for scorers in `MEASURED`.
        device: where these run.
        batch_norm: whether BatchNormalization, folded or not, then takes the statistics of `feeds`.
        tell: where progress goes.

    Raises:
        ReadError: a score is no number, as weights are none.
        UsageError: unknown names, or a saliency file that does not fit the model.
    """
    if scorer in MEASURED and saliency is None:
        if scorer == "act":
            from spa.criteria.act import act

            found = act(coupling, feeds, device, batch_norm, tell)
        else:
            from spa.criteria.obs import obs

            found = obs(coupling, feeds, device, batch_norm, tell)
    elif scorer == "fpgm" and saliency is None:
        from spa.criteria.fpgm import fpgm

        found = normalize(coupling, fpgm(coupling), norm)
    else:
        weigh = _weigher(coupling, scorer, saliency, seed)
        total = aggregate(coupling, weigh, how)
        if scorer == "l2" and saliency is None:
            total = np.sqrt(total)
        found = normalize(coupling, total, norm)
    if np.isnan(found).any():
        _explain(coupling)
    return found


def _explain(coupling: Coupling) -> NoReturn:
    """Raise ReadError: scores are no numbers; names the weights that are none either, if any."""
    consts = coupling.graph.consts
    for param in coupling.notes.params.values():
        name = param.tensor
        if name is None or not is_float(coupling.graph.dtypes.get(name)):
            continue
        if not np.isfinite(np.asarray(consts[name], np.float32)).all():
            raise ReadError(
                f"the weights '{name}' hold numbers that are not finite, so that channels "
                "cannot be ranked; export the model again, or leave these alone with --ignore"
            )
    raise ReadError(
        "the scores of some channels are no numbers; choose another scorer (such as --scorer l1), "
        "or give inputs that the model is made for with --calib"
    )


def _weigher(
    coupling: Coupling, scorer: str, saliency: str | Path | None, seed: int
) -> Callable[[str, NDArray[np.float32]], NDArray[np.float32]]:
    """The function that scores single weights."""
    if saliency is not None:
        from spa.criteria.saliency import from_file

        return from_file(coupling.graph, Path(saliency))
    if scorer in ("l1", "l2"):
        from spa.criteria import magnitude

        return magnitude.l1 if scorer == "l1" else magnitude.squares
    if scorer == "random":
        from spa.criteria.random import uniform

        return uniform(seed)
    raise UsageError(f"there is no scorer {scorer!r}; choose one of {', '.join(SCORERS)}")
