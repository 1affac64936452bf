"""Our own node cases: older opsets, and operators that the wheel tests thinly."""

from __future__ import annotations

from onnx import defs

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
    """All of them whose opset the installed onnx knows."""
    known = defs.onnx_opset_version()
    every = (case for family in FAMILIES for case in family())
    return tuple(case for case in every if case.model.opset_import[0].version <= known)
