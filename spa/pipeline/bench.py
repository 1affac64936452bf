"""`bench`: latency and memory of models that exist already, side by side."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from onnx import ModelProto

from spa import runtime
from spa.coupling import analyse
from spa.coupling.cost import Cost
from spa.errors import UsageError
from spa.events import Callback, Step, quiet
from spa.graph import Graph, read
from spa.latency import clock_for
from spa.pipeline.context import Context
from spa.pipeline.machine import peak_memory
from spa.pipeline.report import reporting
from spa.pipeline.result import Result
from spa.recipe import Recipe
from spa.validate import Timing, side_by_side
from spa.validate.inputs import feeds_at


def bench(
    models: Sequence[Any],
    recipe: Recipe,
    callback: Callback = quiet,
    *,
    runs: int | None = None,
    warmup: int = 5,
    threads: int | None = None,
) -> Result:
    """Latency and memory of several models, interleaved in one run; the first is the measure.

    Raises ReadError if one cannot be read or run, UsageError if there is none.
    """
    context = Context("bench", callback)
    rows, sessions, feeds = [], [], []
    with reporting(context), context.stage("bench", total=len(models)):
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
            callback(Step("bench"))
        for session, feed in zip(sessions, feeds, strict=True):
            runtime.run(session, feed)
        clock = clock_for(recipe.device, threads or 0)
        timing = side_by_side(sessions, feeds, runs=runs, warmup=warmup, clock=clock)
    for k, row in enumerate(rows):
        row |= _timed(timing, k)
    return Result(
        {
            "provider": sessions[0].get_providers()[0],
            "threads": threads,
            "runs": len(timing.millis),
            "warmup": warmup,
            "models": rows,
        }
    )


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
