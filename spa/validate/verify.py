"""Verify a pruned model against its original, by running both.

It loads, its outputs have the same shapes, it computes what the plan says at the sizes of the
analysis and at others of every symbol, and it drifts so far.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from onnx import ModelProto

from spa.coupling.model import Coupling, KeptUnits
from spa.coupling.rows import batch_symbols
from spa.devices import Device
from spa.errors import ReadError, VerifyError
from spa.events import Advance, unheard
from spa.trace import Reason
from spa.validate.drift import Drift, drift
from spa.validate.gap import Gap
from spa.validate.lengths import check_shapes
from spa.validate.original import Original
from spa.validate.proof import Proof, has_quantizers, lossy_at
from spa.validate.runs import Arrays, Runner
from spa.validate.sizes import Sizes, each_other, is_heavy

Proved = Literal["complete", "partial", "none"]


@dataclass(frozen=True)
class Verdict:
    """What verification saw.

    `equivalence` is the largest difference to the masked original over the largest entry of an
    output (None where not asked for); where `lossy` ops make equality impossible, both models are
    compared without their statistics (`spa.validate.neutral`).  `sizes` are those of the symbols
    at which both models were run, the ones of the analysis first.  `compared` numbers were compared
    with the masked original; `limits` says in sentences what was not.
    """

    level: str
    drift: Drift
    equivalence: float | None
    lossy: tuple[Reason, ...]
    sizes: tuple[Sizes, ...] = ()
    compared: int = 0
    limits: tuple[str, ...] = ()

    @property
    def proof(self) -> Proved:
        """How much of the cut is proved."""
        if self.equivalence is None:
            return "none"
        return "partial" if self.limits else "complete"


def verify(
    coupling: Coupling,
    kept: KeptUnits,
    small: ModelProto,
    *,
    level: str = "equivalence",
    seed: int = 0,
    device: Device = "cpu",
    cut_only: bool = True,
    base_dir: Path | None = None,
    advice: str = "nothing was written, please report this model",
    ran: Advance = unheard,
    original: Original | None = None,
) -> Verdict:
    """Run both models on random inputs.

    `kept` is what is kept in `small`, bool `[labels]` by unit.  `level` is `run` or `equivalence`;
    where weights are not those of the original (`cut_only` False), they are not expected to equal
    the masked original.  `base_dir` is the folder of external data of `small`, by default that of
    the original.  `ran` hears of every run of a model, of which `runs_of` are expected.  `original`
    is the original, where it has been run before, with a seed and a device of its own.

    Raises:
        VerifyError: it does not load, shapes differ, or it does not compute what the plan says.
    """
    graph = coupling.graph
    base = graph.source.base_dir
    whole = original or Original(graph, seed, device, ran)
    pruned = Runner(small, base if base_dir is None else base_dir, device, ran)
    lossy = lossy_at(coupling, kept)
    exact = level == "equivalence" and cut_only
    proof = Proof(coupling, kept, whole, pruned) if exact else None
    total = Gap()

    def run(feeds: Arrays, optimize: bool, where: str) -> tuple[dict[str, Any], dict[str, Any]]:
        nonlocal total
        before = whole(feeds, optimize)
        after = _pruned(pruned, feeds, optimize)
        check_shapes(graph, before, after, advice)
        if proof is not None:
            total += proof.at(feeds, optimize, where, advice)
        return before, after

    def accepted(sizes: Sizes) -> bool:
        feeds = whole.feeds(sizes)
        try:
            whole(feeds, True)
        except ReadError:
            return False  # the original itself refuses these sizes
        run(feeds, True, f" at {told(sizes, graph.dims)}")
        return True

    found = drift(*run(whole.feeds(), False, ""))
    heavy = is_heavy(graph.shapes)
    others = each_other(graph.dims, accepted, batch_symbols(graph), nearest=heavy)
    sizes = (dict(graph.dims), *others)
    limits = tuple(proof.limits) if proof is not None else ()
    error = total.error if total.compared else None
    return Verdict(level, found, error, lossy, sizes, total.compared, limits)


def runs_of(coupling: Coupling, level: str, known: bool = False) -> int:
    """How often models are run to verify a cut, unless something has to be looked at closely.

    `known` says whether the original has been run at all sizes before.

    Where lossy ops may have lost channels, or quantisers may be computed in integers, the pruned
    model is compared in another form, too.
    """
    other = coupling.notes.losses or has_quantizers(coupling.graph)
    more = (2 if other else 1) if level == "equivalence" else 0
    return (1 + 2 * bool(coupling.graph.dims)) * (2 + more - known)


def told(sizes: Sizes, dims: Sizes) -> str:
    """The sizes that are not those of the analysis, in words."""
    return ", ".join(f"{symbol}={size}" for symbol, size in sizes.items() if size != dims[symbol])


def _pruned(runner: Runner, feeds: Mapping[str, Any], optimize: bool) -> dict[str, Any]:
    try:
        return runner(feeds, optimize)
    except ReadError as error:
        raise VerifyError(f"the pruned model does not run, nothing was written: {error}") from error
