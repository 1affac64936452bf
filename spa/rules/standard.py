"""Every operator of the ONNX standard, and what becomes of channels that reach it."""

from __future__ import annotations

from spa.rules.registry import NOTES

DOMAINS = ("", "ai.onnx.ml")
UNRULED = "no rule: what it touches stays whole"


def entries() -> list[dict[str, str]]:
    """Newest, non-deprecated operators of the standard, and those of other domains with rules."""
    from onnx import defs

    known = {(s.domain, s.name): s.deprecated for s in defs.get_all_schemas()}
    standard = {key for key, old in known.items() if key[0] in DOMAINS and not old}
    return [
        {"domain": domain, "op": op, "status": status, "note": note}
        for domain, op in sorted(standard | NOTES.keys())
        for status, note in [NOTES.get((domain, op), ("frozen", UNRULED))]
    ]
