"""`tune`: gradients for a pruned model that exists already; the original is the teacher.

load → couple → settle → tune → judge → gates → deliver
"""

from __future__ import annotations

import os
from dataclasses import replace
from typing import Any

from onnx import ModelProto

from spa.errors import UsageError, VerifyError
from spa.events import Callback, quiet
from spa.executor.samples import check_room
from spa.graph import Graph, save
from spa.graph.distinct import check_files
from spa.pipeline.context import Context
from spa.pipeline.files import file_of, files_read, staged
from spa.pipeline.gates import check_gates, score_original
from spa.pipeline.load import sizes_note
from spa.pipeline.report import report_of, reporting
from spa.pipeline.result import Result
from spa.pipeline.settle import judged
from spa.pipeline.sign import REFITTED, is_refitted
from spa.pipeline.tuning import Checkpoints, check_tuning, tune_stage
from spa.pipeline.values import Pair, Settled
from spa.pipeline.verdict import compare, drift_of, failing
from spa.pipeline.verify import OWN, coupled, same_ports
from spa.plans import carried_plan
from spa.recipe import Recipe
from spa.validate import Verdict as Proof


def tune(
    dense: Any,
    small: Any,
    recipe: Recipe,
    callback: Callback = quiet,
    *,
    resume: bool = False,
    output: str | os.PathLike[str] | None = None,
    force: bool = False,
) -> Result:
    """Tune a pruned model with its original for a teacher; its graph stays, weights change.

    `recipe.tune` says how long.  Where no weights are nearer to the original on held-back inputs
    than those that came in, what came in is delivered.  Ctrl-C ends it early, with the best so far
    and exit code 130.

    Raises:
        UsageError: PyTorch is missing, or an option is wrong.
        VerifyError: the models do not belong together, or a gate failed.
        ReadError: one cannot be read, or not as a module of PyTorch.
    """
    context = Context("tune", callback)
    with reporting(context):
        recipe = context.reach(replace(recipe, verify="run").validate())
        if not recipe.tunes:
            raise UsageError("tuning takes a time such as 5m, or --steps; give one of them")
        check_tuning(recipe, resume=resume)
        others = {"an input of --calib": recipe.calib, "the file of --labels": recipe.labels}
        check_files([dense, small], others, [output])
        pair = coupled(dense, small, recipe, context)
        first, second = pair.original.graph, pair.pruned.graph
        check_room(first, recipe.memory)
        with failing("run", context):
            same_ports(first, second)
            _same_sizes(first, second)
        score_original(first, recipe, context)
        settled = judged(Settled(recipe), pair.original, context)
        base = second.source.base_dir
        given = (second.source.given, base)
        made = tune_stage(pair.original, given, settled, context, Checkpoints(resume))
        if made is not None:
            _sign(made)
        model, contents = second.source.original() if made is None else (made, None)
        _check(pair, model, made is None, settled, context)
        reads = (*files_read(first, recipe), *files_read(second, recipe))
        if output is not None:
            saved = save(
                model,
                output,
                force=force,
                base_dir=base,
                source=second.source.path,
                reads=reads,
                contents=contents,
            )
            context.reach(saved)
    report, plan = report_of(context, "ok"), carried_plan(model)
    return Result(report, model, plan, report["exit_code"], base, reads)


def _same_sizes(first: Graph, second: Graph) -> None:
    """Inputs must have the same sizes where neither model leaves them open."""
    for name in first.inputs:
        shapes = first.shapes[name], second.shapes[name]
        symbols = [g.dynamic.get(name) or (None,) * len(g.shapes[name]) for g in (first, second)]
        rows = zip(*shapes, *symbols, strict=False)
        differ = any(a != b and one is other is None for a, b, one, other in rows)
        if differ or len(shapes[0]) != len(shapes[1]):
            raise VerifyError(
                f"input {name!r} has the shape {list(shapes[0])} in one model and "
                f"{list(shapes[1])} in the other; {OWN}"
            )


def _sign(made: ModelProto) -> None:
    """Say that weights are no longer those of the original, where the file says what was cut."""
    if carried_plan(made) is not None and not is_refitted(made):
        made.metadata_props.add(key=REFITTED, value="true")


def _check(
    pair: Pair, model: ModelProto, unchanged: bool, settled: Settled, context: Context
) -> None:
    """Measure drift and latency of what will be delivered, and hold it against the gates."""
    first, second = pair.original.graph, pair.pruned.graph
    base = second.source.base_dir
    sizes_note(first, context)
    with context.stage("verify"), failing("run", context):
        found = drift_of(first, model, base, settled.recipe, optimize=True)
        proof = Proof("run", found, None, (), (dict(first.dims),))
        compare(pair.original, model, settled, context, proof, fitted=True, base_dir=base)
    check_gates(
        settled.recipe,
        context,
        lambda: file_of(second) if unchanged else staged(model, base, "model.onnx"),
    )
