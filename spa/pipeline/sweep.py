"""`sweep`: many ratios from one set of scores, or the smallest model that passes its gates.

The model is read, analysed, fed and scored once; each ratio is then a choice from the same scores,
cut, refitted, verified and measured as `prune` does it, with the same result.
"""

from __future__ import annotations

import math
import os
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from spa.errors import SpaError, TargetError, UsageError, VerifyError
from spa.events import Callback, Step, quiet
from spa.pipeline.context import Context
from spa.pipeline.files import check_output, files_read
from spa.pipeline.gates import check_sizes, limit_of, score_original
from spa.pipeline.heal import heal
from spa.pipeline.load import couple, load, sizes_note
from spa.pipeline.next_step import prune_line
from spa.pipeline.prune import deliver, finish
from spa.pipeline.repair import cut, repair
from spa.pipeline.report import report_of, reporting
from spa.pipeline.result import Result
from spa.pipeline.score import rotated, score
from spa.pipeline.select import within_budget
from spa.pipeline.settle import settle
from spa.pipeline.shorten import share_of_rest, shorten
from spa.pipeline.sign import sign
from spa.pipeline.tuning import Checkpoints, check_tuning
from spa.pipeline.values import Choice, Groups, Scores, Settled, Tuned, Written
from spa.recipe import GATES, Recipe, asks
from spa.reports.schema import Report
from spa.reports.sweep import Row, Status, Sweep, empty, row_of, summarize
from spa.reports.sweep import Written as File

QUALITY = ("max_drift", "min_agreement", "min_quality", "max_drop", "min_score")
"""Gates that the more one prunes the fewer models pass: they can guide a search."""

SIZE = tuple(name for name in GATES if name not in QUALITY)
PRECISION = 0.01
LEAST = 1e-9  # to ask for, where branches are enough for a ratio but perhaps not for others
Reads = tuple[Path, ...]


def sweep(
    model: Any,
    recipe: Recipe,
    callback: Callback = quiet,
    *,
    ratios: Sequence[float] = (),
    precision: float = PRECISION,
    resume: bool = False,
    output: str | os.PathLike[str] | None = None,
    force: bool = False,
) -> Result:
    """Try several ratios on one model; without a list of them, search by bisection.

    The recipe's ratio does not count, its gates say which models pass; the smallest of them is
    written.  Where none passes the exit code of the result is not 0.  To `resume` a sweep that was
    interrupted is to go on with its tunings, and to repeat all else.  Raises SpaError where nothing
    could be tried, with the partial report as attribute `report`, and so KeyboardInterrupt.
    """
    context = Context("sweep", callback)
    with reporting(context):
        recipe = context.reach(_checked(recipe, ratios, precision, output is not None))
        check_tuning(recipe if recipe.tunes else replace(recipe, tune="off"), resume=resume)
        check_output(model, recipe, output)
        original = couple(load(model, recipe, context), recipe, context)
        sizes_note(original.graph, context)
        score_original(original.graph, recipe, context)
        groups = shorten(original, None, recipe, context)
        least = replace(recipe, ratio=min(ratios, default=precision))
        share = max(share_of_rest(original, groups, least), LEAST)
        settled = settle(groups, replace(least, ratio=share), context)
        scores = score(groups, rotated(groups, settled, context), settled, context)
        kept = Checkpoints("if-kept" if resume else False, [])
        trials = _Trials(original, groups, scores, settled, context, output, kept)
        if ratios:
            trials.each(sorted({*map(float, ratios)}))
        else:
            trials.search(precision)
        kept.forget()
        context.timings.pop("sweep")  # the other stages say it
        verdict = _verdict(trials, recipe)
        reads, written = files_read(original.graph, recipe), None
        if output is not None and trials.best is not None and not verdict:
            written = trials.best.written
            deliver(written, output, reads, force, trials.best.context)
    result = summarize(
        report_of(context),
        [*trials.rows.values()],
        mode="list" if ratios else "search",
        of=recipe.of,
        scorer=settled.recipe.scorer,
        gates={n: limit_of(getattr(recipe, n)) for n in GATES if asks(recipe, n)},
        best=trials.best.ratio if trials.best else None,
        next=None if written is not None else _next(trials, recipe),
        **verdict,
    )
    return _result(result, trials.best, reads, delivered=written is not None)


