"""Depth: which parts of a model may be bypassed, found from the graph alone."""

from spa.depth.branches import Branch, Branches, Refused, branches
from spa.depth.features import features_of
from spa.depth.importance import Order, Step
from spa.depth.least import least

__all__ = ["Branch", "Branches", "Order", "Refused", "Step", "branches", "features_of", "least"]
