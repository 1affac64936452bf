"""The report of a run, built in one place from the values that its stages reached."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from functools import singledispatch
from typing import Any, cast

import numpy as np
from onnx import ModelProto, TensorProto

from spa.budgets.units import removed
from spa.config import as_json
from spa.coupling.cost import Cost, Sizes, reduction
from spa.coupling.model import Coupling
from spa.depth import Branch
from spa.graph import Saved
from spa.pipeline.context import Context
from spa.pipeline.groups import group_facts
from spa.pipeline.machine import peak_memory, versions
from spa.pipeline.next_step import next_step
from spa.pipeline.said import verdicts
from spa.pipeline.values import (
    Checked,
    Choice,
    Deepened,
    Gated,
    Groups,
    Options,
    Pair,
    Planned,
    Searched,
    Settled,
    Shortened,
    Tuned,
    Verdict,
    Weighed,
    Written,
)
from spa.recipe import Recipe
from spa.reports.branches import BranchFacts
from spa.reports.schema import FileFacts, Report, Status, empty_report
from spa.reports.trials import frontier, original
from spa.validate import Verdict as Proof

Port = list[Any]
INTERRUPTED = 130
MAKING = ("apply", "prune", "tune")
NO_RATIO = ("apply", "inspect", "tune", "verify")
"""Commands in which the ratio of a recipe has no say."""


def report_of(context: Context, status: Status | None = None) -> Report:
    """The report of a run as far as it got.

    Args:
        context: of the run.
        status: how it ended; by default it has failed.
    """
    report = empty_report(context.command)
    for value in context.reached:
        put(value, report)
    report["warnings"], report["timings"] = [*context.warnings], dict(context.timings)
    if context.notes:
        report["notes"] = [*context.notes]
    report["timings"]["total"] = context.seconds
    report["peak_rss_bytes"], report["versions"] = peak_memory(), versions()
    if status is not None:
        report["status"], report["exit_code"] = status, 0
        _interrupted(report)
    _judged(report, context)
    return report


def _judged(report: Report, context: Context) -> None:
    """Say of a model that was made what is not known of it, and what to type next."""
    if report["verdicts"] is None and report["output"] and report["command"] in MAKING:
        report["verdicts"] = verdicts(None)
    if report["verdicts"] is not None:
        asked = next((each for each in context.reached if isinstance(each, Recipe)), Recipe())
        report["verdicts"]["next"] = next_step(report, asked)


def _interrupted(report: Report) -> None:
    """A run whose tuning a person ended has delivered its best so far, and says that it ended."""
    tuned = report.get("tune")
    if tuned and tuned["stopped"] == "interrupted":
        report["status"], report["exit_code"] = "interrupted", INTERRUPTED
        if not tuned["steps"]:
            report["error"] = "interrupted before the first step; weights are as they came in"
            return
        again = "; --resume goes on" if tuned.get("resumable") else ""
        report["error"] = (
            f"interrupted at step {tuned['steps']} of {tuned['planned']}; the best so far was "
            f"checked and delivered{again}"
        )


@contextmanager
def reporting(context: Context) -> Iterator[None]:
    """Whatever raises in here, an interrupt or a bug, leaves with the report as far as it got.

    Numbers that are not finite are looked for where they matter; numpy says nothing of them
    (kernels of some BLAS raise the flag where nothing is wrong).
    """
    try:
        with np.errstate(all="ignore"):
            yield
    except BaseException as error:
        error.report = report_of(context)  # type: ignore[attr-defined]
        raise


@singledispatch
def put(value: object, report: Report) -> None:
    """Add to a report what a value says; those of later stages know better."""


@put.register
def _(value: Groups, report: Report) -> None:
    report["input"] = cast(Any, model_facts(value))
    report["frozen"] = cast(Any, frozen_facts(value.coupling))
    report["groups"] = cast(Any, group_facts(value.coupling, None))


@put.register
def _(value: Shortened, report: Report) -> None:
    report["bypassed"] = [branch_facts(value.original.coupling, each) for each in value.branches]


@put.register
def _(value: Deepened, report: Report) -> None:
    report["depth"] = {
        "chosen": value.chosen,
        "order": [
            {"name": step.branch.name, "saved": step.saved, "error": math.sqrt(step.error)}
            for step in value.order
        ],
        "tried": [
            {
                "branches": each.branches,
                "error": math.sqrt(each.error) if math.isfinite(each.error) else None,
            }
            for each in value.tried
        ],
    }


@put.register
def _(value: Recipe, report: Report) -> None:
    said = as_json(value)
    report["recipe"] = said | {"ratio": None} if report["command"] in NO_RATIO else said


@put.register
def _(value: Settled, report: Report) -> None:
    put(value.recipe, report)


@put.register
def _(value: Options, report: Report) -> None:
    coupling = value.groups.coupling
    report["groups"] = cast(Any, group_facts(coupling, None, Cost(coupling)))
    for fact, option in zip(report["groups"], value.keepers, strict=True):
        if option is not None:
            fact["frozen"], fact["reason"] = True, f"kept whole by {option}"
    report["branches"] = [branch_facts(coupling, each) for each in value.branches]
    for told, held in zip(report["branches"], value.held, strict=True):
        if held is not None:
            told["reason"] = f"kept by {held}"


@put.register
def _(value: Choice, report: Report) -> None:
    if value.latency is not None:
        report["latency_budget"] = value.latency


@put.register
def _(value: Planned, report: Report) -> None:
    put(value.choice, report)
    choice, cost = value.choice, Cost(value.choice.coupling)
    sizes = cost(choice.kept)
    report["groups"] = cast(Any, group_facts(choice.coupling, choice.kept, cost))
    _changed(report, value.original.sizes, sizes, choice)
    report["output"] = cast(Any, {**UNWRITTEN, **counts(sizes)})


@put.register
def _(value: Written, report: Report) -> None:
    choice = value.repaired.cut.choice
    report["groups"] = cast(Any, value.groups)
    _changed(report, value.original.sizes, value.sizes, choice)
    report["output"] = cast(Any, {**UNWRITTEN, **counts(value.sizes), **_ported(value.file)})
    report["ops"] = value.ops


@put.register
def _(value: Pair, report: Report) -> None:
    put(value.original, report)
    after = model_facts(value.pruned)
    del after["opset"], after["producer"]
    report["output"] = cast(Any, after)
    _changed(report, value.original.sizes, value.pruned.sizes, None)
    _weighed(report, value.pruned.graph.source.bytes)
    ops = [dict(each.graph.source.ops) for each in (value.original, value.pruned)]
    report["ops"] = {"before": ops[0], "after": ops[1]}


@put.register
def _(value: Tuned, report: Report) -> None:
    report["tune"] = value.facts


@put.register
def _(value: Searched, report: Report) -> None:
    rows = [original(report, value.rows), *frontier(value.rows)]
    report["search"] = {
        "by": value.by,
        "best": value.best,
        "gates": value.gates,
        "rows": rows,
    }


@put.register
def _(value: Verdict, report: Report) -> None:
    report["verify"], report["verdicts"] = cast(Any, verify_facts(value)), verdicts(value)
    if value.latency is not None:
        report["latency"] = value.latency


@put.register
def _(value: Weighed, report: Report) -> None:
    _weighed(report, value.bytes)


@put.register
def _(value: Checked, report: Report) -> None:
    report["check"] = value.facts


@put.register
def _(value: Gated, report: Report) -> None:
    report["gates"] = [*value.gates]


@put.register
def _(saved: Saved, report: Report) -> None:
    output = report["output"]
    _weighed(report, saved.bytes)
    assert output is not None
    output["path"], output["sha256"] = str(saved.path), saved.sha256
    data = 0 if saved.data is None else saved.data.stat().st_size
    size, digest = saved.bytes - data, saved.sha256
    report["files"] = [FileFacts(kind="model", path=str(saved.path), bytes=size, sha256=digest)]
    if saved.data is not None:
        beside = FileFacts(kind="data", path=str(saved.data), bytes=data, sha256=saved.data_sha256)
        report["files"].append(beside)


UNWRITTEN = {"path": None, "sha256": None, "bytes": None}


def _changed(report: Report, before: Sizes, after: Sizes, choice: Choice | None) -> None:
    shares: dict[str, Any] = {**reduction(before, after), "bytes": None}
    if choice is not None:
        shares |= removed(choice.coupling, choice.kept, choice.plan.recipe.get("of"))
        if choice.latency is not None:
            shares["latency"] = choice.latency["measured"]
    report["reduction"] = cast(Any, shares)


def _weighed(report: Report, size: int) -> None:
    before = report["input"]["bytes"] if report["input"] else None
    if report["output"] is not None:
        report["output"]["bytes"] = size
    if report["reduction"] is not None:
        report["reduction"]["bytes"] = 1.0 - size / before if before else None


def _ported(model: ModelProto) -> dict[str, list[Port]]:
    """Inputs (those with a default as well) and outputs as [name, dtype, shape]."""
    graph = model.graph
    return {"inputs": [*map(_port, graph.input)], "outputs": [*map(_port, graph.output)]}


def _port(value: Any) -> Port:
    kind = value.type.tensor_type
    if not value.type.HasField("tensor_type"):
        return [value.name, value.type.WhichOneof("value") or "unknown", []]
    shape = [
        d.dim_value if d.HasField("dim_value") else (d.dim_param or None) for d in kind.shape.dim
    ]
    return [value.name, TensorProto.DataType.Name(kind.elem_type).lower(), shape]


def model_facts(groups: Groups) -> dict[str, Any]:
    """A model that was read: the section `input`."""
    source = groups.graph.source
    return {
        "path": str(source.path) if source.path else None,
        "sha256": source.sha256,
        "bytes": source.bytes,
        "opset": source.opset,
        "producer": source.producer,
        **counts(groups.sizes),
        **_ported(groups.graph.proto),
    }


def counts(sizes: Sizes) -> dict[str, int]:
    """Parameters, MACs and channels as whole numbers."""
    return {
        "params": round(sizes.params),
        "macs": round(sizes.macs),
        "channels": round(sizes.channels),
    }


def frozen_facts(coupling: Coupling) -> list[dict[str, Any]]:
    """The section `frozen`: reasons with how many channels they hold, most first."""
    held: Counter[tuple[str, str, str]] = Counter()
    for f in coupling.frozen:
        held[f.reason.text, f.reason.op, f.reason.node] += f.channels
    for reason in coupling.notes.unknown:
        held.setdefault((reason.text, reason.op, reason.node), 0)
    return [
        {"reason": text, "op": op, "node": node, "channels": n}
        for (text, op, node), n in held.most_common()
    ]


def branch_facts(coupling: Coupling, branch: Branch) -> BranchFacts:
    """A branch: which node ends it, and what it costs."""
    add = coupling.graph.at(branch.add)
    return {
        "name": branch.name,
        "kind": branch.kind,
        "op": add.op,
        "node": add.name,
        "shortcut": branch.shortcut,
        "nodes": len(branch.nodes),
        "params": branch.params,
        "macs": round(branch.macs),
        "reason": None,
    }


def verify_facts(verdict: Verdict) -> dict[str, Any]:
    """The section `verify`."""
    proof, on = verdict.proof, verdict.inputs
    drift = proof.drift if proof else None
    lossy = proof.lossy if proof else ()
    return {
        "level": verdict.level,
        "passed": verdict.passed,
        "max_abs_diff": drift.max_abs if drift else None,
        "equivalence_error": proof.equivalence if proof else None,
        "drift": dict(drift.relative) if drift else {},
        "relative_l2": dict(drift.plain) if drift else {},
        "cosine": dict(drift.cosine) if drift else {},
        "agreement": dict(drift.agreement) if drift else {},
        "unverified": dict(drift.unverified) if drift else {},
        "top1_agreement": drift.top1 if drift else None,
        "inputs": on.kind if on else None,
        "rows": on.rows if on else None,
        "held_back": on.held_back if on else None,
        "lossy": [{"op": r.op, "node": r.node, "reason": r.text} for r in lossy],
        "proof": proof_facts(proof) if proof and proof.level == "equivalence" else None,
    }


def proof_facts(proof: Proof) -> dict[str, Any]:
    """How much of the cut is proved, and at which sizes."""
    return {
        "status": proof.proof,
        "compared": proof.compared,
        "limits": list(proof.limits),
        "sizes": [dict(sizes) for sizes in proof.sizes],
    }
