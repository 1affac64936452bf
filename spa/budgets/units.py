"""Units: what a ratio is a ratio of, as a price of what is kept."""

from __future__ import annotations

from collections.abc import Callable

from spa.coupling.cost import Channels, Cost
from spa.coupling.model import Coupling, KeptUnits
from spa.registry import UNITS, Registry

Price = Callable[[KeptUnits], float]
"""What keeping the units in `kept`, bool `[labels]`, costs; asked hundreds of times."""
Unit = Callable[[Coupling], Price]
unit: Registry[Unit] = UNITS


@unit(counted=True)
def macs(coupling: Coupling) -> Price:
    """Multiply-accumulates of one inference."""
    cost = Cost(coupling)
    return lambda kept: cost(kept).macs


@unit(counted=True)
def params(coupling: Coupling) -> Price:
    """Stored numbers.

    All that the file holds but indices and sizes: weights, biases (of quantised models, too), and
    the statistics of BatchNormalization, which PyTorch counts as buffers; folding removes them.
    """
    cost = Cost(coupling)
    return lambda kept: cost(kept).params


@unit(counted=True)
def channels(coupling: Coupling) -> Price:
    """Channels of all groups."""
    return Channels(coupling)


@unit(timed=True)
def latency(coupling: Coupling) -> Price:
    """Time of one inference, measured here and now.

    A table of timed pieces is its price, and the result is timed (see "A budget of milliseconds");
    before anything has been timed, MACs stand for it.
    """
    return macs(coupling)


def removed(coupling: Coupling, kept: KeptUnits, of: object) -> dict[str, float]:
    """The share that is gone, by the unit's name; nothing of what is counted or timed anyhow."""
    if not isinstance(of, str) or of not in UNITS:
        return {}
    if UNITS.says(of, "counted") or UNITS.says(of, "timed"):
        return {}
    price = UNITS.get(of)(coupling)
    whole = price(coupling.everything())
    return {of: (whole - price(kept)) / whole}
