"""Latency and memory of models measured side by side."""

from __future__ import annotations

from typing import TypedDict

from rich.console import Group, RenderableType

from spa.reports import facts, wording
from spa.reports.screen import line, shown, text
from spa.reports.wording import Table


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
    models = bench["models"]
    threads = wording.plural(bench["threads"], "thread") if bench["threads"] else "default threads"
    how = f"{bench['provider']}, {threads}, {wording.plural(bench['runs'], 'run')}"
    failed = [line("Failed", f"{m['path']}: {m['error']}", "bad") for m in models if m.get("error")]
    words = f"{how} after at least {bench['warmup']} to warm up"
    return Group(shown(compared(bench)), *failed, text(words, "dim"))


def compared(bench: Bench) -> Table:
    """One row per model; the first is what the others are compared with."""
    models = bench["models"]
    heads = ("Model", "Median", "P90", "Load", "Memory", "File size", "Against the first")
    return Table(heads, [_row(model, models[0]) for model in models])


def _row(model: Measured, first: Measured) -> tuple[str, ...]:
    times = (model["median_ms"], model.get("p90_ms"), model.get("load_ms"))
    sizes = (model.get("peak_rss_bytes"), model.get("bytes"))
    factor = model.get("speedup")
    if factor is None and first["median_ms"] and model["median_ms"]:
        factor = first["median_ms"] / model["median_ms"]
    speed = facts.speed(factor, model.get("low"), model.get("high"))
    return (
        model["path"],
        *map(wording.milliseconds, times),
        *map(wording.size, sizes),
        wording.NOTHING if model is first else speed,
    )
