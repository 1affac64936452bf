"""How much of a cut is proved, in words."""

from __future__ import annotations

from spa.reports import wording
from spa.reports.schema import Proof


def proof_words(proof: Proof | None) -> str:
    """Say how much of a cut is proved."""
    if proof is None:
        return "no proof was asked for (--verify equivalence, or --level equivalence)"
    if proof["status"] == "complete":
        return "proved in full"
    if proof["status"] == "none":
        return "not proved, as no numbers could be compared"
    limits = [wording.printable(limit) for limit in proof["limits"]]
    more = f" (and {len(limits) - 1} more)" if len(limits) > 1 else ""
    return f"proved in part: {wording.shorten(limits[0], 200)}{more}"
