"""Gates: demands of the user that fail a run, so that nothing is written."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from contextlib import AbstractContextManager
from typing import Any

from spa import check
from spa.errors import VerifyError
from spa.graph import Graph
from spa.pipeline.journal import Journal
from spa.pipeline.staged import File, file_of
from spa.recipe import Recipe
from spa.reports.facts import gate_words, proof_words
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
    "max_drop": LESS,
    "min_score": LESS,
    "require_proof": "leave the gate out if what is proved is enough",
}


def score_original(graph: Graph, recipe: Recipe, journal: Journal) -> None:
    """Ask the user's check about the original; fills `check`, where there is one.

    It comes before all work, so that a check that cannot run says so at once.

    Raises:
        VerifyError: it fails on the original, and --max-drop needs that score.
        UsageError: there is no such command or function.
    """
    if recipe.check is None:
        return
    found = {"command": check.name_of(recipe.check), "before": None, "after": None, "drop": None}
    journal.report["check"] = {**found, "error": None}
    with journal.stage("check"), file_of(graph) as (path, _):
        said = check.score(recipe.check, path)
    journal.report["check"]["before"] = said.value
    if recipe.max_drop is not None and said.value is None:
        why = said.trouble or "it gives no finite number"
        journal.report["check"]["error"] = why
        raise VerifyError(
            f"the check fails on the original already ({why}), so that --max-drop has no measure; "
            "mend the check, or leave out --max-drop"
        )


def check_gates(
    journal: Journal,
    recipe: Recipe,
    file: Callable[[], AbstractContextManager[File]],
    *,
    weigh: bool = False,
) -> None:
    """Fill the sections `gates` and `check`.

    What is measured already comes first; the user's check, which may take long, only if that holds.

    Args:
        journal: with the report so far.
        recipe: the demands.
        file: the pruned model as a file, asked for only where a demand needs it.
        weigh: whether its size is wanted even so.

    Raises:
        VerifyError: for the first demand that is not met.
        UsageError: the user's check does not exist.
    """
    report = journal.report
    if recipe.check is None and recipe.budget_bytes is None and not weigh:
        _tell(report, _measured(report, recipe))
        return _demand(report)
    with file() as (path, size):
        _weighed(report, size)
        _tell(report, _measured(report, recipe))
        _demand(report)
        if recipe.check is not None:
            with journal.stage("check"):
                _score(report, recipe.check, check.score(recipe.check, path))
            _tell(report, _scored(report, recipe))
            _obey(report)
            _demand(report)


def check_sizes(report: dict[str, Any], recipe: Recipe) -> None:
    """The demands that more pruning helps to meet, alone; raises as `check_gates` does."""
    _tell(report, (each for each in _measured(report, recipe) if ADVICE[each[0]] is MORE))
    _demand(report)


def _measured(report: dict[str, Any], recipe: Recipe) -> Asked:
    reduction = report["reduction"] or {}
    verify = report["verify"] or {}
    speedup = (report["latency"] or {}).get("speedup")
    size = (report["output"] or {}).get("bytes")
    return (
        ("min_reduction", recipe.min_reduction, reduction.get(recipe.of), AT_LEAST),
        ("max_drift", recipe.max_drift, _known(verify, "drift", max), AT_MOST),
        ("min_agreement", recipe.min_agreement, _agreement(verify), AT_LEAST),
        ("min_speedup", recipe.min_speedup, speedup, AT_LEAST),
        ("budget_bytes", recipe.budget_bytes, size, AT_MOST),
        ("require_proof", 1.0 if recipe.require_proof else None, _proved(report), AT_LEAST),
    )


def _proved(report: dict[str, Any]) -> float | None:
    """1 if the cut is proved in full, 0 if not; None where no proof was asked for."""
    proof = (report["verify"] or {}).get("proof")
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


def _scored(report: dict[str, Any], recipe: Recipe) -> Asked:
    found = report["check"]
    return (
        ("max_drop", recipe.max_drop, found["drop"], AT_MOST),
        ("min_score", recipe.min_score, found["after"], AT_LEAST),
    )


def _weighed(report: dict[str, Any], size: int) -> None:
    report["output"]["bytes"] = size
    before = report["input"]["bytes"]
    report["reduction"]["bytes"] = 1.0 - size / before if before else None


def _score(report: dict[str, Any], asked: check.Check, said: check.Score) -> None:
    found = report.setdefault("check", {"before": None})
    drop = None
    if said.value is not None and found["before"] is not None:
        drop = round(found["before"] - said.value, 12)  # 0.93 - 0.92 is no more than 0.01
    found |= {"command": check.name_of(asked), "after": said.value, "drop": drop}
    found["error"] = said.trouble


def _tell(report: dict[str, Any], asked: Asked) -> None:
    for name, limit, value, sign in asked:
        if limit is not None:
            passed = value is not None and sign * value >= sign * limit
            report["gates"].append(
                {"name": name, "limit": float(limit), "value": value, "passed": passed}
            )


def _obey(report: dict[str, Any]) -> None:
    """A check that fails by itself, with a reason of its own."""
    why = report["check"]["error"]
    if why is not None:
        command = report["check"]["command"]
        raise VerifyError(
            f"the gate --check {command!r} failed on the pruned model ({why}); nothing was "
            "written, prune less or mend the check"
        )


def _demand(report: dict[str, Any]) -> None:
    for gate in report["gates"]:
        if not gate["passed"]:
            option, name = "--" + gate["name"].replace("_", "-"), gate["name"].split("_")[1]
            words = gate_words(gate)
            if gate["name"] == "require_proof":
                proof = (report["verify"] or {}).get("proof")
                raise VerifyError(
                    f"the gate --require-proof failed: {proof_words(proof)}; nothing was written, "
                    f"{ADVICE[gate['name']]}"
                )
            measured, advice = f"is {words.measured}", ADVICE[gate["name"]]
            if gate["value"] is None:
                measured, advice = _unmeasured(report["verify"] or {}, gate["name"], advice)
            raise VerifyError(
                f"the gate {option} {words.limit} failed: {name} {measured}; nothing was written, "
                f"{advice}"
            )


def _unmeasured(verify: Mapping[str, Any], gate: str, advice: str) -> tuple[str, str]:
    """Why there is no figure, and what to do about it."""
    what = OF_OUTPUTS.get(gate)
    if what is None:
        return "could not be measured", advice
    found = verify.get(what) or {}
    why = verify.get("unverified") or {}
    for name, value in found.items():
        if value is None:
            words = f"could not be measured, as output {printable(name)} is not verified"
            return f"{words} ({why.get(name, 'it is not finite')})", CALIB
    return f"could not be measured, as {NO_OUTPUT[what]}", "use another gate"
