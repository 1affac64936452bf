"""Select, then reshape: turn a choice of units into a smaller model."""

from spa.rewrite.build import rewrite
from spa.rewrite.shrink import shrink

__all__ = ["rewrite", "shrink"]