def _checked(recipe: Recipe, ratios: Sequence[float], precision: float, writes: bool) -> Recipe:
    if recipe.speedup is not None or recipe.deepens:
        raise UsageError(
            "a sweep tries ratios, and bypasses only what is named; leave out --speedup, --depth "
            "and --width, or use spa prune for each speed"
        )
    guided = any(asks(recipe, name) for name in QUALITY)
    if not ratios and not guided:
        raise UsageError(
            "nothing says which models to try; give --ratios 0.1,0.2,0.3, or say what a model "
            "must pass for a search: --min-quality good, --min-agreement 0.98, or --check with "
            "--max-drop or --set min-score=SCORE"
        )
    if writes and not any(asks(recipe, name) for name in GATES):
        raise UsageError(
            "-o writes the smallest model that passes its gates, and there are none; "
            "give --max-drift, or use spa prune with the ratio that you like"
        )
    if not 0 < precision <= 0.5:
        raise UsageError(f"--precision is a share in (0, 0.5], not {precision:g}; 0.01 is usual")
    for ratio in ratios:
        replace(recipe, ratio=ratio).validate()
    return replace(recipe, ratio=min(ratios, default=Recipe.ratio)).validate()


@dataclass(frozen=True, eq=False)
class _Best:
    """The largest ratio so far whose model passes, with the model and the account of its run."""

    ratio: float
    written: Written
    context: Context

    @property
    def report(self) -> Report:
        """What is known of it."""
        return report_of(self.context, "ok")


def _result(sweep: Sweep, best: _Best | None, reads: Reads, *, delivered: bool) -> Result:
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


