"""`sweep`: many ratios or speeds from one set of scores, or the largest that passes its gates."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from spa.errors import UsageError
from spa.events import Callback, quiet
from spa.pipeline.context import Context
from spa.pipeline.files import check_output, files_read
from spa.pipeline.finish import deliver
from spa.pipeline.gates import limits_of, score_original
from spa.pipeline.load import couple, load, sizes_note
from spa.pipeline.next_step import prune_line
from spa.pipeline.report import report_of, reporting
from spa.pipeline.result import Result
from spa.pipeline.trials import PRECISION, Best, Trials, asking, grid
from spa.pipeline.tuning import Checkpoints, check_tuning
from spa.recipe import GATES, QUALITY, Recipe, asks
from spa.reports.sweep import Sweep, summarize
from spa.reports.sweep import Written as File
from spa.reports.trials import By, asked

Reads = tuple[Path, ...]


def sweep(
    model: Any,
    recipe: Recipe,
    callback: Callback = quiet,
    *,
    ratios: Sequence[float] = (),
    speedups: Sequence[float] = (),
    fastest: bool = False,
    precision: float | None = None,
    resume: bool = False,
    output: str | os.PathLike[str] | None = None,
    force: bool = False,
) -> Result:
    """Try several ratios or speed-ups on one model; without a list of them, search.

    The recipe's ratio does not count, its gates say which models pass; the smallest of them (the
    `fastest`, if that is asked for, or speed-ups are) is written.  Where none passes the exit code
    of the result is not 0.  To `resume` a sweep that was interrupted is to go on with its tunings,
    and to repeat all else.  Raises SpaError where nothing could be tried, with the partial report
    as attribute `report`, and so KeyboardInterrupt.
    """
    context = Context("sweep", callback)
    with reporting(context):
        by: By = "speedup" if speedups or fastest else "ratio"
        if ratios and by == "speedup":
            raise UsageError("--ratios and a budget of speed contradict each other; give one")
        finely = PRECISION[by] if precision is None else precision
        values = sorted({*map(float, [*ratios, *speedups])})
        least = _checked(recipe, by, values, finely, output is not None)
        context.reach(least)
        check_tuning(recipe if recipe.tunes else replace(recipe, tune="off"), resume=resume)
        check_output(model, recipe, output)
        original = couple(load(model, recipe, context), recipe, context)
        sizes_note(original.graph, context)
        score_original(original.graph, recipe, context)
        kept = Checkpoints("if-kept" if resume else False, [])
        trials = Trials(original, by, least, context, output, kept)
        if values:
            trials.each(values)
        else:
            trials.search(finely)
        kept.forget()
        context.timings.pop("sweep")  # the other stages say it
        trouble = trials.trouble(recipe)
        reads, written = files_read(original.graph, recipe), None
        if output is not None and trials.best is not None and trouble is None:
            written = trials.best.written
            deliver(written, output, reads, force, trials.best.context)
    why = {} if trouble is None else {"exit_code": trouble.exit_code, "error": str(trouble)}
    result = summarize(
        report_of(context),
        [*trials.rows.values()],
        mode="list" if values else "search",
        by=by,
        of=least.of,
        scorer=trials.settled.recipe.scorer,
        gates=limits_of(recipe),
        best=trials.best.asked if trials.best else None,
        next=None if written is not None else _next(trials, recipe),
        **why,
    )
    return _result(result, trials.best, reads, delivered=written is not None)


def _checked(
    recipe: Recipe, by: By, values: Sequence[float], precision: float, writes: bool
) -> Recipe:
    """The recipe with the least that is tried."""
    if recipe.speedup is not None:
        raise UsageError("a sweep tries several; give --speedups 1.25,1.5,2, or use spa prune")
    guided = any(asks(recipe, name) for name in QUALITY)
    if not values and not guided:
        raise UsageError(
            "nothing says which models to try; give --ratios 0.1,0.2,0.3 or --speedups 1.25,1.5, "
            "or say what a model "
            "must pass for a search: --min-quality good, --min-agreement 0.98, or --check with "
            "--max-drop or --set min-score=SCORE"
        )
    if writes and not any(asks(recipe, name) for name in GATES):
        raise UsageError(
            "-o writes the smallest model that passes its gates, and there are none; "
            "give --max-drift, or use spa prune with what you like"
        )
    if not 0 < precision <= 0.5:
        raise UsageError(f"--precision is a share in (0, 0.5], not {precision:g}; 0.01 is usual")
    for value in values:
        asking(recipe, by, value).validate()
    least = min(values, default=grid(by, precision)(1))
    return asking(recipe, by, least).validate().budgeted


def _result(sweep: Sweep, best: Best | None, reads: Reads, *, delivered: bool) -> Result:
    if best is None:
        return Result(sweep, exit_code=sweep["exit_code"], reads=reads)
    output = best.report["output"]
    if delivered and output is not None:
        assert output["path"] and output["sha256"] and output["bytes"]
        sweep["output"] = File(path=output["path"], sha256=output["sha256"], bytes=output["bytes"])
        sweep["files"] = [*best.report.get("files", ())]
    written = best.written
    base, plan = written.original.graph.source.base_dir, written.repaired.cut.choice.plan
    return Result(sweep, written.file, plan, sweep["exit_code"], base, reads)


def _next(trials: Trials, recipe: Recipe) -> str | None:
    """The command for the largest cut whose quality is good and that passes."""
    rows = trials.rows.values()
    good = [asked(r) for r in rows if r["quality"] == "good" and r["status"] == "passed"]
    path = trials.groups.graph.source.path
    if not good or path is None:
        return None
    return prune_line(path, asking(recipe, trials.by, max(good)))
