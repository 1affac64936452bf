"""Groups → Groups: the branches that a model is faster without, at the least loss, leave it.

Branches are put in an order by what their loss does to the outputs, for the time that it saves.
Then several numbers of them are tried with the widths that make up for the rest of the budget: each
is cut and refitted on a part of the inputs, and judged on another part.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property, partial
from typing import Any

import numpy as np
from onnx import ModelProto

from spa.budgets.limits import holds
from spa.coupling.per_node import macs_of_nodes, params_of_nodes
from spa.depth import Branch, Order, Step, branches, features_of, least
from spa.depth.reach import within
from spa.errors import ReadError, TargetError
from spa.events import Advance
from spa.executor.survey import Runs
from spa.latency import Whole
from spa.latency.target import TOLERANCE
from spa.pipeline.bypass import to_cut
from spa.pipeline.choose import carried, choose
from spa.pipeline.context import Context
from spa.pipeline.inputs import probe_of
from spa.pipeline.repair import cut, repair
from spa.pipeline.score import Rotated
from spa.pipeline.shorten import left_to_do, nothing_more, share_of_rest, shortened
from spa.pipeline.timed import times_of_nodes
from spa.pipeline.values import Choice, Deepened, Groups, Scores, Settled, Shortened, Tried
from spa.probes import Probe
from spa.recipe import Recipe
from spa.repairs.standins import standins
from spa.rewrite.gated import gate_of, gated
from spa.validate import drift, total
from spa.validate.borders import watched
from spa.validate.runs import Runner
from spa.validate.silent import amounts

STAGE = "depth"
PART = 2
"""Of the runs, one in so many is fitted on for a trial, and as many others judge it.

