"""Checkpoints of any framework: cut as a plan says, by name or by the numbers that they hold."""

from spa.checkpoints.carry import carry
from spa.checkpoints.exported import Arrays, Exported
from spa.checkpoints.told import Carried, Row

__all__ = ["Arrays", "Carried", "Exported", "Row", "carry"]
