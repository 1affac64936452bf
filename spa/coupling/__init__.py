"""Which channels of a graph are coupled, and what cutting them would save."""

from spa.coupling.analyse import analyse, misplaced, refine
from spa.coupling.model import Coupling, Frozen, Group, Member

__all__ = ["Coupling", "Frozen", "Group", "Member", "analyse", "misplaced", "refine"]
