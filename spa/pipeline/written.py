"""The file of a pruned model, no larger than that of the original if that can be helped."""

from __future__ import annotations

from onnx import ModelProto

from spa.graph import Graph
from spa.pipeline.journal import Journal
from spa.reports.wording import size
from spa.rewrite.compact import bytes_of, compact

OURS = "spa."
PLAN = "spa.plan"
"""Where a model's metadata have the plan that it was cut by."""


def written(small: ModelProto, graph: Graph, journal: Journal) -> ModelProto:
    """What is written of a model that was cut and signed; says where it is larger than before."""
    file, most = compact(small, graph), graph.source.bytes
    taken = bytes_of(file)
    without = taken - sum(entry.ByteSize() for entry in file.metadata_props if entry.key == PLAN)
    if taken > most >= without:
        kept = [entry for entry in file.metadata_props if entry.key != PLAN]
        del file.metadata_props[:]
        file.metadata_props.extend(kept)
        journal.note(
            f"the plan ({size(taken - without)}) is not carried in the file, which would be larger "
            f"than the input with it; spa plan writes it to a file of its own"
        )
    elif taken > most:
        said = sum(entry.ByteSize() for entry in file.metadata_props if entry.key.startswith(OURS))
        journal.warn(
            f"the file takes {taken:,} bytes, more than the {most:,} of the input: "
            + (
                f"{said:,} of them say what was done to it"
                if taken - said <= most
                else "what was changed must be stored where the input could compute it"
            )
        )
    return file
