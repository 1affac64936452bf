"""The stage that tunes: the original teaches the small model by gradients, no labels needed.

The work itself is that of `spa.torch.tuning`; here inputs are chosen, a person may stop it, and
what came of it is held against onnxruntime.
"""

from __future__ import annotations

import hashlib
import signal
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from onnx import ModelProto

from spa import runtime
from spa._version import __version__
from spa.allowed import budget
from spa.errors import UsageError, VerifyError
from spa.pipeline.context import Context
from spa.pipeline.inputs import feeds_from, probe_of
from spa.pipeline.invert import improved, installed
from spa.pipeline.tune_rows import BATCH, LEAST_HELD, Feeds, Source, source_of
from spa.pipeline.values import Groups, Settled, Tuned
from spa.probes import Probe
from spa.recipe import Recipe
from spa.reports.schema import TuneFacts
from spa.storage import cache_folder
from spa.validate.runs import session_of

if TYPE_CHECKING:
    from spa.torch import OnnxModule
    from spa.torch.tuning import Outcome, Store

Resume = bool | Literal["if-kept"]
"""Whether to go on from a checkpoint: that there must be, or where there happens to be one."""

ROOM = 1 << 30
"""Bytes that the original's values may take, where the recipe sets no limit."""
STEP, COPIES = 2 << 30, 3
"""Bytes that a step may hold where the recipe sets no limit, and how often it holds each value."""
LATE = 1.5
"""Times the seconds of a limit, after which a run that was thought to fit into them ends."""
CLOSE, CLOSE_HALF = 1e-3, 3e-2
"""How far the module's outputs may be from onnxruntime's, over their largest value."""


@dataclass(frozen=True)
class Checkpoints:
    """What is done about those of one tuning.

    Attributes:
        resume: whether to go on from one.
        ended: takes its path; it then stays where the tuning has ended, too, for a run of which
            that is a part only.
    """

    resume: Resume = False
    ended: list[Path] | None = None

    def place(self, key: str) -> Path | None:
        """Where the checkpoint of the tuning of this key lies; None where nothing is kept."""
        folder = _kept()
        if folder is None:
            return None
        if self.ended is not None:
            self.ended.append(folder / f"{key}.pt")
        return folder / f"{key}.pt"

    def store(self, key: str) -> Store:
        """Where that of one tuning lies."""
        from spa.torch.tuning import Store

        again, lasting = self.resume, self.ended is not None
        return Store(self.place(key), resume=bool(again), needed=again is True, lasting=lasting)

    def forget(self) -> None:
        """What was kept of tunings that have ended is not needed any longer."""
        for path in self.ended or ():
            path.unlink(missing_ok=True)


@dataclass(frozen=True)
class Limit:
    """So many `steps`, and fewer where `seconds` are not enough for them on this machine."""

    steps: int
    seconds: float


def check_tuning(recipe: Recipe, *, resume: Resume = False) -> None:
    """Say at once where what the recipe asks for is not installed, or was not begun.

    Raises:
        UsageError: it asks for tuning, and there is no PyTorch; or something is to be resumed, and
            no tuning is asked for, or none was interrupted.
    """
    if recipe.tunes or (resume is True and recipe.tune == "auto" and installed()):
        import spa.torch

        _ = spa.torch.load
    elif resume is True:
        raise UsageError(
            "only tuning can be resumed, and none is asked for; add --tune TIME as in the run that "
            "was interrupted, or leave out --resume"
        )
    if resume is True:
        from spa.torch.tuning import check_any

        check_any(_kept())


def _kept() -> Path | None:
    """The folder of checkpoints; None where nothing is kept."""
    folder = cache_folder()
    return folder and folder / "tune"


