"""Good, risky, broken or unknown: what the outputs of a pruned model say of it.

The bounds stand here and nowhere else; docs/accuracy.md ("What a verdict means") has what was
measured for them.  Every output has a verdict of its own and the worst one counts, so that no
average hides it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from spa.allowed import Level
from spa.graph.model import Graph
from spa.validate.classes import Kept
from spa.validate.drift import Drift
from spa.validate.inputs import Inputs
from spa.validate.silent import silent

WORST: tuple[Level, ...] = ("broken", "risky", "unknown", "good")
"""What counts where outputs say different things, first to last."""

GOOD_DRIFT, BROKEN_DRIFT = 0.3, 1.0
"""A drift of 1 is that of an output that says the same whatever goes in."""
GOOD_AGREEMENT, BROKEN_AGREEMENT = 0.9, 0.5
"""Of labels, beyond chance."""
GOOD_CLASSES, BROKEN_CLASSES = 0.78, 0.2
"""The same of the largest of several scores, on inputs that were made up: there more classes are
near equals than on real ones, so that more of them change for the same loss."""
GOOD_LOSS, BROKEN_LOSS = 0.02, 0.2
"""Share of right answers that is lost, where inputs are real."""
REAL = "calib"
"""The kind of inputs that a person gives."""
NOISE = ("uniform", "gaussian", "random")
"""Kinds of inputs on which outputs say nothing of what they do on others."""


@dataclass(frozen=True)
class Said:
    """What one output says, and why in a few words."""

    level: Level
    why: str


@dataclass(frozen=True)
class Quality:
    """What the outputs say of a model.

    Attributes:
        level: that of the worst output.
        why: in a sentence that follows the level.
        output: the one that decided; None where it is no matter of one output.
        outputs: the level of each.
        lost: of the classifier among them that loses most.
    """

    level: Level
    why: str
    output: str | None = None
    outputs: Mapping[str, Level] = field(default_factory=dict)
    lost: Kept | None = None


def quality(graph: Graph, drift: Drift, on: Inputs) -> Quality:
    """Judge the outputs by what was measured `on` these inputs."""
    faint = silent(graph, drift)
    said = {name: _said(name, drift, name in faint, on) for name in _names(drift)}
    if not said:
        return Quality("unknown", "the model has no outputs that can be compared")
    worst = min(said, key=lambda name: WORST.index(said[name].level))
    told = [k for k in drift.classes.values() if k.lost is not None and on.kind == REAL]
    lost = max(told, key=lambda kept: kept.lost or 0.0, default=None)
    levels = {name: each.level for name, each in said.items()}
    found, why = said[worst].level, f"{worst} {said[worst].why}"
    if on.kind in NOISE:
        found, why = "unknown", f"outputs on noise tell nothing of others ({why})"
    elif found == "good" and not on.held_back:
        found, why = "unknown", f"measured on inputs that the weights were fitted on ({why})"
    return Quality(found, why, worst, levels, lost)


def _names(drift: Drift) -> dict[str, None]:
    return dict.fromkeys((*drift.relative, *drift.agreement, *drift.unverified))


def _said(name: str, drift: Drift, faint: bool, on: Inputs) -> Said:
    """What one output says."""
    if name in drift.unverified:
        return Said("unknown", f"cannot be judged: {drift.unverified[name]}")
    if name in drift.agreement:
        share, beyond = drift.agreement[name], drift.corrected[name]
        words = f"keeps {share:.1%} of its labels"
        if beyond is None:
            return Said("unknown", f"{words}, nearly all of which are one")
        return Said(_level(-beyond, -GOOD_AGREEMENT, -BROKEN_AGREEMENT), _beyond(words, beyond))
    moved = drift.relative[name]
    assert moved is not None
    if faint:
        size = drift.size[name]
        words = f"is next to nothing on these inputs (root mean square {size:.0e})"
        return Said("unknown", words)
    level, words = _level(moved, GOOD_DRIFT, BROKEN_DRIFT), f"drifts by {moved:.3g} (NRMSE)"
    kept = drift.classes.get(name)
    if kept is None or kept.lost is None:
        return Said(level, words)
    words = f"{words} and names the same class on {kept.share:.1%} of rows"
    second: Level = level
    if on.kind == REAL:
        second = _level(kept.lost, GOOD_LOSS, BROKEN_LOSS)
        cost, error = 100 * kept.lost, 100 * (kept.error or 0.0)
        words += f", which may cost {cost:.1f} points of top-1 (±{error:.1f})"
    elif kept.corrected is not None:
        second = _level(-kept.corrected, -GOOD_CLASSES, -BROKEN_CLASSES)
    return Said(min(level, second, key=WORST.index), words)


def _level(figure: float, good: float, broken: float) -> Level:
    """The level of a figure of which less is better."""
    return "good" if figure <= good else "broken" if figure > broken else "risky"


def _beyond(words: str, beyond: float) -> str:
    return f"{words} ({beyond:.0%} beyond chance)"
