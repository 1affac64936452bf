"""Every operator of the ONNX standard and of onnxruntime's domain: what becomes of its channels.

Ruled and lossy ones say so themselves, beside their rules.  Those without a rule are listed in
frozen.json with the reason why, in a clause; an operator that nobody knows is frozen, too.
"""

from __future__ import annotations

import json
from functools import cache
from importlib.resources import files

from spa.trace import NOTES

DOMAINS = ("", "ai.onnx.ml")
UNRULED = "no rule: what it touches stays whole"


@cache
def listed() -> dict[str, dict[str, str]]:
    """Names of operators without a rule, apart by spaces, by domain and reason."""
    text = (files("spa.rules") / "frozen.json").read_text(encoding="utf-8")
    known: dict[str, dict[str, str]] = json.loads(text)
    return known


def reasons() -> dict[tuple[str, str], str]:
    """Why operators without a rule freeze what they touch, by domain and name."""
    return {
        (domain, op): why
        for domain, known in listed().items()
        for why, names in known.items()
        for op in names.split()
        if (domain, op) not in NOTES
    }


def catalogue() -> list[dict[str, str]]:
    """Newest, non-deprecated operators of the standard, those of other domains, and why."""
    from onnx import defs

    known = {(s.domain, s.name): s.deprecated for s in defs.get_all_schemas()}
    standard = {key for key, old in known.items() if key[0] in DOMAINS and not old}
    why = reasons()
    others = {key for key in why if key[0] not in DOMAINS}
    return [
        {"domain": domain, "op": op, "status": status, "note": note}
        for domain, op in sorted(standard | others | NOTES.keys())
        for status, note in [NOTES.get((domain, op), ("frozen", why.get((domain, op), UNRULED)))]
    ]


def is_known(domain: str, op: str) -> bool:
    """Whether an operator is one of the standard's or of onnxruntime's."""
    from onnx import defs

    key = ("" if domain == "ai.onnx" else domain, op)
    return key in NOTES or key in reasons() or defs.has(op, key[0])
