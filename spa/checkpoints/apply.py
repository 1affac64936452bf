"""`spa apply` on a checkpoint: read, cut, written again."""

from __future__ import annotations

from pathlib import Path
from typing import TypedDict

from spa.checkpoints.carry import carry
from spa.checkpoints.files import opened
from spa.checkpoints.sources import sources
from spa.checkpoints.told import Row
from spa.storage import check_place, replaced


class Told(TypedDict):
    """What `spa apply` says of a checkpoint."""

    command: str
    input: str
    output: str
    rows: list[Row]
    notes: list[str]


def apply(
    source: str,
    plan: str,
    output: str,
    *,
    export: str | None = None,
    pruned: str | None = None,
    force: bool = False,
) -> Told:
    """Cut a checkpoint's file.

    Args:
        source: the checkpoint.
        plan: of `spa plan`, or a pruned model that carries its plan.
        output: the file to write, of the same kind.
        export: the ONNX file that the checkpoint was exported to.
        pruned: the pruned model, where `plan` is only the plan.
        force: whether the output may be replaced.

    Raises:
        UsageError: what is cut is not found or cannot be cut, or the output cannot be written.
        ReadError: a file cannot be read.
    """
    check_place(output, "the output", force=force)
    weights, write = opened(Path(source))
    found = sources(plan, export, pruned)
    carried = carry(weights, found.plan, found.export, found.slim)
    replaced(Path(output), write(carried.weights), "the output", "choose another place with -o")
    notes = list(carried.notes)
    if carried.biases:
        notes.append(
            f"the refit adds a bias to {len(carried.biases)} weights (such as "
            f"{next(iter(carried.biases))}) that have none here: what it corrects is lost"
        )
    return Told(command="apply", input=source, output=output, rows=list(carried.rows), notes=notes)