def tune_stage(
    original: Groups,
    small: tuple[Any, Path | None],
    settled: Settled,
    context: Context,
    kept: Checkpoints,
    limit: Limit | None = None,
) -> ModelProto | None:
    """Tune a model that stands beside its original.

    Args:
        original: the analysed original.
        small: the pruned model, and the folder of its external data where it is no path.
        settled: with the recipe; `recipe.tune` says how long.
        context: of the run.
        kept: what is done about checkpoints.
        limit: takes the place of `recipe.tune`, where nobody asked.

    Returns:
        The model with the best weights; None where none were better than those that came in.

    Raises:
        UsageError: PyTorch is not installed, there are no inputs to judge on (100 where nobody
            asked), or there is no checkpoint of just this run.
    """
    import spa.torch

    recipe, graph = settled.recipe, original.graph
    load = spa.torch.load  # says in a sentence where torch is missing
    probe = settled.probe or probe_of(original, recipe, context)
    moved = _moved(probe, original, settled, context)
    with context.stage("tune"):
        began = time.perf_counter()
        source = source_of(probe, original, recipe, moved, recipe.labels)
        if source.held.rows < LEAST_HELD:
            words = (
                f"tuning is judged on {source.held.rows} inputs only; give {LEAST_HELD * 5} or "
                "more to know which weights are better"
            )
            if limit is not None:
                raise UsageError(words)
            context.warn(words)
        dense = load(graph.proto, base_dir=graph.source.base_dir)
        module = load(small[0], base_dir=small[1])
        given = _Given(source, settled, limit, min(BATCH, max(1, rows_at_once(original, recipe))))
        outcome, device = _worked(dense, module, probe, given, kept, context)
        facts = _facts(outcome, given, device, time.perf_counter() - began)
        context.reach(Tuned(facts))
        _told(facts, limit, context)
        if not outcome.kept:
            return None
        from spa.torch.writer import model_of

        model = model_of(module)
        base = graph.source.base_dir if small[1] is None else small[1]
        agree(module, model, base, source.held.runs[0])
    return model


def _moved(
    probe: Probe, original: Groups, settled: Settled, context: Context
) -> Sequence[Mapping[str, Any]]:
    """Inputs that were moved until they fit what the file tells; none where others are as good."""
    recipe = settled.recipe
    if recipe.calib is not None or recipe.invert == "off":
        return ()
    if settled.feeds:  # else settling has turned it off
        return settled.feeds
    feeds = feeds_from(probe, original.graph, recipe, context)
    better = improved(feeds, probe, original, recipe, context)
    return () if better is feeds else better


def rows_at_once(original: Groups, recipe: Recipe) -> int:
    """Rows whose values there is room for while gradients are computed; 0 where one is too many."""
    from spa.torch.workload import price_of

    room = STEP if recipe.memory is None else recipe.memory // 4
    return room // max(1, COPIES * price_of(original.graph, 0.0).bytes)


@dataclass(frozen=True)
class _Given:
    """Inputs, the settled recipe, the budget where that is not the recipe's, and rows of a pass."""

    source: Source
    settled: Settled
    limit: Limit | None
    at_once: int

    @property
    def budget(self) -> tuple[float | None, int | None]:
        """Seconds and steps; where both are told, the fewer."""
        if self.limit is not None:
            return self.limit.seconds, self.limit.steps
        return budget(self.settled.recipe.tune)


def _worked(
    dense: OnnxModule,
    module: OnnxModule,
    probe: Probe,
    given: _Given,
    kept: Checkpoints,
    context: Context,
) -> tuple[Outcome, str]:
    """What `spa.torch.tuning` makes of it, and on which device."""
    from spa.torch.tuning import (
        Budget,
        Setting,
        digest_of_model,
        digest_of_rows,
        pools_of,
        run,
    )
    from spa.torch.values import device_of

    recipe, source = given.settled.recipe, given.source
    axes = {stream.name: stream.axis for stream in probe.streams}
    whole = probe.rows is not None
    fit, held = (
        pools_of(part.runs, axes, whole=whole, labels=part.labels)
        for part in (source.fit, source.held)
    )
    seconds, steps = given.budget
    device = device_of(recipe.device)
    words = (
        __version__,
        digest_of_model(dense),
        digest_of_model(module),
        digest_of_rows((*fit, *held)),
        f"{recipe.seed} {seconds} {steps} {device.type}",
    )
    key = hashlib.sha256("\n".join(words).encode()).hexdigest()[:32]
    store = kept.store(key)
    room = ROOM if recipe.memory is None else recipe.memory // 8
    dense.to(device), module.to(device)
    latest = time.perf_counter() + LATE * seconds if seconds and steps else np.inf
    with stoppable() as stopped:
        setting = Setting(
            Budget(seconds, steps),
            BATCH,
            given.at_once,
            recipe.seed,
            room,
            context.counted,
            lambda: stopped() or time.perf_counter() > latest,
        )
        outcome = run(dense, module, fit, held, setting, store)
        if outcome.stopped == "interrupted" and not stopped():
            outcome = replace(outcome, stopped="time", resumable=False)
            store.forget()
    module.to("cpu")
    return outcome, device.type


