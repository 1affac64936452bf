"""Sections of the report, from the results of the stages."""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np
from numpy.typing import NDArray
from onnx import ModelProto, TensorProto

from spa.coupling.cost import Cost, Sizes
from spa.coupling.model import Coupling
from spa.validate import Verdict
from spa.validate.inputs import Inputs

Port = list[Any]


def ports(model: ModelProto) -> tuple[list[Port], list[Port]]:
    """Inputs (those with a default as well) and outputs as [name, dtype, shape]."""
    return [_port(v) for v in model.graph.input], [_port(v) for v in model.graph.output]


def _port(value: Any) -> Port:
    kind = value.type.tensor_type
    if not value.type.HasField("tensor_type"):
        return [value.name, value.type.WhichOneof("value") or "unknown", []]
    shape = [
        d.dim_value if d.HasField("dim_value") else (d.dim_param or None) for d in kind.shape.dim
    ]
    return [value.name, TensorProto.DataType.Name(kind.elem_type).lower(), shape]


def input_facts(coupling: Coupling, sizes: Sizes) -> dict[str, Any]:
    """The section `input`."""
    source = coupling.graph.source
    inputs, outputs = ports(coupling.graph.proto)
    return {
        "path": str(source.path) if source.path else None,
        "sha256": source.sha256,
        "bytes": source.bytes,
        "opset": source.opset,
        "producer": source.producer,
        **counts(sizes),
        "inputs": inputs,
        "outputs": outputs,
    }


def output_facts(small: ModelProto, sizes: Sizes) -> dict[str, Any]:
    """The section `output`, before anything is written."""
    inputs, outputs = ports(small)
    return {
        "path": None,
        "sha256": None,
        "bytes": None,
        **counts(sizes),
        "inputs": inputs,
        "outputs": outputs,
    }


def counts(sizes: Sizes) -> dict[str, int]:
    """Parameters, MACs and channels as whole numbers."""
    return {
        "params": round(sizes.params),
        "macs": round(sizes.macs),
        "channels": round(sizes.channels),
    }


def group_facts(
    coupling: Coupling, alive: NDArray[np.bool_] | None, cost: Cost | None = None
) -> list[dict[str, Any]]:
    """The section `groups`: every group that can be cut, with what it loses if `alive` is given."""
    whole = cost(coupling.everything()) if cost else None
    facts = []
    for group in coupling.groups:
        after = group.channels if alive is None else int(alive[group.cells].sum())
        fact: dict[str, Any] = {
            "id": group.id,
            "name": group.name,
            "channels_before": group.channels,
            "channels_after": after,
            "members": [{"tensor": m.tensor, "axis": m.axis} for m in group.members],
            "frozen": False,
            "reason": None,
        }
        if cost is not None and whole is not None:
            without = coupling.everything()
            without[group.cells] = False
            left = cost(without)
            fact["params"] = round(whole.params - left.params)
            fact["macs"] = round(whole.macs - left.macs)
        facts.append(fact)
    return facts


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


def verify_facts(verdict: Verdict | None, level: str, on: Inputs | None = None) -> dict[str, Any]:
    """The section `verify` of a run that passed; `on` is what the drift was measured on."""
    if verdict is None:
        return {
            "level": level,
            "passed": True,
            "max_abs_diff": None,
            "equivalence_error": None,
            "drift": {},
            "relative_l2": {},
            "cosine": {},
            "agreement": {},
            "unverified": {},
            "top1_agreement": None,
            "inputs": None,
            "rows": None,
            "held_back": None,
            "lossy": [],
            "proof": None,
        }
    return {
        "level": verdict.level,
        "passed": True,
        "max_abs_diff": verdict.drift.max_abs,
        "equivalence_error": verdict.equivalence,
        "drift": dict(verdict.drift.relative),
        "relative_l2": dict(verdict.drift.plain),
        "cosine": dict(verdict.drift.cosine),
        "agreement": dict(verdict.drift.agreement),
        "unverified": dict(verdict.drift.unverified),
        "top1_agreement": verdict.drift.top1,
        "inputs": on.kind if on else None,
        "rows": on.rows if on else None,
        "held_back": on.held_back if on else None,
        "lossy": [{"op": r.op, "node": r.node, "reason": r.text} for r in verdict.lossy],
        "proof": proof_facts(verdict) if verdict.level == "equivalence" else None,
    }


def proof_facts(verdict: Verdict) -> dict[str, Any]:
    """How much of the cut is proved, and at which sizes."""
    return {
        "status": verdict.proof,
        "compared": verdict.compared,
        "limits": list(verdict.limits),
        "sizes": [dict(sizes) for sizes in verdict.sizes],
    }
