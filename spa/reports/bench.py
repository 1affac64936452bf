"""Latency and memory of models measured side by side."""

from __future__ import annotations

from typing import TypedDict

from rich.console import Group, RenderableType

from spa.reports import wording
from spa.reports.screen import filled, line, table, text


class _Measured(TypedDict):
    path: str
    median_ms: float | None


class Measured(_Measured, total=False):
    """One model; `speedup` is against the first model of the run, from `low` to `high` at 95 %."""

    p90_ms: float | None
    min_ms: float | None
    load_ms: float | None
    peak_rss_bytes: int | None
    bytes: int | None
    params: int | None
    macs: int | None
    speedup: float | None
    low: float | None
    high: float | None
    error: str | None


class Bench(TypedDict):
    """What `spa bench` measured."""

    provider: str
    threads: int | None
    runs: int
    warmup: int
    models: list[Measured]


def screen(bench: Bench) -> RenderableType:
    """Show one row per model; the first is what the others are compared with."""
    made = table("Model", "Median", "P90", "Load", "Memory", "File size", "Against the first")
    models = bench["models"]
    shown = filled(made, [_row(m, models[0], first=m is models[0]) for m in models])
    threads = wording.plural(bench["threads"], "thread") if bench["threads"] else "default threads"
    how = f"{bench['provider']}, {threads}, {wording.plural(bench['runs'], 'run')}"
    failed = [line("Failed", f"{m['path']}: {m['error']}", "bad") for m in models if m.get("error")]
    return Group(shown, *failed, text(f"{how} after at least {bench['warmup']} to warm up", "dim"))


def _row(model: Measured, base: Measured, *, first: bool) -> tuple[object, ...]:
    speed = _speedup(model, base)
    ends = model.get("low"), model.get("high")
    even = first or speed is None or wording.alike(*ends)
    tone = "plain" if even or speed is None else "good" if speed > 1.005 else "bad"
    return (
        wording.printable(model["path"]),
        wording.milliseconds(model["median_ms"]),
        wording.milliseconds(model.get("p90_ms")),
        wording.milliseconds(model.get("load_ms")),
        wording.size(model.get("peak_rss_bytes")),
        wording.size(model.get("bytes")),
        text(wording.NOTHING if first else wording.factor(speed, *ends), tone),
    )


def _speedup(model: Measured, base: Measured) -> float | None:
    if model.get("speedup") is not None:
        return model["speedup"]
    before, after = base["median_ms"], model["median_ms"]
    return before / after if before and after else None
