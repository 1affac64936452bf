"""What a cut of weights goes by: a plan, the exported file, and the pruned model."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from spa.checkpoints.exported import Exported
from spa.errors import UsageError
from spa.graph import read
from spa.plans import Plan, carried_plan

if TYPE_CHECKING:
    from onnx import ModelProto

Place: TypeAlias = "str | os.PathLike[str]"
Guide: TypeAlias = "Place | Mapping[str, Any] | Plan | object"
Model: TypeAlias = "Place | bytes | ModelProto"


@dataclass(frozen=True)
class Sources:
    """A plan and what is known of the two files around it, as `carry` takes them."""

    plan: Plan
    export: Exported | None = None
    slim: Exported | None = None


def sources(guide: Guide, export: Model | None = None, pruned: Model | None = None) -> Sources:
    """Read what a cut goes by.

    Args:
        guide: a plan, its file or its content; a pruned model that carries its plan; or a result
            of spa, whose model is taken, too, where there is one.
        export: the file that the weights were exported to.
        pruned: the pruned model, where `guide` is only the plan.

    Raises:
        UsageError: there is no plan, or a pruned model without the file it was made of.
        ReadError: a model cannot be read.
    """
    plan = _plan(guide)
    model = getattr(guide, "model", None) if pruned is None else pruned
    folder = getattr(guide, "base_dir", None) if pruned is None else None
    if pruned is None and isinstance(guide, str | os.PathLike) and not _is_text(Path(guide)):
        model = guide
    if export is None and model is not None:
        export = _input_of(guide)
    if export is None and model is not None:
        raise UsageError(
            "the numbers of a pruned model fit only beside those it was made from; give the file "
            "that was exported with --export (in Python: export)"
        )
    return Sources(
        plan,
        None if export is None else Exported.of(read(export)),
        None if model is None else Exported.of(read(model, base_dir=folder)),
    )


def _plan(guide: Guide) -> Plan:
    if isinstance(guide, Plan):
        return guide
    if isinstance(guide, str | os.PathLike):
        path = Path(guide)
        if not path.is_file() or _is_text(path):
            return Plan.load(path)
        found = carried_plan(read(path).proto)
        if found is None:
            raise UsageError(
                f"{path} carries no plan; give the one that `spa plan` or `spa prune` wrote, and "
                "the model with --pruned"
            )
        return found
    plan = getattr(guide, "plan", None)
    if isinstance(plan, Plan):
        return plan
    if isinstance(guide, Mapping) and "tensors" in guide:
        try:
            return Plan.from_json(json.dumps(dict(guide)))
        except (TypeError, ValueError) as error:
            raise UsageError(
                f"this is not a plan of spa ({error}); make one with spa.plan"
            ) from error
    raise UsageError(f"{type(guide).__name__} has no plan; make one with spa.plan")


def _is_text(path: Path) -> bool:
    """Whether a file begins as JSON does."""
    try:
        with path.open("rb") as file:
            return file.read(64).lstrip().startswith(b"{")
    except OSError:
        return False


def _input_of(guide: Guide) -> Path | None:
    """The file that a result of spa was made from."""
    report = getattr(guide, "report", None)
    facts = report.get("input") if isinstance(report, Mapping) else None
    path = facts.get("path") if isinstance(facts, Mapping) else None
    return Path(path) if path and Path(path).is_file() else None
