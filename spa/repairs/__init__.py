"""Repairs: give the weights that stay the work of those that went; one file each.

A repair refits one site (docs/contributing/add_a_criterion.md says how one is brought).  It knows
nothing of scores and budgets.
"""

from spa.repairs.fit import Fit, Repair, repair
from spa.repairs.sequential import Repaired, reconstruct
from spa.repairs.targets import Reference

__all__ = ["Fit", "Reference", "Repair", "Repaired", "reconstruct", "repair"]
