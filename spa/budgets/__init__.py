"""Budgets: how many channels every group gives up so that the whole model meets its target.

Units (`--of`) price a choice, allocations (`--allocation`) make one.  Nothing here knows how scores
came about, or what is done with the choice.
"""

from spa.budgets.limits import Limit, limits
from spa.budgets.moves import Moves, moves
from spa.budgets.reach import demand
from spa.budgets.search import allocate
from spa.budgets.task import Choice, Task, allocation
from spa.budgets.units import Price, unit
from spa.coupling.model import KeptUnits

__all__ = [
    "Choice",
    "KeptUnits",
    "Limit",
    "Moves",
    "Price",
    "Task",
    "allocate",
    "allocation",
    "demand",
    "limits",
    "moves",
    "unit",
]
