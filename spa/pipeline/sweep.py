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
from typing import Any

from spa.coupling import Coupling
from spa.errors import SpaError, TargetError, UsageError, VerifyError
from spa.events import Step, Tell, quiet
from spa.pipeline.choose import Ranked, choose, measuring, rank
from spa.pipeline.gates import check_sizes, score_original
from spa.pipeline.journal import Journal
from spa.pipeline.outcome import Outcome
from spa.pipeline.prune import couple, deliver, finish, make, sizes_note
from spa.pipeline.read import check_output
from spa.pipeline.timed import reachable
from spa.recipe import GATES, Recipe, asks
from spa.reports.sweep import Row, Status, Sweep, empty, row_of, summarize

QUALITY = ("max_drift", "min_agreement", "max_drop", "min_score")
"""Gates that the more one prunes the fewer models pass: they can guide a search."""

SIZE = tuple(name for name in GATES if name not in QUALITY)
PRECISION = 0.01
SHARED = ("input", "frozen", "groups", "check", "warnings", "notes")


def sweep(
    model: Any,
    recipe: Recipe,
    tell: Tell = quiet,
    *,
    ratios: Sequence[float] = (),
    precision: float = PRECISION,
    output: str | os.PathLike[str] | None = None,
    force: bool = False,
) -> Sweep:
    """Try several ratios on one model; without a list of them, search.

    Args:
        model: a path, bytes, a stream or a ModelProto.
        recipe: what to do; its ratio does not count, its gates say which models pass.
        tell: where progress goes.
        ratios: shares to remove; none: the largest that passes is sought by bisection.
        precision: how finely, as a share.
        output: where to write the smallest model that passes; without it nothing is written.
        force: whether an existing output may be replaced.

    Returns:
        The sweep, also where no model passes: then its exit code is not 0.

    Raises:
        SpaError: nothing could be tried; with the partial report as its attribute `report`.
    """
    journal = Journal("sweep", tell, output)
    with journal.written():
        recipe = _checked(recipe, ratios, precision, output is not None)
        check_output(model, recipe, output)
        coupling = couple(model, recipe, journal)
        sizes_note(coupling.graph, journal)
        least = min(ratios, default=precision)
        reachable(coupling, replace(recipe, ratio=least), journal)
        score_original(coupling.graph, recipe, journal)

        def work(settled: Recipe) -> _Trials:
            trials = _Trials(coupling, rank(coupling, settled, journal), settled, journal)
            if ratios:
                trials.each(sorted({*map(float, ratios)}))
            else:
                trials.search(precision)
            return trials

        trials, _ = measuring(recipe, coupling, journal, work)
        journal.report["timings"].pop("sweep")  # the other stages say it
    result = summarize(
        journal.report,  # type: ignore[arg-type]
        [*trials.rows.values()],
        mode="list" if ratios else "search",
        of=recipe.of,
        scorer=trials.recipe.scorer,
        gates={n: _limit(getattr(recipe, n)) for n in GATES if asks(recipe, n)},
        best=trials.best.ratio if trials.best else None,
        **_verdict(trials, recipe),
    )
    if output is not None and result["exit_code"] == 0:
        assert trials.best is not None
        deliver(trials.best.outcome, trials.original.graph, output, force)
        written = trials.best.outcome.report["output"]
        result["output"] = {
            "path": written["path"],
            "sha256": written["sha256"],
            "bytes": written["bytes"],
        }
    return result


