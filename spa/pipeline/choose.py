"""What goes: from scores and a budget, in one round or several, or from a plan."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from spa import runtime
from spa.coupling import Coupling, analyse, misplaced, refine
from spa.coupling.quantised import is_mostly_quantised
from spa.criteria import Context, score
from spa.errors import ReadError, TargetError
from spa.executor.survey import recovered
from spa.graph import read
from spa.pipeline.inputs import Feeds, probe_feeds
from spa.pipeline.journal import Journal
from spa.pipeline.refit import carried, refitted
from spa.pipeline.rotate import rotated
from spa.pipeline.timed import allocated
from spa.plans import Plan, place
from spa.recipe import Recipe
from spa.rewrite import rewrite

ROUNDS = 30  # how often a choice that does not fit may be made again with less freedom
MEASURING = "obspa"  # what "auto" is where the model can be measured
PLAIN = "l2"  # and where it cannot
Alive = NDArray[np.bool_]
T = TypeVar("T")


def measuring(
    recipe: Recipe, coupling: Coupling, journal: Journal, work: Callable[[Recipe], T]
) -> tuple[T, Recipe]:
    """Do the work with what the recipe leaves open settled; returns the settled recipe, too.

    With scorer "auto" a model that cannot be run on probe inputs is judged by its weights alone and
    only cut.  With a scorer that was named, or inputs that were given, that is an error.
    """
    if not recipe.measures:
        return work(recipe), recipe
    _refittable(coupling)
    settled = replace(recipe, scorer=MEASURING) if recipe.scorer == "auto" else recipe
    try:
        _answers(coupling, settled, journal)
        return work(settled), settled
    except ReadError as error:
        asked = recipe.reconstruct or recipe.repair not in ("auto", "none")
        if recipe.scorer != "auto" or recipe.calib is not None or asked:
            raise
        journal.warn(f"channels are judged by {PLAIN} and nothing is refitted: {error}")
    plain = replace(recipe, scorer=PLAIN)
    return work(plain), plain


def _refittable(coupling: Coupling) -> None:
    """Raise ReadError where scores would assume a refit that integers do not allow."""
    if is_mostly_quantised(coupling):
        raise ReadError(
            "the weights of this model are quantised already, so that nothing can make up for what "
            "is removed: prune the model it was made from and quantise the result, or choose "
            f"--scorer {PLAIN}, which only cuts, at a large loss of accuracy"
        )


def _answers(coupling: Coupling, recipe: Recipe, journal: Journal) -> None:
    """Raise ReadError where no input gives a finite number; what cannot be run may still do so."""
    graph = coupling.graph
    feeds = probe_feeds(graph, recipe, journal)
    if journal.probe is None or not feeds or not feeds[0]:
        raise ReadError("a model without inputs cannot be measured; choose --scorer l2")
    try:
        loaded = runtime.session(
            graph.proto, optimize=False, device=recipe.device, base_dir=graph.source.base_dir
        )
        values = runtime.run(loaded, journal.probe.feeds()).values()
    except ReadError:
        return  # one odd node at the end need not stand in the way
    floats = [v for v in values if isinstance(v, np.ndarray) and v.dtype.kind == "f" and v.size]
    if floats and not any(np.isfinite(v).any() for v in floats):
        raise ReadError(
            "the model gives no finite numbers on inputs made for it; give some with --calib, or "
            "choose --scorer l2"
        )


@dataclass(frozen=True, eq=False)
class Ranked:
    """A model with scores: what the choices for any number of budgets start from.

    `scores` are by unit, `[labels]`; `feeds` are the inputs they were measured on, if any;
    `rotated` are the stored tensors whose channels were mixed first.
    """

    coupling: Coupling
    scores: NDArray[np.float64]
    feeds: Feeds
    rotated: tuple[str, ...]


def rank(coupling: Coupling, recipe: Recipe, journal: Journal) -> Ranked:
    """Score every channel, in the basis that suits a cut; the ratio has no say in it."""
    coupling, names = rotated(coupling, recipe, journal)
    feeds: Feeds = ()
    if recipe.measures:
        feeds = probe_feeds(coupling.graph, recipe, journal)
    scores = _scored(coupling, recipe, feeds, journal)
    if recipe.measures and (moved := recovered(coupling.graph)):
        journal.note(
            "statistics of BatchNormalizations that were folded away are recovered at the outputs "
            f"of {len(moved)} convolutions (--no-batch-norm measures without)"
        )
    return Ranked(coupling, scores, feeds, names)


def choose(ranked: Ranked, recipe: Recipe, journal: Journal) -> tuple[Coupling, Alive]:
    """Allocate; in several rounds, what is left is refitted and scored again."""
    coupling, scores, feeds = ranked.coupling, ranked.scores, ranked.feeds
    for turn in range(1, recipe.steps + 1):
        share = 1 - (1 - recipe.ratio) ** (turn / recipe.steps)
        part = recipe if turn == recipe.steps else replace(recipe, ratio=share)
        coupling, alive, scores = _allocated(coupling, scores, part, feeds, journal)
        if turn < recipe.steps:
            scores = _again(coupling, alive, scores, part, feeds, journal)
    return coupling, alive


def _scored(
    coupling: Coupling, recipe: Recipe, feeds: Feeds, journal: Journal
) -> NDArray[np.float64]:
    with journal.stage("score"):
        context = Context(
            coupling,
            feeds,
            seed=recipe.seed,
            aggregate=recipe.aggregate,
            device=recipe.device,
            batch_norm=recipe.batch_norm,
            tell=journal.tell,
        )
        return score(context, recipe.scorer, saliency=recipe.saliency, normalize=recipe.normalize)


def _allocated(
    coupling: Coupling,
    scores: NDArray[np.float64],
    recipe: Recipe,
    feeds: Feeds,
    journal: Journal,
) -> tuple[Coupling, Alive, NDArray[np.float64]]:
    """Where a choice does not fit, take away that freedom, score and choose again."""
    for _ in range(ROUNDS):
        with journal.stage("allocate"):
            alive = allocated(coupling, scores, recipe, journal)
            errors = misplaced(coupling, alive)
        if not errors:
            return coupling, alive, scores
        with journal.stage("couple"):
            coupling = refine(coupling, errors)
        scores = _scored(coupling, recipe, feeds, journal)
    raise TargetError(
        f"no choice of channels fits at node {errors[0].node.name} ({errors[0]}); "
        "keep that part with --ignore and report this model"
    )


def _again(
    coupling: Coupling,
    alive: Alive,
    scores: NDArray[np.float64],
    recipe: Recipe,
    feeds: Feeds,
    journal: Journal,
) -> NDArray[np.float64]:
    """Scores of what is left, taken on the model that is left."""
    with journal.stage("rewrite"):
        small = rewrite(coupling, alive, checked=True)
    if recipe.repairs:
        small = refitted(coupling, alive, small, recipe, journal)[0]
    with journal.stage("couple"):
        base = coupling.graph.source.base_dir
        graph = read(small, input_shapes=recipe.input_shape, base_dir=base)
        left = analyse(graph, heads=coupling.heads)
    found = _scored(left, recipe, feeds, journal)
    return carried(coupling, alive, left, scores, found)


def follow(coupling: Coupling, plan: Plan, journal: Journal) -> Alive:
    """The choice a plan makes."""
    with journal.stage("allocate"):
        alive, missing = place(coupling, plan)
    if missing:
        journal.warn(
            f"{len(missing)} tensors of the plan are not in this model (such as {missing[0]}); "
            "their channels follow from the others"
        )
    return alive
