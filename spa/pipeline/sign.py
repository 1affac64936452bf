"""Repaired → Written: the model says where it comes from, and is no larger than it must be."""

from __future__ import annotations

from dataclasses import replace

from onnx import ModelProto

from spa._version import __version__
from spa.coupling.cost import Cost, stored
from spa.graph import Graph
from spa.graph.normalize import count_ops
from spa.pipeline.context import Context
from spa.pipeline.values import Groups, Repaired, Written
from spa.plans import Plan
from spa.plans.carried import PLAN, packed
from spa.reports.schema import OpCounts
from spa.reports.wording import size
from spa.rewrite.compact import bytes_of, compact

OURS = "spa."
REFITTED = "spa.reconstructed"


def sign(repaired: Repaired, original: Groups, shortened: Groups, context: Context) -> Written:
    """Put the plan into the model's metadata, and settle what its file will be."""
    choice, small = repaired.cut.choice, repaired.model
    sizes = replace(Cost(choice.coupling)(choice.kept), params=stored(small))
    _signed(small, original.graph, choice.plan, refitted=repaired.refitted)
    file = _compacted(small, original.graph, context)
    ops = OpCounts(before=dict(original.graph.source.ops), after=count_ops(file))
    return context.reach(Written(original, shortened, repaired, file, sizes, ops))


def is_refitted(model: ModelProto) -> bool:
    """Whether spa changed the weights that it kept, so that no masked original equals the model."""
    return any(entry.key == REFITTED for entry in model.metadata_props)


def _signed(small: ModelProto, graph: Graph, plan: Plan, *, refitted: bool) -> None:
    entries = {
        "spa.version": __version__,
        "spa.plan_sha256": plan.sha256,
        "spa.source_sha256": graph.source.sha256,
        PLAN: packed(plan),
    }
    if refitted:
        entries[REFITTED] = "true"
    kept = [p for p in small.metadata_props if p.key not in (*entries, REFITTED)]
    del small.metadata_props[:]
    small.metadata_props.extend(kept)
    for key, value in entries.items():
        small.metadata_props.add(key=key, value=value)


def _compacted(small: ModelProto, graph: Graph, context: Context) -> ModelProto:
    """What is written of a model that was cut and signed; says where it is larger than before."""
    file, most = compact(small, graph), graph.source.bytes
    taken = bytes_of(file)
    without = taken - sum(entry.ByteSize() for entry in file.metadata_props if entry.key == PLAN)
    if taken > most >= without:
        kept = [entry for entry in file.metadata_props if entry.key != PLAN]
        del file.metadata_props[:]
        file.metadata_props.extend(kept)
        context.note(
            f"the plan ({size(taken - without)}) is not carried in the file, which would be larger "
            f"than the input with it; spa plan writes it to a file of its own"
        )
    elif taken > most:
        said = sum(entry.ByteSize() for entry in file.metadata_props if entry.key.startswith(OURS))
        context.warn(
            f"the file takes {taken:,} bytes, more than the {most:,} of the input: "
            + (
                f"{said:,} of them say what was done to it"
                if taken - said <= most
                else "what was changed must be stored where the input could compute it"
            )
        )
    return file
