"""Our own node cases: older opsets, and operators that the wheel tests thinly."""

from __future__ import annotations

from tests.corpus import flow, integers, plain, weights
from tests.corpus.cases import Case

FAMILIES = (
    weights.convolutions,
    weights.products,
    weights.conversions,
    weights.chains,
    weights.norms,
    weights.sequences,
    weights.attentions,
    integers.products,
    integers.convolutions,
    integers.others,
    integers.blocks,
    plain.movements,
    plain.joints,
    plain.summaries,
    plain.spatial,
    plain.pointwise,
    flow.bodies,
)


def extra() -> tuple[Case, ...]:
    """All of them."""
    return tuple(case for family in FAMILIES for case in family())
