"""Repairs: give the weights that stay the work of those that went."""

from spa.repairs.sequential import Repaired, reconstruct

__all__ = ["Repaired", "reconstruct"]
