"""`verify`: compare a pruned model that exists already with its original."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from spa.coupling import Coupling, analyse
from spa.coupling.cost import Cost
from spa.coupling.rows import batch_symbols
from spa.errors import ReadError, UsageError, VerifyError
from spa.events import Advance, Callback, Counted, quiet
from spa.executor.samples import check_room
from spa.graph import Graph, read
from spa.pipeline.bypass import without
from spa.pipeline.context import Context
from spa.pipeline.files import file_of
from spa.pipeline.gates import check_gates, score_original
from spa.pipeline.load import load
from spa.pipeline.report import report_of, reporting
from spa.pipeline.result import Result
from spa.pipeline.settle import heads_of, judged
from spa.pipeline.shorten import asked
from spa.pipeline.sign import is_refitted
from spa.pipeline.values import Groups, Pair, Settled
from spa.pipeline.verdict import compare, failing, with_bypass
from spa.plans import carried_plan, place
from spa.recipe import Recipe
from spa.validate import Verdict as Proof
from spa.validate import drift, runs_of
from spa.validate import verify as verify_cut
from spa.validate.inputs import feeds_at
from spa.validate.lengths import check_shapes
from spa.validate.original import Original
from spa.validate.own import OWN_RUNS, check_own
from spa.validate.runs import Runner
from spa.validate.sizes import each_other, is_heavy
from spa.validate.zeroed import prove_bypass

OWN = "compare a model with its own pruned version"


def verify(
    original: Any, pruned: Any, recipe: Recipe, callback: Callback = quiet, *, level: str = "auto"
) -> Result:
    """Compare a pruned model with its original: loads, ports, shapes, drift, latency, gates.

    A model that spa wrote carries its plan, so it can also be compared with the masked original:
    the level is `run`, `equivalence` (demands that plan), or `auto`, equivalence where the plan
    fits this original, else run.

    Raises:
        VerifyError: the two do not match or a gate failed.
        ReadError: one cannot be read.
    """
    context = Context("verify", callback)
    with reporting(context):
        recipe = context.reach(recipe.validate())
        pair = coupled(original, pruned, recipe, context)
        first, second = pair.original.graph, pair.pruned.graph
        check_room(first, recipe.memory)
        score_original(first, recipe, context)
        with failing("run", context):
            same_ports(first, second)
        settled = judged(Settled(replace(recipe, verify="run")), pair.original, context)
        with context.stage("verify"), failing("run", context):
            ran = context.counted(OWN_RUNS, "runs")
            check_own(Original(first, recipe.seed, recipe.device, ran))
            proof = _compare(pair.original.coupling, second, recipe, level, context.counted)
            fitted, base = is_refitted(second.proto), second.source.base_dir
            asked: dict[str, Any] = {"fitted": fitted, "base_dir": base}
            compare(pair.original, second.proto, settled, context, proof, **asked)
        check_gates(recipe, context, lambda: file_of(second))
    return Result(report_of(context, "ok"), second.proto, carried_plan(second.proto))


def coupled(original: Any, pruned: Any, recipe: Recipe, context: Context) -> Pair:
    """Both models, analysed as finely as the plan that the second one carries."""
    loaded = load(original, recipe, context)
    with context.stage("load"):
        second = read(pruned, input_shapes=recipe.input_shape)
    with context.stage("couple"):
        plan = carried_plan(second.proto)
        heads = "free" if plan is None else heads_of(plan)
        found = [analyse(graph, heads=heads) for graph in (loaded.graph, second)]
        sizes = [Cost(each)(each.everything()) for each in found]
    groups = Groups(found[0], sizes[0], loaded.given), Groups(found[1], sizes[1])
    return context.reach(Pair(*groups))


def same_ports(first: Graph, second: Graph) -> None:
    """Inputs and outputs must have the same names and types."""
    for kind in ("inputs", "outputs"):
        a, b = getattr(first, kind), getattr(second, kind)
        if set(a) != set(b):
            gone = sorted(set(a) ^ set(b))
            raise VerifyError(f"the models have different {kind} ({', '.join(gone)}); {OWN}")
        for name in a:
            if first.dtypes.get(name) != second.dtypes.get(name):
                raise VerifyError(
                    f"{name} is {first.dtypes.get(name)} in one model and "
                    f"{second.dtypes.get(name)} in the other; {OWN}"
                )


def _compare(
    coupling: Coupling, second: Graph, recipe: Recipe, level: str, counted: Counted
) -> Proof:
    if level != "run":
        try:
            plan = carried_plan(second.proto)
            if plan is None:
                raise UsageError("the pruned model carries no plan of spa; use --level run")
            if is_refitted(second.proto):
                raise UsageError("the weights that were kept are refitted; use --level run")
            if plan.source.get("sha256") != coupling.graph.source.sha256 and level == "auto":
                raise UsageError("it was pruned from another file")
            found = asked(coupling, Recipe(), plan.bypass) if plan.bypass else ()
            short = without(coupling, found, recipe) if found else coupling
            kept, _ = place(short, plan)
        except UsageError as error:
            if level == "equivalence":
                raise VerifyError(f"equivalence cannot be checked: {error}") from error
        else:
            base = second.source.base_dir
            proof = verify_cut(
                short,
                kept,
                second.proto,
                seed=recipe.seed,
                device=recipe.device,
                base_dir=base,
                advice="if its weights were changed on purpose, compare with --level run",
                ran=counted(runs_of(coupling, "equivalence"), "runs"),
            )
            if not found:
                return proof
            whole = coupling.graph
            less = prove_bypass(
                whole, found, short.graph.proto, seed=recipe.seed, device=recipe.device
            )
            return with_bypass(proof, less, whole, second.proto, recipe, base)
    ran = counted(runs_of(coupling, "run"), "runs")
    return _run_both(coupling.graph, second, recipe, ran)


def _run_both(first: Graph, second: Graph, recipe: Recipe, ran: Advance) -> Proof:
    """Without a plan: the same inputs through both, at every size that the first takes."""
    runners = [Runner(g.proto, g.source.base_dir, recipe.device, ran) for g in (first, second)]

    def run(sizes: Mapping[str, int]) -> tuple[dict[str, Any], dict[str, Any]]:
        feeds = feeds_at(first, recipe.seed, sizes)
        before = runners[0](feeds, True)
        try:
            after = runners[1](feeds, True)
        except ReadError as error:
            raise VerifyError(
                f"the second model does not run on inputs of the first: {error}"
            ) from error
        check_shapes(first, before, after, OWN)
        return before, after

    def accepted(sizes: Mapping[str, int]) -> bool:
        try:
            run(sizes)
        except ReadError:
            return False
        return True

    found = drift(*run(first.dims))
    heavy = is_heavy(first.shapes)
    others = each_other(first.dims, accepted, batch_symbols(first), nearest=heavy)
    return Proof("run", found, None, (), (dict(first.dims), *others))
