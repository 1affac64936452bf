"""The stages in a row: read, analyse, settle, score, choose, cut, repair, verify, report.

Everything above (the shell, the Python API) is a thin face over these functions.
"""

from spa.pipeline.bench import bench
from spa.pipeline.machine import doctor
from spa.pipeline.probe import probe
from spa.pipeline.prune import apply, inspect, make_plan, prune
from spa.pipeline.result import Result
from spa.pipeline.sweep import sweep
from spa.pipeline.tune import tune
from spa.pipeline.verify import verify

__all__ = [
    "Result",
    "apply",
    "bench",
    "doctor",
    "inspect",
    "make_plan",
    "probe",
    "prune",
    "sweep",
    "tune",
    "verify",
]