Measured on ResNet-56 at 1.5 times the speed: on a quarter of 256 pictures, refits of narrow layers
are so rough that the error of what is left no longer tells which choice keeps more accuracy.
"""
WORK = 8e9
"""Multiply-accumulates that one look at a branch may take."""
FEWEST, MOST = 8, 64  # rows of such a look
Feeds = Mapping[str, Any]


@dataclass(frozen=True, eq=False)
class _Trial:
    """One number of branches: the model without them, and the mean square error that is left."""

    groups: Groups
    error: float
    trouble: TargetError | None = None


@dataclass(frozen=True, eq=False)
class _Found:
    groups: Groups
    settled: Settled
    facts: Deepened


@dataclass(eq=False)
class Deepening:
    """Of one model, for any budget: what does not hang on it is looked at once.

    Attributes:
        groups: the model, perhaps without some branches already.
        base: its original in the basis that suits a cut, and what that has changed.
        scores: of the model with its branches, made if they are asked for.
        settled: with the recipe of the whole model, and inputs.
        context: of the run.
    """

    groups: Groups
    base: Rotated
    scores: Callable[[], Scores]
    settled: Settled
    context: Context
    known: dict[tuple[float, int], _Trial] = field(default_factory=dict)
    """By ratio and number of branches."""
    _short: dict[int, tuple[Groups, Whole | None]] = field(default_factory=dict)
    """By number of branches: the model without them, and what is left of its time."""

    def __call__(self, settled: Settled, context: Context) -> tuple[Groups, Settled]:
        """Leave out the branches without which a budget costs least, where the recipe allows it.

        Args:
            settled: with the recipe of the whole model; only its budget may be another.
            context: of this choice.

        Returns:
            The model without these branches, and the same recipe, with the time that is left where
            that is the budget.

        Raises:
            TargetError: no choice reaches the budget.
            ReadError: the model cannot be run, or nothing can feed it.
        """
        self.settled, self.context = settled, context
        if not settled.recipe.deepens:
            return self.groups, settled
        with context.stage(STAGE):
            if not self.free:
                context.note("no branch of this model may be bypassed")
                return self.groups, settled
            try:
                order = self._order.until(settled.recipe.share)
            except ReadError as error:
                words = f"all branches stay, as their importance cannot be measured: {error}"
                context.warn(words)
                return self.groups, settled
            found = self.found(order)
        context.reach(found.facts)
        if found.groups is not self.groups:
            context.reach(Shortened(found.groups.original, found.groups.bypassed))
        return found.groups, found.settled

    @cached_property
    def _every(self) -> tuple[Branch, ...]:
        return branches(self.groups.original.coupling).found

    @cached_property
    def free(self) -> tuple[Branch, ...]:
        """The branches that may go: sums of floats, which no option keeps."""
        whole = self.groups.original
        gone = {each.name for each in self.groups.bypassed}
        return tuple(
            each
            for each in self._every
            if each.kind == "residual"
            and each.name not in gone
            and whole.graph.dtypes[each.end].kind == "f"
            and holds(whole.graph, each, self.settled.recipe) is None
        )

    def found(self, order: tuple[Step, ...]) -> _Found:
        """The best number of branches.

        Raises:
            TargetError: none reaches the budget.
        """
        done = self.context.counted(None, "choices")
        tried = partial(self._tried, order, done)
        last = len(order)
        if self.settled.recipe.width == "off":
            best = next((k for k in range(last + 1) if tried(k).trouble is None), last)
        else:
            best = least(lambda k: tried(k).error, last)
        trial, ratio = tried(best), self.settled.recipe.share
        known = {k: each for (asked, k), each in self.known.items() if asked == ratio}
        if trial.trouble is not None:
            raise known[max(known)].trouble or trial.trouble
        tries = tuple(Tried(k, each.error) for k, each in sorted(known.items()))
        facts = Deepened(order, tries, best)
        left = self.settled.whole
        if left is not None and best:  # measured for good
            left = left.without(trial.groups.graph.proto)
        return _Found(trial.groups, replace(self.settled, whole=left), facts)

    @cached_property
    def _order(self) -> Order:
        """The branches in the order of their importance.

        Raises:
            ReadError: onnxruntime cannot run the whole model.
        """
        whole = self.groups.original
        looked = self._few(self._parts[0][0])
        names = [name for each in self.free for name in (each.shortcut, each.name)]
        run = self._runner(watched(whole.graph.proto, names))
        seen = run(looked, True)
        if run.unknown:
            raise ReadError(f"onnxruntime does not know {run.unknown[0].op_type}")
        fits = standins(whole.coupling, self.free, [seen])
        features = features_of(whole.graph)
        tries = self._runner(watched(gated(whole.graph, fits, self.free), features))
        done = self.context.counted(None, "looks")

        def made(gone: Sequence[Branch]) -> dict[str, Any]:
            off = {each.name for each in gone}
            gates = {
                gate_of(each): np.array(each.name not in off, whole.graph.dtypes[each.end])
                for each in self.free
            }
            values = tries({**looked, **gates}, True)
            return {name: values[name] for name in features}

        before = made(())

        def error(gone: Sequence[Branch]) -> float:
            done()
            return drift(before, made(gone)).error

        gone = self.groups.bypassed
        return Order(self.free, self._cost, error, gone)

    @cached_property
    def _cost(self) -> dict[int, float]:
        """By node, the share of the whole that goes with it."""
        whole = self.groups.original
        if self.settled.whole is not None:
            return times_of_nodes(whole.coupling, self.settled, self.context)
        counted = params_of_nodes if self.settled.recipe.of == "params" else macs_of_nodes
        costs = counted(whole.coupling)
        carrier = {inner.index: node.index for node in whole.graph.nodes for inner in within(node)}
        found: dict[int, float] = defaultdict(float)
        for index, several in costs.items():
            found[carrier.get(index, index)] += several / (math.fsum(costs.values()) or 1.0)
        return dict(found)

    @cached_property
    def _parts(self) -> tuple[Runs, Runs]:
        """Inputs to fit a trial on, and others to judge it on; the same where there is one run."""
        probe, runs = self._probe, [*self.settled.feeds]
        if not runs:  # where nothing is measured for scores, or to refit
            runs = [*probe.runs(probe.fitting(2 * MOST), MOST)]
        if len(runs) == 1 and self._splits and (rows := probe.held(runs[0])) > 1:
            halves = slice(0, rows // 2), slice(rows // 2, rows)
            runs = [{n: array[half] for n, array in runs[0].items()} for half in halves]
        known = self.settled.feeds  # statistics of the original are those of all inputs
        return known.part(runs[::PART]), known.part(runs[1::PART] or runs)

    @property
    def _splits(self) -> bool:
        """Whether a run may hold fewer rows."""
        return self._probe.rows is None and all(s.axis == 0 for s in self._probe.streams)

    @cached_property
    def _probe(self) -> Probe:
        known = self.settled.probe
        original, recipe = self.groups.original, self.settled.recipe
        return known or probe_of(original, recipe, self.context)

    def _few(self, feeds: Feeds) -> Feeds:
        """A run with no more rows than a look may cost."""
        if not self._splits:
            return feeds
        rows = int(np.clip(WORK / max(self.groups.original.sizes.macs, 1), FEWEST, MOST))
        return {name: array[:rows] for name, array in feeds.items()}

    @property
    def _small(self) -> Settled:
        """The recipe and inputs of a trial."""
        recipe: Recipe = replace(self.settled.recipe, steps=1)
        whole = self.settled.whole
        return replace(
            self.settled,
            recipe=recipe,
            feeds=self._parts[0],
            whole=whole and whole.brief(),
        )

    def _tried(self, order: Sequence[Step], done: Advance, count: int) -> _Trial:
        key = self.settled.recipe.share, count
        if key not in self.known:
            self.known[key] = self._trial([each.branch for each in order[:count]])
            done()
        return self.known[key]

    def _without(self, gone: Sequence[Branch], whole: Whole | None) -> tuple[Groups, Whole | None]:
        """The model without the first branches of the order, and what is left of its time."""
        if not gone:
            return self.groups, whole
        if len(gone) not in self._short:
            names = {each.name for each in (*self.groups.bypassed, *gone)}
            found = [each for each in self._every if each.name in names]
            groups = shortened(self.groups.original, found, self.settled.recipe)
            left = whole and whole.without(groups.graph.proto)
            self._short[len(gone)] = groups, left
        return self._short[len(gone)]

    def _trial(self, gone: Sequence[Branch]) -> _Trial:
        aside, small = Context(self.context.command), self._small
        groups, left = self._without(gone, small.whole)
        small = replace(small, whole=left)
        try:
            choice = self._choice(groups, small, aside)
            made = repair(cut(choice, aside, checked=True), small, aside)
        except TargetError as error:
            return _Trial(groups, math.inf, error)
        return _Trial(groups, self._error(made.model))

    def _choice(self, groups: Groups, small: Settled, aside: Context) -> Choice:
        coupling, reference = to_cut(groups, self.base[0], small.recipe)
        share, nothing = left_to_do(groups.original, groups, None, small.recipe)
        if small.recipe.width == "off" and not _enough(groups, small):
            raise TargetError(
                "the branches that may go are not enough; allow widths (--set width=on), ask for "
                "less, or loosen --ignore and --only"
            )
        if nothing is not None or small.recipe.width == "off":
            plan = nothing_more(small.recipe)
            return Choice(coupling, coupling.everything(), plan, reference=reference)
        base = self.base[0]
        values = self.scores().values
        if coupling is not base:
            every = coupling.everything()
            values = carried(coupling, every, base, np.zeros(coupling.notes.size), values)
        return choose(Scores(coupling, values, self.base[1], reference), small.at(share), aside)

    def _error(self, model: ModelProto) -> float:
        try:
            run = self._runner(model)
            pairs = zip(self._wanted, [run(feeds, True) for feeds in self._parts[1]], strict=True)
        except ReadError:
            return math.inf
        return total(pairs, amounts(self.groups.original.graph)).error

    def _runner(self, model: ModelProto) -> Runner:
        base = self.groups.original.graph.source.base_dir
        return Runner(model, base, self.settled.recipe.device)

    @cached_property
    def _wanted(self) -> list[dict[str, Any]]:
        """What the original makes of the inputs that judge."""
        run = self._runner(self.groups.original.graph.proto)
        return [run(feeds, True) for feeds in self._parts[1]]


def _enough(groups: Groups, settled: Settled) -> bool:
    """Whether the budget is met without narrowing anything."""
    if settled.whole is not None:
        return settled.whole.left <= 1 - settled.recipe.share + TOLERANCE
    return share_of_rest(groups.original, groups, settled.recipe) <= 0
