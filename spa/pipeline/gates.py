"""Gates: demands of the user that fail a run, so that nothing is written."""

from __future__ import annotations

from typing import Any

from spa.errors import VerifyError
from spa.recipe import Recipe


def check_gates(report: dict[str, Any], recipe: Recipe) -> None:
    """Fill the section `gates` and raise VerifyError for the first demand that is not met."""
    reduction = report["reduction"] or {}
    drift = ((report["verify"] or {}).get("drift") or {}).values()
    speedup = (report["latency"] or {}).get("speedup")
    asked = (
        ("min_reduction", recipe.min_reduction, reduction.get(recipe.of), 1),
        ("max_drift", recipe.max_drift, max(drift, default=None), -1),
        ("min_speedup", recipe.min_speedup, speedup, 1),
    )
    for name, limit, value, sign in asked:
        if limit is not None:
            passed = value is not None and sign * value >= sign * limit
            report["gates"].append(
                {"name": name, "limit": float(limit), "value": value, "passed": passed}
            )
    for gate in report["gates"]:
        if not gate["passed"]:
            option = "--" + gate["name"].replace("_", "-")
            value = gate["value"]
            measured = "could not be measured" if value is None else f"is {value:.4g}"
            raise VerifyError(
                f"the gate {option} {gate['limit']:g} failed: {gate['name'].split('_')[1]} "
                f"{measured}; nothing was written, prune less or loosen the gate"
            )
