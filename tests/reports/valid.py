"""Whether a report is what its schema says, and does not contradict itself."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import msgspec

from spa.reports.schema import Report


def validate(report: Mapping[str, Any]) -> list[str]:
    """Return what is wrong with a report, one sentence each; nothing when it is right."""
    try:
        known = msgspec.convert(dict(report), Report)
    except msgspec.ValidationError as error:
        return [f"the report is wrong: {error}"]
    return [*_unknown(report, known, "report"), *_contradictions(known)]


def _unknown(value: object, known: object, where: str) -> Iterator[str]:
    """What the types do not name: `known` is all that they do."""
    if isinstance(value, Mapping) and isinstance(known, Mapping):
        for key, each in value.items():
            if key in known:
                yield from _unknown(each, known[key], f"{where}.{key}")
            else:
                yield f"{where} has the unknown key {key!r}"
    elif isinstance(value, list) and isinstance(known, list):
        for k, (each, its) in enumerate(zip(value, known, strict=True)):
            yield from _unknown(each, its, f"{where}[{k}]")


def _contradictions(report: Report) -> Iterator[str]:
    success = report["exit_code"] == 0
    if success != (report["status"] in ("ok", "dry-run")):
        yield "report.status and report.exit_code disagree"
    if success == bool(report["error"]):
        yield "report.error must be there exactly when exit_code is not 0"
    for key, share in (report["reduction"] or {}).items():
        if isinstance(share, float) and share > 1:
            yield f"report.reduction.{key} is a share and cannot be {share}"
    if len({group["id"] for group in report["groups"]}) < len(report["groups"]):
        yield "report.groups has an id twice"
    for group in report["groups"]:
        before, after = group["channels_before"], group["channels_after"]
        if not 0 <= after <= before:
            yield f"group {group['name']!r} goes from {before} to {after} channels"
        elif group["frozen"] and after < before:
            yield f"group {group['name']!r} is frozen and yet loses channels"
        elif group["frozen"] and not group["reason"]:
            yield f"group {group['name']!r} is frozen without a reason"
