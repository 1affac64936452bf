"""Budgets: how many channels every group gives up so that the whole model meets its target."""

from spa.budgets.limits import Limit, limits
from spa.budgets.moves import Moves, moves
from spa.budgets.reach import demand
from spa.budgets.search import allocate

__all__ = ["Limit", "Moves", "allocate", "demand", "limits", "moves"]