def _facts(outcome: Outcome, given: _Given, device: str, seconds: float) -> TuneFacts:
    source, recipe = given.source, given.settled.recipe
    return {
        "seconds": seconds,
        "steps": outcome.steps,
        "planned": outcome.planned,
        "rate": outcome.rate,
        "rates": {rate: _root(score.drift) for rate, score in outcome.tried.items()},
        "seed": recipe.seed,
        "batch": BATCH,
        "device": device,
        "inputs": source.kind,
        "rows": source.fit.rows // source.views,
        "views": source.views,
        "held_rows": source.held.rows,
        "before": _root(outcome.before.drift),
        "after": _root(outcome.after.drift),
        "features": list(outcome.matched.features),
        "stopped": outcome.stopped,
        "kept": outcome.kept,
        "resumable": outcome.resumable,
        "asked": given.limit is None,
    }


def _root(error: float) -> float | None:
    return float(np.sqrt(error)) if np.isfinite(error) else None


def _told(facts: TuneFacts, limit: Limit | None, context: Context) -> None:
    """Say what a person should know of how it went."""
    if limit is not None and facts["steps"] < limit.steps and facts["stopped"] in ("end", "time"):
        context.warn(
            f"{limit.seconds:.0f} s were enough for {facts['steps']} of {limit.steps} steps of "
            f"tuning here; --tune={limit.steps}steps takes them all, on any machine"
        )
    if facts["stopped"] == "interrupted" and facts["steps"]:
        context.warn(
            f"tuning was interrupted at step {facts['steps']} of {facts['planned']}; the best "
            "weights so far are delivered"
        )
    elif facts["stopped"] == "lost":
        context.warn("tuning was ended early, as the error grew; the best weights are delivered")
    if not facts["kept"]:
        (context.warn if facts["asked"] else context.note)(
            f"tuning did not bring the outputs nearer to the original's on {facts['held_rows']} "
            "held-back inputs, so that all weights stay as they came in"
        )


def agree(module: OnnxModule, model: ModelProto, base_dir: Path | None, feeds: Feeds) -> None:
    """Hold what the module computes against what onnxruntime does with its file.

    Raises:
        VerifyError: they differ by more than rounding.
    """
    session, unknown = session_of(model, device="cpu", base_dir=base_dir)
    if unknown:
        return
    from spa.torch.tuning import outputs_of

    want: Mapping[str, Any] = runtime.run(session, feeds)
    for name, own in outputs_of(module, feeds).items():
        known = want.get(name)
        if not isinstance(known, np.ndarray):
            continue
        most = CLOSE_HALF if known.dtype.itemsize < 4 else CLOSE
        known = known.astype(np.float64)
        largest = float(np.abs(known[np.isfinite(known)]).max(initial=0.0))
        same = np.isclose(own, known, rtol=0, atol=most * largest + 1e-6, equal_nan=True)
        if own.shape != known.shape or not same.all():
            raise VerifyError(
                f"output '{name}' of the tuned model is not the same in onnxruntime and in "
                "PyTorch; nothing was written, please report this model"
            )


@contextmanager
def stoppable() -> Iterator[Callable[[], bool]]:
    """What tells whether Ctrl-C was pressed in the body; a second one interrupts as ever."""
    asked = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield asked.is_set
        return

    def heard(number: int, frame: FrameType | None) -> None:
        if asked.is_set():
            raise KeyboardInterrupt
        asked.set()

    before = signal.getsignal(signal.SIGINT)
    if before is signal.SIG_IGN:
        yield asked.is_set
        return
    signal.signal(signal.SIGINT, heard)
    try:
        yield asked.is_set
    finally:
        signal.signal(signal.SIGINT, before)
