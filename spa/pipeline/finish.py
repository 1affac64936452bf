"""Written → file: verified, measured, held against its gates, and only then where it belongs."""

from __future__ import annotations

import os
from functools import partial
from pathlib import Path
from typing import Any

from spa.graph import save
from spa.pipeline.context import Context
from spa.pipeline.files import staged
from spa.pipeline.gates import check_gates
from spa.pipeline.load import sizes_note
from spa.pipeline.report import report_of
from spa.pipeline.result import Result
from spa.pipeline.values import Settled, Written
from spa.pipeline.verdict import judge

Place = str | os.PathLike[str]


def finish(
    written: Written,
    settled: Settled,
    context: Context,
    output: Place | None,
    *,
    weigh: bool = False,
) -> Written:
    """Verify, measure, and hold against the gates; `weigh` asks for the file's size."""
    graph = written.original.graph
    sizes_note(graph, context)
    judge(written, settled, context)
    name = "model.onnx" if output is None else Path(output).name
    file = partial(staged, written.file, graph.source.base_dir, name)
    check_gates(settled.recipe, context, file, weigh=weigh)
    return written


def deliver(
    written: Written, output: Place, reads: tuple[Path, ...], force: bool, context: Context
) -> None:
    """Write the model; it has passed everything."""
    source = written.original.graph.source
    kept: dict[str, Any] = {"base_dir": source.base_dir, "source": source.path}
    context.reach(save(written.file, output, force=force, reads=reads, **kept))


def result_of(
    written: Written, context: Context, reads: tuple[Path, ...], status: Any = "ok"
) -> Result:
    """What a run gives back."""
    base, plan = written.original.graph.source.base_dir, written.repaired.cut.choice.plan
    report = report_of(context, status)
    return Result(report, written.file, plan, report["exit_code"], base, reads)
