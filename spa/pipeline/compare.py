"""`verify` and `bench`: compare models that exist already."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from onnx import ModelProto

from spa import runtime
from spa.coupling import Coupling, analyse
from spa.coupling.cost import Cost, Sizes, reduction
from spa.coupling.rows import batch_symbols
from spa.errors import ReadError, UsageError, VerifyError
from spa.events import Advance, Counted, Step, Tell, quiet
from spa.graph import Graph, read
from spa.latency import clock_for
from spa.pipeline import facts
from spa.pipeline.check import compare
from spa.pipeline.gates import check_gates, score_original
from spa.pipeline.inputs import check_inputs
from spa.pipeline.journal import Journal, peak_memory
from spa.pipeline.prune import carried_plan, heads_of, is_refitted
from spa.pipeline.staged import file_of
from spa.plans import place
from spa.recipe import Recipe
from spa.validate import Timing, Verdict, drift, runs_of, side_by_side
from spa.validate import verify as verify_cut
from spa.validate.inputs import feeds_at
from spa.validate.lengths import check_shapes
from spa.validate.own import OWN_RUNS, check_own
from spa.validate.runs import Runner
from spa.validate.sizes import each_other, is_heavy

OWN = "compare a model with its own pruned version"


def verify(
    original: Any, pruned: Any, recipe: Recipe, tell: Tell = quiet, *, level: str = "auto"
) -> dict[str, Any]:
    """Compare a pruned model with its original: loads, ports, shapes, drift, latency, gates.

    A model that spa wrote carries its plan, so it can also be compared with the masked original.

    Args:
        original: path, bytes, stream or ModelProto.
        pruned: likewise.
        recipe: gates, input shapes, seed and device.
        tell: where progress goes.
        level: `run`, `equivalence` (demands the plan in the file), or `auto`: equivalence if the
            file carries a plan that fits this original, else run.

    Raises:
        VerifyError: the two do not match or a gate failed.
        ReadError: one cannot be read.
    """
    journal = Journal("verify", tell)
    with journal.written():
        recipe.validate()
        with journal.stage("load"):
            first = read(original, input_shapes=recipe.input_shape)
            check_inputs(first, recipe, journal)
            second = read(pruned, input_shapes=recipe.input_shape)
        score_original(first, recipe, journal)
        with journal.stage("couple"):
            plan = carried_plan(second.proto)
            heads = "free" if plan is None else heads_of(plan)
            couplings = analyse(first, heads=heads), analyse(second, heads=heads)
            sizes = [Cost(c)(c.everything()) for c in couplings]
        report = journal.report
        report["input"] = facts.input_facts(couplings[0], sizes[0])
        report["output"] = {
            k: v
            for k, v in facts.input_facts(couplings[1], sizes[1]).items()
            if k not in ("opset", "producer")
        }
        report["reduction"] = _reduction(report, *sizes)
        ops = [dict(g.source.ops) for g in (first, second)]
        report["ops"] = {"before": ops[0], "after": ops[1]}
        with journal.stage("verify"):
            report["verify"] = {**facts.verify_facts(None, "run"), "passed": False}
            _same_ports(first, second)
            ran = journal.counted(OWN_RUNS, "runs")
            check_own(first, recipe.seed, recipe.device, ran)
            verdict = _compare(couplings[0], second, recipe, level, journal.counted)
            compare(
                couplings[0],
                second.proto,
                recipe,
                journal,
                verdict,
                fitted=is_refitted(second.proto),
                base_dir=second.source.base_dir,
            )
        check_gates(journal, recipe, lambda: file_of(second))
    return journal.succeed()


def _reduction(report: dict[str, Any], before: Sizes, after: Sizes) -> dict[str, Any]:
    size, left = report["input"]["bytes"], report["output"]["bytes"]
    return {**reduction(before, after), "bytes": 1.0 - left / size if size else None}


def _same_ports(first: Graph, second: Graph) -> None:
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
) -> Verdict:
    if level != "run":
        try:
            plan = carried_plan(second.proto)
            if plan is None:
                raise UsageError("the pruned model carries no plan of spa; use --level run")
            if is_refitted(second.proto):
                raise UsageError("the weights that were kept are refitted; use --level run")
            if plan.source.get("sha256") != coupling.graph.source.sha256 and level == "auto":
                raise UsageError("it was pruned from another file")
            alive, _ = place(coupling, plan)
        except UsageError as error:
            if level == "equivalence":
                raise VerifyError(f"equivalence cannot be checked: {error}") from error
        else:
            return verify_cut(
                coupling,
                alive,
                second.proto,
                seed=recipe.seed,
                device=recipe.device,
                base_dir=second.source.base_dir,
                advice="if its weights were changed on purpose, compare with --level run",
                ran=counted(runs_of(coupling, "equivalence"), "runs"),
            )
    ran = counted(runs_of(coupling, "run"), "runs")
    return _run_both(coupling.graph, second, recipe, ran)


def _run_both(first: Graph, second: Graph, recipe: Recipe, ran: Advance) -> Verdict:
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
    return Verdict("run", found, None, (), (dict(first.dims), *others))


def bench(
    models: Sequence[Any],
    recipe: Recipe,
    tell: Tell = quiet,
    *,
    runs: int | None = None,
    warmup: int = 5,
    threads: int | None = None,
) -> dict[str, Any]:
    """Latency and memory of several models, interleaved in one run; the first is the measure.

    Raises ReadError if one cannot be read or run, UsageError if there is none.
    """
    journal = Journal("bench", tell)
    rows, sessions, feeds = [], [], []
    with journal.written(), journal.stage("bench", total=len(models)):
        recipe.validate()
        if not models:
            raise UsageError("there is no model to measure; name one or more")
        for model in models:
            graph = read(model, input_shapes=recipe.input_shape)
            began = time.perf_counter()
            session = runtime.session(
                _loadable(graph),
                threads=threads or 0,
                device=recipe.device,
                base_dir=graph.source.base_dir,
                timed=True,
            )
            loaded = (time.perf_counter() - began) * 1e3
            coupling = analyse(graph)
            sizes = Cost(coupling)(coupling.everything())
            sessions.append(session)
            feeds.append(feeds_at(graph, recipe.seed))
            rows.append(
                {
                    "path": str(graph.source.path or "-"),
                    "load_ms": loaded,
                    "bytes": graph.source.bytes,
                    "params": round(sizes.params),
                    "macs": round(sizes.macs),
                    "peak_rss_bytes": peak_memory(),
                }
            )
            tell(Step("bench"))
        for session, feed in zip(sessions, feeds, strict=True):
            runtime.run(session, feed)
        clock = clock_for(recipe.device, threads or 0)
        timing = side_by_side(sessions, feeds, runs=runs, warmup=warmup, clock=clock)
    for k, row in enumerate(rows):
        row |= _timed(timing, k)
    return {
        "provider": sessions[0].get_providers()[0],
        "threads": threads,
        "runs": len(timing.millis),
        "warmup": warmup,
        "models": rows,
    }


def _timed(timing: Timing, k: int) -> dict[str, float]:
    """What was measured of session k."""
    millis = timing.millis[:, k]
    low, high = timing.intervals[k]
    return {
        "median_ms": timing.medians[k],
        "p90_ms": float(np.percentile(millis, 90)),
        "min_ms": float(millis.min()),
        "speedup": timing.speedups[k],
        "low": low,
        "high": high,
    }


def _loadable(graph: Graph) -> ModelProto | Path:
    """The file itself where there is one: a bench measures what was given."""
    return graph.source.path if graph.source.path is not None else graph.proto