class _Trials:
    """The ratios tried so far, and what all of them start from."""

    def __init__(
        self,
        original: Groups,
        groups: Groups,
        scores: Scores,
        settled: Settled,
        context: Context,
        output: str | os.PathLike[str] | None,
        kept: Checkpoints,
    ) -> None:
        self.original, self.groups = original, groups
        self.scores, self.settled = scores, settled
        self.context, self.output, self.kept = context, output, kept
        self.rows: dict[float, Row] = {}
        self.best: _Best | None = None
        self._known: dict[tuple[bytes, bytes], Row] = {}  # by what was chosen

    def each(self, ratios: Sequence[float]) -> None:
        """Try every ratio of a list."""
        with self.context.stage("sweep", len(ratios)):
            for ratio in ratios:
                self._try(self.settled.at(ratio))
                self.context.callback(Step("sweep"))

    def search(self, precision: float) -> None:
        """Find the largest ratio that passes, to within `precision`.

        Demands that more pruning helps to meet do not guide; they are made of what is found.
        """
        unasked: dict[str, Any] = dict.fromkeys(SIZE)
        recipe = replace(self.settled.recipe, **unasked)
        guide = replace(self.settled, recipe=recipe)
        low, high = 0, math.ceil(1 / precision - 1e-9)
        with self.context.stage("sweep", math.ceil(math.log2(high))):
            while high - low > 1:
                middle = (low + high) // 2
                row = self._try(guide.at(round(middle * precision, 9)))
                low, high = (middle, high) if row["status"] == "passed" else (low, middle)
                self.context.callback(Step("sweep"))

    def _try(self, settled: Settled) -> Row:
        began, ratio = time.perf_counter(), settled.recipe.ratio
        branch = self.context.branch("prune")
        status: Status
        try:
            row = self._made(settled, branch)
        except (TargetError, VerifyError) as error:
            status = "unreachable" if isinstance(error, TargetError) else "missed"
            row = empty(ratio, status, str(error), 0.0)
            if status == "missed":
                row = row_of(ratio, settled.recipe.of, report_of(branch), status, str(error))
        row["seconds"] = time.perf_counter() - began
        self.rows[ratio] = row
        for stage, seconds in branch.timings.items():
            self.context.timings[stage] = self.context.timings.get(stage, 0.0) + seconds
        self.context.note(f"ratio {ratio:g}: {row['status']}")
        return row

    def _made(self, settled: Settled, branch: Context) -> Row:
        """Choose, and unless that choice is known, make the model and measure it."""
        choice, recipe = branch.reach(self._chosen(settled, branch)), settled.recipe
        key = (choice.coupling.root.tobytes(), choice.kept.tobytes())
        if key in self._known:
            return {**self._known[key], "ratio": recipe.ratio}
        try:
            written = self._written(choice, settled, branch)
        except VerifyError as error:
            report = report_of(branch)
            self._known[key] = row_of(recipe.ratio, recipe.of, report, "missed", str(error))
            raise
        report = report_of(branch)
        row = self._known[key] = row_of(recipe.ratio, recipe.of, report, "passed", None)
        if self.best is None or recipe.ratio > self.best.ratio:
            self.best = _Best(recipe.ratio, written, branch)
        return row

    def _chosen(self, settled: Settled, branch: Context) -> Choice:
        """What stays at a ratio, which is of the model with its branches."""
        return within_budget(self.groups, lambda: self.scores, settled, branch)

    def _written(self, choice: Choice, settled: Settled, branch: Context) -> Written:
        made = repair(cut(choice, branch, checked=True), settled, branch)
        if settled.recipe.tunes:  # by default only what is pruned once is
            made = heal(made, self.original, settled, branch, self.kept)
        self._check_ended(branch, settled.recipe.ratio)
        written = sign(made, self.original, self.groups, branch)
        return finish(written, settled, branch, self.output, weigh=True)

    def _check_ended(self, branch: Context, ratio: float) -> None:
        """Raise KeyboardInterrupt where a person has ended the tuning, and with it the sweep."""
        tuned = next((each.facts for each in branch.reached if isinstance(each, Tuned)), None)
        if tuned is not None and tuned["stopped"] == "interrupted":
            known = tuned["resumable"] or any(path.exists() for path in self.kept.ended or ())
            again = "; --resume goes on" if known else ""
            raise KeyboardInterrupt(f"interrupted while it tuned at ratio {ratio:g}{again}")


def _verdict(trials: _Trials, recipe: Recipe) -> dict[str, Any]:
    """Why a sweep failed, as `exit_code` and `error`; nothing where it did not."""
    rows = trials.rows.values()
    if trials.best is None:
        error: SpaError = VerifyError(f"no model passes; the nearest miss: {_nearest(trials)}")
        if all(row["status"] == "unreachable" for row in rows):
            error = TargetError(f"no ratio can be reached: {_nearest(trials)}")
        return {"exit_code": error.exit_code, "error": str(error)}
    try:
        check_sizes(trials.best.report, recipe)
    except VerifyError as error:
        words = f"the smallest model that passes (ratio {trials.best.ratio:g}) is not enough: "
        return {"exit_code": error.exit_code, "error": f"{words}{error}"}
    return {}


def _next(trials: _Trials, recipe: Recipe) -> str | None:
    """The command for the smallest model whose quality is good and that passes."""
    rows = trials.rows.values()
    good = [r["ratio"] for r in rows if r["quality"] == "good" and r["status"] == "passed"]
    path = trials.groups.graph.source.path
    return None if not good or path is None else prune_line(path, replace(recipe, ratio=max(good)))


def _nearest(trials: _Trials) -> str:
    row = min(trials.rows.values(), key=lambda row: row["ratio"])
    return f"at ratio {row['ratio']:g} {row['error']}"
