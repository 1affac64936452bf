"""Depth: which parts of a model may be bypassed, found from the graph alone."""

from spa.depth.branches import Branch, Branches, Refused, branches

__all__ = ["Branch", "Branches", "Refused", "branches"]
