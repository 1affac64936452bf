"""Two interpreters of one set of rules: `Collect` finds the channels, `Check` proves the cut."""

from spa.trace.check import Sizes, merged
from spa.trace.collect import EVEN, TIED, Collect, Factors, MadeAt, Reason, Roots
from spa.trace.couplings import Couplings
from spa.trace.kept import Kept, MisplacedError
from spa.trace.op import MET, NodeView, Op
from spa.trace.param import FOLLOWS, MAKES, READS, SCALES, Param, is_float, is_number
from spa.trace.registry import (
    MICROSOFT,
    NOTES,
    REFITS,
    RULES,
    SILENT,
    Fixes,
    Ruling,
    Status,
    refit,
    rule,
)  # fmt: skip

__all__ = [
    "EVEN",
    "FOLLOWS",
    "MAKES",
    "MET",
    "MICROSOFT",
    "NOTES",
    "READS",
    "REFITS",
    "RULES",
    "SCALES",
    "SILENT",
    "TIED",
    "Collect",
    "Couplings",
    "Factors",
    "Fixes",
    "Kept",
    "MadeAt",
    "MisplacedError",
    "NodeView",
    "Op",
    "Param",
    "Reason",
    "Roots",
    "Ruling",
    "Sizes",
    "Status",
    "is_float",
    "is_number",
    "merged",
    "refit",
    "rule",
]  # fmt: skip
