"""Gates: demands of the user that fail a run, so that nothing is written."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from contextlib import AbstractContextManager
from typing import Any

from spa import check
from spa.errors import VerifyError
from spa.graph import Graph
from spa.pipeline.context import Context
from spa.pipeline.files import File, file_of
from spa.pipeline.report import report_of
from spa.pipeline.values import Checked, Gated, Weighed
from spa.recipe import GATES, Recipe
from spa.reports.facts import gate_words, proof_words
from spa.reports.schema import CheckFacts, Gate, Report
from spa.reports.verdicts import GRADES
from spa.reports.wording import printable

AT_LEAST, AT_MOST = 1, -1
Asked = Iterable[tuple[str, float | None, float | None, int]]
OF_OUTPUTS = {"max_drift": "drift", "min_agreement": "agreement"}
"""What of the section `verify` a gate is about."""
NO_OUTPUT = {"drift": "no output is a float", "agreement": "no output tells labels apart"}
CALIB = "give inputs that it answers to with --calib, or leave out the gate"
LESS, MORE = "prune less or loosen the gate", "prune more or loosen the gate"
ADVICE = {
    "min_reduction": MORE,
    "min_speedup": MORE,
    "budget_bytes": MORE,
    "max_drift": LESS,
    "min_agreement": LESS,
    "min_quality": LESS,
    "max_drop": LESS,
    "min_score": LESS,
    "require_proof": "leave the gate out if what is proved is enough",
}


def score_original(graph: Graph, recipe: Recipe, context: Context) -> None:
    """Ask the user's check about the original, where there is one.

    It comes before all work, so that a check that cannot run says so at once.

    Raises:
        VerifyError: it fails on the original, and --max-drop needs that score.
        UsageError: there is no such command or function.
    """
    if recipe.check is None:
        return
    name = check.name_of(recipe.check)
    with context.stage("check"), file_of(graph) as (path, _):
        said = check.score(recipe.check, path)
    why = None
    if recipe.max_drop is not None and said.value is None:
        why = said.trouble or "it gives no finite number"
    context.reach(
        Checked(
            CheckFacts(
                command=name,
                before=said.value,
                after=None,
                drop=None,
                drop_error=None,
                rows=said.rows,
                error=why,
            )
        )
    )
    if why is not None:
        raise VerifyError(
            f"the check fails on the original already ({why}), so that --max-drop has no measure; "
            "mend the check, or leave out --max-drop"
        )


def check_gates(
    recipe: Recipe,
    context: Context,
    file: Callable[[], AbstractContextManager[File]],
    *,
    weigh: bool = False,
) -> None:
    """Hold the demands against what was measured.

    What is measured already comes first; the user's check, which may take long, only if that holds.

    Args:
        recipe: the demands.
        context: of the run; what it has reached is judged.
        file: the pruned model as a file, asked for only where a demand needs it.
        weigh: whether its size is wanted even so.

    Raises:
        VerifyError: for the first demand that is not met.
        UsageError: the user's check does not exist.
    """
    if recipe.check is None and recipe.budget_bytes is None and not weigh:
        report = report_of(context)
        _demand(report, _gated(report, recipe, context))
        return
    with file() as (path, size):
        context.reach(Weighed(size))
        report = report_of(context)
        gates = _gated(report, recipe, context)
        _demand(report, gates)
        if recipe.check is not None:
            with context.stage("check"):
                said = check.score(recipe.check, path)
            checked = context.reach(Checked(_compared(report, recipe.check, said)))
            gates = context.reach(Gated((*gates, *_met(_scored(checked.facts, recipe))))).gates
            _obey(checked.facts)
            _demand(report, gates)
            _doubt(checked.facts, recipe, context)


def check_sizes(report: Report, recipe: Recipe) -> tuple[Gate, ...]:
    """The demands that more pruning helps to meet, alone; raises as `check_gates` does."""
    asked = [each for each in _measured(report, recipe) if ADVICE[each[0]] is MORE]
    gates = _met(asked)
    _demand(report, gates)
    return gates


def _gated(report: Report, recipe: Recipe, context: Context) -> tuple[Gate, ...]:
    return context.reach(Gated(_met(_measured(report, recipe)))).gates


def _measured(report: Report, recipe: Recipe) -> Asked:
    reduction: Mapping[str, Any] = report["reduction"] or {}
    verify: Mapping[str, Any] = report["verify"] or {}
    speedup = report["latency"]["speedup"] if report["latency"] else None
    size = report["output"]["bytes"] if report["output"] else None
    return (
        ("min_reduction", recipe.min_reduction, reduction.get(recipe.of), AT_LEAST),
        ("max_drift", recipe.max_drift, _known(verify, "drift", max), AT_MOST),
        ("min_agreement", recipe.min_agreement, _agreement(verify), AT_LEAST),
        ("min_quality", limit_of(recipe.min_quality), _grade(report), AT_LEAST),
        ("min_speedup", recipe.min_speedup, speedup, AT_LEAST),
        ("budget_bytes", recipe.budget_bytes, size, AT_MOST),
        ("require_proof", limit_of(recipe.require_proof), _proved(verify), AT_LEAST),
    )


def limit_of(asked: float | str | None) -> float | None:
    """What a gate demands, as a number; None where it demands nothing."""
    if isinstance(asked, str):
        return float(GRADES.index(asked))
    return None if asked is None or asked is False else float(asked)


def limits_of(recipe: Recipe) -> dict[str, float]:
    """What each gate that a recipe asks for demands, as a number."""
    found = ((name, limit_of(getattr(recipe, name))) for name in GATES)
    return {name: limit for name, limit in found if limit is not None}


def _grade(report: Report) -> float | None:
    """What the outputs are worth; None where that is not known."""
    found = report["verdicts"]
    level = found["quality"]["verdict"] if found else "unknown"
    return None if level == "unknown" else limit_of(level)


def _proved(verify: Mapping[str, Any]) -> float | None:
    """1 if the cut is proved in full, 0 if not; None where no proof was asked for."""
    proof = verify.get("proof")
    return None if proof is None else float(proof["status"] == "complete")


def _known(verify: Mapping[str, Any], what: str, worst: Callable[..., Any]) -> float | None:
    """The worst over the outputs; None where one is not verified, or there are none."""
    found = (verify.get(what) or {}).values()
    return None if None in found else worst(found, default=None)


def _agreement(verify: Mapping[str, Any]) -> float | None:
    """The least agreement of labels, those of top-1 classes included."""
    top1 = verify.get("top1_agreement")
    if not verify.get("agreement"):
        return top1
    least = _known(verify, "agreement", min)
    return least if least is None or top1 is None else min(least, top1)


def _scored(found: CheckFacts, recipe: Recipe) -> Asked:
    return (
        ("max_drop", recipe.max_drop, found["drop"], AT_MOST),
        ("min_score", recipe.min_score, found["after"], AT_LEAST),
    )


def _compared(report: Report, asked: check.Check, said: check.Score) -> CheckFacts:
    """What the user's check said of the pruned model, beside what it said of the original."""
    known = report.get("check")
    before = known["before"] if known else None
    drop = None
    if said.value is not None and before is not None:
        drop = round(before - said.value, 12)  # 0.93 - 0.92 is no more than 0.01
    return CheckFacts(
        command=check.name_of(asked),
        before=before,
        after=said.value,
        drop=drop,
        drop_error=drop_error(before, said.value, said.rows),
        rows=said.rows,
        error=said.trouble,
    )


