"""Plans: which positions of which initializer are kept, as data that any framework can use."""

from spa.plans.carried import carried_plan
from spa.plans.cut import plan_of
from spa.plans.model import Plan
from spa.plans.place import place

__all__ = ["Plan", "carried_plan", "place", "plan_of"]
