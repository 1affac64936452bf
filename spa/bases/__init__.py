"""Bases: where channels may be mixed without changing what the model computes, and how."""

from spa.bases.free import Free, free, tensors_of
from spa.bases.mix import mixed

__all__ = ["Free", "free", "mixed", "tensors_of"]
