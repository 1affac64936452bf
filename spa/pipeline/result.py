"""What every face gives back: the model, the plan, the report, and what to say of them."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from spa.errors import UsageError
from spa.plans import Plan

if TYPE_CHECKING:
    import onnx


@dataclass(frozen=True, eq=False, repr=False)
class Result(Mapping[str, Any]):
    """The result of a command, and its report as a mapping: `result["verify"]["drift"]`.

    Attributes:
        report: what was done and seen (see `spa.reports.schema`).
        model: the pruned model, where one was made; large tensors may still lie in the original's
            data file, so write it with `save`.
        plan: what was kept, where something was chosen.
        exit_code: what the shell returns.
        base_dir: the folder that external data of `model` is relative to, or None.
        reads: the files that were read, none of which is ever replaced.
    """

    report: Mapping[str, Any]
    model: onnx.ModelProto | None = None
    plan: Plan | None = None
    exit_code: int = 0
    base_dir: Path | None = None
    reads: tuple[Path, ...] = ()

    def __getitem__(self, key: str) -> Any:
        return self.report[key]

    def __iter__(self) -> Iterator[str]:
        return iter(self.report)

    def __len__(self) -> int:
        return len(self.report)

    def save(self, path: str | os.PathLike[str], force: bool = False) -> None:
        """Write the model, or the plan where no model was made, atomically.

        Raises:
            UsageError: there is neither, the file exists and `force` is not set, it is one that
                was read, or it cannot be written.
        """
        if self.model is not None:
            from spa.graph import save

            source = self.report["input"]["path"]
            kept: dict[str, Any] = {"base_dir": self.base_dir, "source": source}
            save(self.model, path, force=force, reads=self.reads, **kept)
        elif self.plan is not None:
            self.plan.save(path)
        else:
            command = self.report.get("command", "this")
            raise UsageError(f"{command} makes no model and no plan to save; use spa.prune")

    def __repr__(self) -> str:
        from spa.reports.summary import sentence

        return f"<spa.Result: {sentence(self.report)}>"

    def _repr_html_(self) -> str:
        """A table, for notebooks."""
        from spa.reports.summary import table

        return table(self.report)
