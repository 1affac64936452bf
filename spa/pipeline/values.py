"""What the stages hand on, each a frozen value.

    Graph → Groups → Settled → Scores → Choice → Cut → Repaired → Written → Verdict → Gated

A stage is a function from such values to the next one; the report (`spa.pipeline.report`) is built
from those that were reached.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray
from onnx import ModelProto

from spa.coupling import Coupling
from spa.coupling.cost import Cost, Sizes
from spa.coupling.model import KeptUnits
from spa.depth import Branch, Step
from spa.executor.survey import Runs
from spa.graph import Graph
from spa.latency import Whole
from spa.pipeline.groups import group_facts
from spa.plans import Plan
from spa.probes import Data, Probe
from spa.recipe import Held, Recipe
from spa.repairs import Reference
from spa.reports.schema import CheckFacts, Gate, Latency, LatencyBudget, OpCounts, TuneFacts
from spa.reports.trials import By, Row
from spa.validate import Verdict as Proof
from spa.validate.inputs import Inputs
from spa.validate.quality import Quality

Given = Data | Held | None
"""Inputs that a person gave, after they were looked at."""


@dataclass(frozen=True, eq=False)
class Groups:
    """A model that was read and analysed: its coupled channels, and what it costs whole.

    `bypassed` are the branches of the model `before` that it is without.
    """

    coupling: Coupling
    sizes: Sizes
    given: Given = None
    bypassed: tuple[Branch, ...] = ()
    before: Groups | None = None

    @property
    def original(self) -> Groups:
        """The model with all of its branches."""
        return self.before or self

    @property
    def graph(self) -> Graph:
        """The model."""
        return self.coupling.graph


@dataclass(frozen=True, eq=False)
class Options:
    """What there is to choose from: groups, and the branches that may be bypassed.

    `keepers` says by position which option keeps a group whole, `held` which one keeps a branch;
    None for none.
    """

    groups: Groups
    keepers: tuple[str | None, ...]
    branches: tuple[Branch, ...]
    held: tuple[str | None, ...]


@dataclass(frozen=True, eq=False)
class Shortened:
    """The branches that a model is cut without."""

    original: Groups
    branches: tuple[Branch, ...]


@dataclass(frozen=True)
class Tried:
    """So many branches out, and widths for the rest of the budget: the mean square error left."""

    branches: int
    error: float


@dataclass(frozen=True, eq=False)
class Deepened:
    """How many branches go, of those `order` lists, and what else was tried."""

    order: tuple[Step, ...]
    tried: tuple[Tried, ...]
    chosen: int


@dataclass(frozen=True, eq=False)
class Settled:
    """A recipe in which nothing is open, with the inputs that go with it.

    Attributes:
        recipe: with the scorer and the repair that will be used.
        probe: what feeds the model; None where nothing asks for inputs, or none can be made.
        feeds: inputs to score and fit on, one dict per run; empty where nothing is measured.
        trouble: why there is no probe, where one was wanted.
        whole: the original, ready to be timed; only where time is the budget.
    """

    recipe: Recipe
    probe: Probe | None = None
    feeds: Runs = field(default_factory=Runs)
    trouble: str | None = None
    whole: Whole | None = None

    def at(self, ratio: float) -> Settled:
        """The same with another ratio."""
        return replace(self, recipe=replace(self.recipe, ratio=ratio))


@dataclass(frozen=True, eq=False)
class Scores:
    """What every channel is worth.

    Attributes:
        coupling: the model, in the basis that suits a cut.
        values: by unit, float64 `[labels]`.
        rotated: the stored tensors whose channels were mixed first.
        reference: the original in that basis, where the model is without some of its branches.
    """

    coupling: Coupling
    values: NDArray[np.float64]
    rotated: tuple[str, ...] = ()
    reference: Reference | None = None


@dataclass(frozen=True, eq=False)
class Choice:
    """Which channels stay.

    Attributes:
        coupling: the model whose channels they are, perhaps in another basis than the original.
        kept: by unit, bool `[labels]`.
        plan: the same for people and files.
        latency: how the budget was met, where time is the budget.
        reference: what is refitted towards, where the model is without some of its branches.
    """

    coupling: Coupling
    kept: KeptUnits
    plan: Plan
    latency: LatencyBudget | None = None
    reference: Reference | None = None


@dataclass(frozen=True, eq=False)
class Planned:
    """A choice that was only made, not carried out."""

    original: Groups
    choice: Choice


@dataclass(frozen=True, eq=False)
class Cut:
    """A model that has lost what is not chosen, every weight that stays as it was."""

    choice: Choice
    model: ModelProto


@dataclass(frozen=True, eq=False)
class Repaired:
    """A cut model whose weights have taken over the work of those that went.

    `model` is that of the cut where nothing was refitted.
    """

    cut: Cut
    model: ModelProto

    @property
    def refitted(self) -> bool:
        """Whether weights that stay have changed."""
        return self.model is not self.cut.model or bool(self.cut.choice.plan.rotated)


@dataclass(frozen=True, eq=False)
class Written:
    """The model as its file will have it, signed and compact; what it costs, what it is made of.

    Of `original`, `shortened` is without the branches that are bypassed; else it is the same.
    """

    original: Groups
    shortened: Groups
    repaired: Repaired
    file: ModelProto
    sizes: Sizes
    ops: OpCounts

    @cached_property
    def groups(self) -> list[dict[str, Any]]:
        """The groups as a report has them."""
        choice = self.repaired.cut.choice
        return group_facts(choice.coupling, choice.kept, Cost(choice.coupling))


@dataclass(frozen=True, eq=False)
class Tuned:
    """How gradients went; the weights are in what stands beside it."""

    facts: TuneFacts


@dataclass(frozen=True, eq=False)
class Searched:
    """The budgets that were tried for the largest that passes, in any order.

    `best` is that, as it was asked for; None where none passes.
    """

    by: By
    best: float | None
    gates: dict[str, float]
    rows: tuple[Row, ...]


@dataclass(frozen=True, eq=False)
class Pair:
    """Two models that exist already; nothing is known of how the second was made."""

    original: Groups
    pruned: Groups


@dataclass(frozen=True, eq=False)
class Verdict:
    """Whether a model is what the plan says, and what its outputs say, and how fast it is.

    Attributes:
        level: what was asked for.
        passed: whether it held.
        proof: what was seen; None where it was not run, or failed.
        inputs: what the drift was measured on.
        quality: what the outputs say.
        latency: both models in one run.
    """

    level: str
    passed: bool
    proof: Proof | None = None
    inputs: Inputs | None = None
    quality: Quality | None = None
    latency: Latency | None = None


@dataclass(frozen=True)
class Checked:
    """What the user's own check says of the models so far."""

    facts: CheckFacts


@dataclass(frozen=True)
class Weighed:
    """Bytes of the file that would be written, external data included."""

    bytes: int


@dataclass(frozen=True)
class Gated:
    """The demands of the user, and which of them are met."""

    gates: tuple[Gate, ...]
