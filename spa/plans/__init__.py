"""Plans: which positions of which initializer are kept, as data that any framework can use."""

from spa.plans.cut import plan_of
from spa.plans.model import Plan
from spa.plans.place import place

__all__ = ["Plan", "place", "plan_of"]
