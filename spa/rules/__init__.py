"""One function per operator: what it says about channels.  Adding one is adding a file here.

`@rule("Conv")` registers a function from an `Op` to the images of the outputs; `@refit("Conv")`
beside it recomputes what the node states about sizes.  Registering twice raises.  A rule cannot see
the values of weights, other nodes, or the plan; an operator without a rule freezes what it touches.
"""

from __future__ import annotations

from importlib import import_module
from pkgutil import iter_modules

from spa.rules.standard import catalogue, is_known
from spa.rules.traits import TRAITS, Lookup, Trait, trait_of
from spa.trace import NOTES, REFITS, RULES, SILENT, Fixes, Status, refit, rule

for family in iter_modules(__path__):  # each registers its operators
    import_module(f"spa.rules.{family.name}")

__all__ = [
    "NOTES",
    "REFITS",
    "RULES",
    "SILENT",
    "TRAITS",
    "Fixes",
    "Lookup",
    "Status",
    "Trait",
    "catalogue",
    "is_known",
    "refit",
    "rule",
    "trait_of",
]
