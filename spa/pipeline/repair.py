"""Choice → Cut → Repaired: what is not chosen leaves the file, and the rest makes up for it."""

from __future__ import annotations

from onnx import ModelProto

from spa.coupling import Coupling
from spa.coupling.model import KeptUnits
from spa.pipeline.context import Context
from spa.pipeline.values import Choice, Cut, Repaired, Settled
from spa.repairs import Reference, reconstruct
from spa.repairs import Repaired as Site
from spa.rewrite import rewrite


def cut(choice: Choice, context: Context, *, checked: bool) -> Cut:
    """Take out what is not chosen.

    Args:
        choice: what stays.
        context: of the run.
        checked: whether the choice is known to fit.
    """
    with context.stage("rewrite"):
        return Cut(choice, rewrite(choice.coupling, choice.kept, checked=checked))


def repair(made: Cut, settled: Settled, context: Context) -> Repaired:
    """Refit what stays, where the recipe asks for it."""
    recipe, choice = settled.recipe, made.choice
    if not recipe.repairs:
        if recipe.measures and not recipe.differentiates:
            context.warn(
                f"scores of {recipe.scorer} assume that the rest makes up for the loss, and "
                "nothing is refitted: leave out --set reconstruct=false, or choose --scorer l2"
            )
        return Repaired(made, made.model)
    parts = choice.coupling, choice.kept, made.model, settled, context
    small, done = refitted(*parts, choice.reference)
    dropped = [site.node for site in done if not site.kept]
    if dropped:
        context.warn(
            f"reconstruction did not help at {len(dropped)} of {len(done)} sites (such as "
            f"{dropped[0]}): their weights were only cut"
        )
    return Repaired(made, small)


def refitted(
    coupling: Coupling,
    kept: KeptUnits,
    cut: ModelProto,
    settled: Settled,
    context: Context,
    reference: Reference | None = None,
) -> tuple[ModelProto, tuple[Site, ...]]:
    """The cut model with what stays refitted by least squares, and what was done where."""
    recipe = settled.recipe
    with context.stage("reconstruct"):
        return reconstruct(
            coupling,
            kept,
            cut,
            settled.feeds,
            mode=recipe.mode,
            sequential=recipe.sequential,
            batch_norm=recipe.batch_norm,
            device=recipe.device,
            callback=context.callback,
            reference=reference,
        )
