"""The stages in a row: read, analyse, score, allocate, rewrite, verify, report.

Everything above (the shell, the Python API) is a thin face over these functions.
"""

from spa.pipeline.compare import bench, verify
from spa.pipeline.doctor import doctor
from spa.pipeline.inspect import inspect, make_plan
from spa.pipeline.outcome import Outcome
from spa.pipeline.prune import apply, prune
from spa.pipeline.sweep import sweep

__all__ = [
    "Outcome",
    "apply",
    "bench",
    "doctor",
    "inspect",
    "make_plan",
    "prune",
    "sweep",
    "verify",
]
