"""Budgets tried one after another on one model, and the search for the largest that passes.

The model is read, analysed, fed and scored once; each budget is then a choice from the same scores,
cut, refitted, verified and measured as `prune` does it, with the same result.
"""

from __future__ import annotations

import math
import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from spa.errors import SpaError, TargetError, VerifyError
from spa.events import Note, Step
from spa.pipeline.context import Context
from spa.pipeline.finish import finish
from spa.pipeline.gates import ADVICE, MORE, check_sizes
from spa.pipeline.heal import heal
from spa.pipeline.repair import cut, repair
from spa.pipeline.report import report_of
from spa.pipeline.score import rotated
from spa.pipeline.select import Selected, Selector
from spa.pipeline.settle import settle
from spa.pipeline.shorten import share_of_rest, shorten
from spa.pipeline.sign import sign
from spa.pipeline.tuning import Checkpoints
from spa.pipeline.values import Groups, Settled, Tuned, Written
from spa.recipe import GATES, Recipe
from spa.reports.schema import Report
from spa.reports.trials import By, Row, Status, asked, empty, row_of

SIZE = tuple(name for name in GATES if ADVICE[name] is MORE)
"""Gates that more pruning helps to meet: they do not guide a search."""
PRECISION = {"ratio": 0.01, "speedup": 0.05}
"""How finely is looked: a share, or a step from one speed to the next."""
USUAL = 2.0
"""The speed-up that is tried first."""
LEAST = 1e-9  # to ask for, where branches are enough for a ratio but perhaps not for others
WORDS = {"ratio": "ratio", "speedup": "speed-up"}


def asking(recipe: Recipe, by: By, value: float) -> Recipe:
    """The recipe with another budget, as a person would ask for it."""
    budget: dict[str, Any] = {"speedup": None, by: value}
    return replace(recipe, **budget)


def grid(by: By, precision: float) -> Callable[[int], float]:
    """What a search may ask for, by number from 1 on: the larger the number, the more goes."""
    if by == "ratio":
        return lambda k: round(k * precision, 9)
    digits = 2 if precision >= 0.02 else 4
    return lambda k: round((1 + precision) ** k, digits)


@dataclass(frozen=True, eq=False)
class Best:
    """The largest budget so far whose model passes, with the model and the account of its run."""

    row: Row
    settled: Settled
    written: Written
    context: Context

    @property
    def asked(self) -> float:
        """The budget."""
        return asked(self.row)

    @property
    def report(self) -> Report:
        """What is known of it."""
        return report_of(self.context, "ok")


