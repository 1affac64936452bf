"""The plan that a pruned model carries in its metadata."""

from __future__ import annotations

import base64
import zlib

from onnx import ModelProto

from spa.plans.model import Plan

PLAN = "spa.plan"
"""Where a model's metadata have the plan that it was cut by."""
LARGEST_PLAN = 1 << 28  # bytes that a plan in a model's metadata may unfold to


def packed(plan: Plan) -> str:
    """A plan as metadata have it."""
    return base64.b64encode(zlib.compress(plan.to_json().encode(), 9)).decode()


def carried_plan(model: ModelProto) -> Plan | None:
    """The plan in a pruned model's metadata, if there is one that can be read."""
    for entry in model.metadata_props:
        if entry.key == PLAN:
            try:
                text = zlib.decompressobj().decompress(base64.b64decode(entry.value), LARGEST_PLAN)
                return Plan.from_json(text.decode())
            except (ValueError, zlib.error):
                return None
    return None