def drop_error(before: float | None, after: float | None, rows: int | None) -> float | None:
    """The standard error of the difference of two shares of the same rows, at most.

    None where the scores are no shares, or nobody says of how many rows they are.  Both models see
    the same rows, so that their errors go along with one another, and the true one is smaller.
    """
    if before is None or after is None or rows is None or not (0 <= before <= 1 >= after >= 0):
        return None
    return math.sqrt((before * (1 - before) + after * (1 - after)) / rows)


def _doubt(found: CheckFacts, recipe: Recipe, context: Context) -> None:
    """Say how uncertain a drop is that has passed its gate."""
    drop, error, limit = found["drop"], found["drop_error"], recipe.max_drop
    if limit is None or drop is None:
        return
    if error is None:
        context.note(
            "how uncertain the drop of the score is cannot be told; a check whose score is a share "
            "may say of how many rows, as in rows=2000"
        )
    elif drop + error > limit:
        context.warn(
            f"the drop of {drop:.3g} is known to {error:.2g} only (standard error on "
            f"{found['rows']:,} rows), so that it may be above --max-drop {limit:g}; check on more"
        )


def _met(asked: Asked) -> tuple[Gate, ...]:
    """Every demand that was made, and whether it is met."""
    return tuple(
        Gate(
            name=name,
            limit=float(limit),
            value=value,
            passed=value is not None and sign * value >= sign * limit,
        )
        for name, limit, value, sign in asked
        if limit is not None
    )


def _obey(found: CheckFacts) -> None:
    """A check that fails by itself, with a reason of its own."""
    if found["error"] is not None:
        raise VerifyError(
            f"the gate --check {found['command']!r} failed on the pruned model "
            f"({found['error']}); nothing was written, prune less or mend the check"
        )


def _demand(report: Report, gates: Iterable[Gate]) -> None:
    verify: Mapping[str, Any] = report["verify"] or {}
    for gate in gates:
        if not gate["passed"]:
            option, name = "--" + gate["name"].replace("_", "-"), gate["name"].split("_")[1]
            words = gate_words(gate)
            if gate["name"] == "require_proof":
                raise VerifyError(
                    f"the gate --require-proof failed: {proof_words(verify.get('proof'))}; "
                    f"nothing was written, {ADVICE[gate['name']]}"
                )
            measured, advice = f"is {words.measured}", ADVICE[gate["name"]]
            if gate["value"] is None:
                measured, advice = _unmeasured(verify, gate["name"], advice)
            raise VerifyError(
                f"the gate {option} {words.limit} failed: {name} {measured}; nothing was written, "
                f"{advice}"
            )


def _unmeasured(verify: Mapping[str, Any], gate: str, advice: str) -> tuple[str, str]:
    """Why there is no figure, and what to do about it."""
    what = OF_OUTPUTS.get(gate)
    if gate == "min_quality":
        return "is unknown", CALIB
    if what is None:
        return "could not be measured", advice
    found = verify.get(what) or {}
    why = verify.get("unverified") or {}
    for name, value in found.items():
        if value is None:
            words = f"could not be measured, as output {printable(name)} is not verified"
            return f"{words} ({why.get(name, 'it is not finite')})", CALIB
    return f"could not be measured, as {NO_OUTPUT[what]}", "use another gate"
