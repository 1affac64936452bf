"""What a report says of the two verdicts."""

from __future__ import annotations

from spa.pipeline.values import Verdict
from spa.reports.verdicts import UNCHECKED, QualityFacts, RewriteFacts, Verdicts, unjudged
from spa.reports.wording import measure, plural


def verdicts(verdict: Verdict | None) -> Verdicts:
    """The section `verdicts`, without what to do next; None: nothing was looked at."""
    if verdict is None:
        return Verdicts(rewrite=UNCHECKED, quality=unjudged("nothing was measured"), next=None)
    said = verdict.quality
    quality = unjudged("the run ended before it was measured")
    if said is not None:
        lost = said.lost
        quality = QualityFacts(
            verdict=said.level,
            why=said.why,
            output=said.output,
            outputs=dict(said.outputs),
            top1_lost=lost.lost if lost else None,
            top1_lost_error=lost.error if lost else None,
        )
    return Verdicts(rewrite=_rewrite(verdict), quality=quality, next=None)


def _rewrite(verdict: Verdict) -> RewriteFacts:
    """Whether the file is what the plan says."""
    proof = verdict.proof
    if not verdict.passed or proof is None:
        return RewriteFacts(verdict="failed", why="the file is not what was asked for")
    if proof.proof == "none":
        why = "both models were run, but not held against the masked original"
        if proof.level == "equivalence":
            why = "no numbers could be compared"
        return RewriteFacts(verdict="not checked", why=why)
    if proof.proof == "partial":
        more = f" (and {len(proof.limits) - 1} more)" if len(proof.limits) > 1 else ""
        return RewriteFacts(verdict="partial", why=f"{proof.limits[0]}{more}")
    on = f"{proof.compared:,} numbers compared at {plural(len(proof.sizes), 'size')}"
    why = f"it computes what the plan says ({on}, error {measure(proof.equivalence)})"
    return RewriteFacts(verdict="exact", why=why)