class Trials:
    """The budgets tried so far, and what all of them start from.

    Attributes:
        rows: what became of each budget.
        best: the largest whose model passes.
    """

    def __init__(
        self,
        original: Groups,
        by: By,
        least: Recipe,
        context: Context,
        output: str | os.PathLike[str] | None,
        kept: Checkpoints,
    ) -> None:
        """Settle, and score where no branches are to be chosen.

        Args:
            original: the analysed model.
            by: what tells budgets apart.
            least: the recipe with the smallest budget there will be.
            context: of the run; each trial has one of its own.
            output: where the model will go.
            kept: what is done about checkpoints of tuning.

        Raises:
            TargetError: even that cannot be reached.
            ReadError: the model cannot be measured as asked.
        """
        self.original, self.by, self.context = original, by, context
        self.output, self.kept = output, kept
        self.groups = shorten(original, None, least, context)
        share = max(share_of_rest(original, self.groups, least), LEAST)
        self.settled = settle(self.groups, replace(least, ratio=share), context)
        self.select = Selector(self.groups, rotated(self.groups, self.settled, context))
        if not least.deepens:
            self.select.scores(self.groups, self.settled, context)
        self.rows: dict[float, Row] = {}
        self.best: Best | None = None
        self._known: dict[tuple[bytes, bytes, tuple[str, ...]], Row] = {}  # by what was chosen

    def each(self, values: Sequence[float]) -> None:
        """Try every budget of a list."""
        with self.context.stage("sweep", len(values)):
            for value in values:
                self._try(self._at(self.settled, value))
                self.context.callback(Step("sweep"))

    def search(self, precision: float) -> None:
        """Find the largest budget that passes, to within `precision`.

        Ratios are bisected; of speeds, which know no end, the first is the usual one, and as long
        as what was tried passes about its square is next.  Demands that more pruning helps to meet
        do not guide; they are made of what is found.
        """
        unasked: dict[str, Any] = dict.fromkeys(SIZE)
        guide = replace(self.settled, recipe=replace(self.settled.recipe, **unasked))
        at, low = grid(self.by, precision), 0
        first = max(1, round(math.log(USUAL) / math.log1p(precision)))
        high = math.ceil(1 / precision - 1e-9) if self.by == "ratio" else None
        total = None if high is None else math.ceil(math.log2(high))
        with self.context.stage("sweep", total):
            while high is None or high - low > 1:
                middle = max(first, 2 * low) if high is None else (low + high) // 2
                row = self._try(self._at(guide, at(middle)))
                passed = row["status"] == "passed"
                low, high = (middle, high) if passed else (low, middle)
                self.context.callback(Step("sweep"))

    def _at(self, settled: Settled, value: float) -> Settled:
        return replace(settled, recipe=asking(settled.recipe, self.by, value).budgeted)

    def _try(self, settled: Settled) -> Row:
        began, recipe = time.perf_counter(), settled.recipe
        branch = self.context.branch("prune")
        status: Status
        try:
            row = self._made(settled, branch)
        except (TargetError, VerifyError) as error:
            status = "unreachable" if isinstance(error, TargetError) else "missed"
            row = empty(recipe.share, status, str(error), 0.0)
            if status == "missed":
                row = self._row(recipe, branch, status, str(error))
        row["asked_speedup"] = recipe.speedup
        row["seconds"] = time.perf_counter() - began
        self.rows[asked(row)] = row
        self._spent(branch)
        self.context.callback(Note(f"{WORDS[self.by]} {asked(row):g}: {row['status']}"))
        return row

    def _spent(self, branch: Context) -> None:
        for stage, seconds in branch.timings.items():
            self.context.timings[stage] = self.context.timings.get(stage, 0.0) + seconds

    def healed(self) -> tuple[Written, Context]:
        """The best as `prune` makes it: tuned where that is done by default, and judged again.

        What is tuned passes no less, as a rule; where it does, the model stays as it was.
        """
        assert self.best is not None
        best = self.best
        if best.settled.recipe.tunes:
            return best.written, best.context
        branch, made = best.context.branch("prune"), best.written.repaired
        try:
            tuned = heal(made, self.original, best.settled, branch, self.kept)
            if tuned is made:
                return best.written, branch
            written = sign(tuned, self.original, best.written.shortened, branch)
            return finish(written, best.settled, branch, self.output, weigh=True), branch
        except VerifyError as error:
            best.context.warn(f"the model was not tuned, as it passes no longer then: {error}")
            return best.written, best.context
        finally:
            self._spent(branch)

    def _made(self, settled: Settled, branch: Context) -> Row:
        """Choose, and unless that choice is known, make the model and measure it."""
        chosen = self.select(settled, branch)
        choice, recipe = chosen.choice, settled.recipe
        key = (choice.coupling.root.tobytes(), choice.kept.tobytes(), choice.plan.bypass)
        if key in self._known:
            return {**self._known[key], "ratio": recipe.share}
        try:
            written = self._written(chosen, branch)
        except VerifyError as error:
            self._known[key] = self._row(recipe, branch, "missed", str(error))
            raise
        row = self._known[key] = self._row(recipe, branch, "passed", None)
        row["asked_speedup"] = recipe.speedup
        if self.best is None or asked(row) > self.best.asked:
            self.best = Best(row, settled, written, branch)
        return row

    def _row(self, recipe: Recipe, branch: Context, status: Status, error: str | None) -> Row:
        return row_of(recipe.share, recipe.of, report_of(branch), status, error)

    def _written(self, chosen: Selected, branch: Context) -> Written:
        settled = chosen.settled
        made = repair(cut(chosen.choice, branch, checked=True), settled, branch)
        if settled.recipe.tunes:  # by default only what is pruned once is
            made = heal(made, self.original, settled, branch, self.kept)
        self._check_ended(branch, settled.recipe)
        written = sign(made, self.original, chosen.groups, branch)
        return finish(written, settled, branch, self.output, weigh=True)

    def _check_ended(self, branch: Context, recipe: Recipe) -> None:
        """Raise KeyboardInterrupt where a person has ended the tuning, and with it the trials."""
        tuned = next((each.facts for each in branch.reached if isinstance(each, Tuned)), None)
        if tuned is not None and tuned["stopped"] == "interrupted":
            known = tuned["resumable"] or any(path.exists() for path in self.kept.ended or ())
            again = "; --resume goes on" if known else ""
            where = f"{WORDS[self.by]} {getattr(recipe, self.by):g}"
            raise KeyboardInterrupt(f"interrupted while it tuned at {where}{again}")

    def trouble(self, recipe: Recipe) -> SpaError | None:
        """Why nothing can be delivered; None where something can."""
        if self.best is None:
            if all(row["status"] == "unreachable" for row in self.rows.values()):
                return TargetError(f"no {WORDS[self.by]} can be reached: {self._nearest()}")
            return VerifyError(f"no model passes; the nearest miss: {self._nearest()}")
        try:
            check_sizes(self.best.report, recipe)
        except VerifyError as error:
            at = f"{WORDS[self.by]} {self.best.asked:g}"
            which = "smallest" if self.by == "ratio" else "fastest"
            return VerifyError(f"the {which} model that passes ({at}) is not enough: {error}")
        return None

    def _nearest(self) -> str:
        row = min(self.rows.values(), key=asked)
        return f"at {WORDS[self.by]} {asked(row):g} {row['error']}"