def _checked(recipe: Recipe, ratios: Sequence[float], precision: float, writes: bool) -> Recipe:
    guided = any(asks(recipe, name) for name in QUALITY)
    if not ratios and not guided:
        raise UsageError(
            "nothing says which models to try; give --ratios 0.1,0.2,0.3, or say what a model "
            "must pass for a search: --max-drift 0.1, --min-agreement 0.98, or --check with "
            "--max-drop or --min-score"
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


def _limit(asked: float | bool) -> float:
    """What a gate demands, as a number."""
    return 1.0 if asked is True else asked


@dataclass(frozen=True, eq=False)
class _Best:
    """The largest ratio so far whose model passes, with the model."""

    ratio: float
    outcome: Outcome


class _Trials:
    """The ratios tried so far, and what all of them start from."""

    def __init__(
        self,
        original: Coupling,
        ranked: Ranked,
        recipe: Recipe,
        journal: Journal,
    ) -> None:
        self.original, self.ranked = original, ranked
        self.recipe, self.journal = recipe, journal
        self.rows: dict[float, Row] = {}
        self.best: _Best | None = None
        self._known: dict[tuple[bytes, bytes], Row] = {}  # by what was chosen

    def each(self, ratios: Sequence[float]) -> None:
        """Try every ratio of a list."""
        with self.journal.stage("sweep", len(ratios)):
            for ratio in ratios:
                self._try(ratio, self.recipe)
                self.journal.tell(Step("sweep"))

    def search(self, precision: float) -> None:
        """Find the largest ratio that passes, to within `precision`.

        Demands that more pruning helps to meet do not guide; they are made of what is found.
        """
        unasked: dict[str, Any] = dict.fromkeys(SIZE)
        guide = replace(self.recipe, **unasked)
        low, high = 0, math.ceil(1 / precision - 1e-9)
        with self.journal.stage("sweep", math.ceil(math.log2(high))):
            while high - low > 1:
                middle = (low + high) // 2
                row = self._try(round(middle * precision, 9), guide)
                low, high = (middle, high) if row["status"] == "passed" else (low, middle)
                self.journal.tell(Step("sweep"))

    def _try(self, ratio: float, recipe: Recipe) -> Row:
        began = time.perf_counter()
        branch = self._branch()
        status: Status
        try:
            row = self._made(replace(recipe, ratio=ratio), branch)
        except (TargetError, VerifyError) as error:
            status = "unreachable" if isinstance(error, TargetError) else "missed"
            row = empty(ratio, status, str(error), 0.0)
            if status == "missed":
                row = row_of(ratio, recipe.of, branch.report, status, str(error))
        row["seconds"] = time.perf_counter() - began
        self.rows[ratio] = row
        self._account(branch)
        self.journal.note(f"ratio {ratio:g}: {row['status']}")
        return row

    def _made(self, recipe: Recipe, branch: Journal) -> Row:
        """Choose, and unless that choice is known, make the model and measure it."""
        chosen, alive = choose(self.ranked, recipe, branch)
        key = (chosen.root.tobytes(), alive.tobytes())
        if key in self._known:
            return {**self._known[key], "ratio": recipe.ratio}
        made = make(self.original, chosen, alive, recipe, branch)
        try:
            plan = made.plan(recipe, self.ranked.rotated)
            outcome = finish(made, plan, recipe, branch, weigh=True)
        except VerifyError as error:
            self._known[key] = row_of(recipe.ratio, recipe.of, branch.report, "missed", str(error))
            raise
        row = self._known[key] = row_of(recipe.ratio, recipe.of, outcome.report, "passed", None)
        if self.best is None or recipe.ratio > self.best.ratio:
            self.best = _Best(recipe.ratio, outcome)
        return row

    def _branch(self) -> Journal:
        """An account of its own for one ratio, which knows what all ratios share."""
        branch = Journal("prune", self.journal.tell)
        branch.name = self.journal.name
        branch.data = self.journal.data
        branch.probe, branch.feeds = self.journal.probe, self.journal.feeds
        branch.whole = self.journal.whole
        for name in SHARED:
            if name in self.journal.report:
                shared = self.journal.report[name]
                branch.report[name] = shared.copy() if isinstance(shared, (list, dict)) else shared
        return branch

    def _account(self, branch: Journal) -> None:
        """Add what one ratio took; inputs that it was the first to need serve the others, too."""
        spent = self.journal.report["timings"]
        for stage, seconds in branch.report["timings"].items():
            spent[stage] = spent.get(stage, 0.0) + seconds
        self.journal.probe = self.journal.probe or branch.probe
        self.journal.feeds = self.journal.feeds or branch.feeds
        self.journal.whole = self.journal.whole or branch.whole


def _verdict(trials: _Trials, recipe: Recipe) -> dict[str, Any]:
    """Why a sweep failed, as `exit_code` and `error`; nothing where it did not."""
    rows = trials.rows.values()
    if trials.best is None:
        error: SpaError = VerifyError(f"no model passes; the nearest miss: {_nearest(trials)}")
        if all(row["status"] == "unreachable" for row in rows):
            error = TargetError(f"no ratio can be reached: {_nearest(trials)}")
        return {"exit_code": error.exit_code, "error": str(error)}
    try:
        check_sizes({**trials.best.outcome.report, "gates": []}, recipe)
    except VerifyError as error:
        words = f"the smallest model that passes (ratio {trials.best.ratio:g}) is not enough: "
        return {"exit_code": error.exit_code, "error": f"{words}{error}"}
    return {}


def _nearest(trials: _Trials) -> str:
    row = min(trials.rows.values(), key=lambda row: row["ratio"])
    return f"at ratio {row['ratio']:g} {row['error']}"
