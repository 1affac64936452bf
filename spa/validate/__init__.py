"""Prove a pruned model: it loads, it computes what the plan says, and how far it drifts."""

from spa.validate.drift import Drift, drift, total
from spa.validate.latency import Timing, measure, side_by_side
from spa.validate.verify import Verdict, runs_of, verify

__all__ = [
    "Drift",
    "Timing",
    "Verdict",
    "drift",
    "measure",
    "runs_of",
    "side_by_side",
    "total",
    "verify",
]
