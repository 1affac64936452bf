"""A user's own check: a command line or a Python function that gives a model file a score."""

from spa.check.own import ENTRY, Check, Score, name_of, score, validate

__all__ = ["ENTRY", "Check", "Score", "name_of", "score", "validate"]
