"""What a run leaves behind: the model, the plan it followed, the report."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from spa.plans import Plan

if TYPE_CHECKING:
    import onnx


@dataclass(frozen=True, eq=False)
class Outcome:
    """The result of pruning.

    Attributes:
        model: the pruned model; large tensors may still lie in the original's data file.
        plan: what was kept.
        report: the report (see `spa.reports.schema`).
        exit_code: 0, what the shell returns.
        base_dir: the folder that external data of `model` is relative to, or None.
        reads: the files that were read, none of which is ever replaced.
    """

    model: onnx.ModelProto
    plan: Plan
    report: dict[str, Any]
    exit_code: int = 0
    base_dir: Any = None
    reads: tuple[Path, ...] = ()

    def save(self, path: str | os.PathLike[str], force: bool = False) -> None:
        """Write the model atomically.

        Raises:
            UsageError: the file exists and `force` is not set, it is one that was read, or it
                cannot be written.
        """
        from spa.graph import save

        source = self.report["input"]["path"]
        save(
            self.model,
            path,
            force=force,
            base_dir=self.base_dir,
            source=source,
            reads=self.reads,
        )
