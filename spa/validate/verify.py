"""Verify a pruned model against its original, by running both.

It loads, its outputs have the same shapes, it computes what the plan says at more than one batch
size, and it drifts so far.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from onnx import ModelProto, NodeProto

from spa import runtime
from spa.coupling.model import Coupling
from spa.errors import ReadError, VerifyError
from spa.graph.model import FLOW
from spa.trace.check import Survivors, planes_at
from spa.trace.collect import Reason
from spa.validate.drift import Drift, drift, relative_error
from spa.validate.inputs import feeds_at, other_batch
from spa.validate.mask import masked
from spa.validate.twin import sizes_wanted, twin, unquantised, unsaturated

TOLERANCE = {"float64": 1e-6, "float32": 1e-4, "float16": 5e-2, "bfloat16": 2e-1}
"""Largest difference to the masked original, over the largest output; in float32 3e-6 is usual."""
NOISE, LOOSEST = 10, 1e-2
"""Where that is exceeded: so many times the difference that onnxruntime's optimizer alone makes to
the masked original (8e-5 in a deep recogniser), but never more than this."""


@dataclass(frozen=True)
class Verdict:
    """What verification saw.

    `equivalence` is the largest difference to the masked original over the largest entry of an
    output (None where not asked for); where `lossy` ops make equality impossible, both models are
    compared without their statistics (see `spa.validate.twin`).
    """

    level: str
    drift: Drift
    equivalence: float | None
    lossy: tuple[Reason, ...]


def verify(
    coupling: Coupling,
    alive: NDArray[np.bool_],
    small: ModelProto,
    *,
    level: str = "equivalence",
    seed: int = 0,
    device: Any = "cpu",
    cut_only: bool = True,
    base_dir: Any = None,
    advice: str = "nothing was written, please report this model",
) -> Verdict:
    """Run both models.

    Args:
        coupling: the analysed original.
        alive: what is kept, bool `[labels]` by unit.
        small: the pruned model.
        level: `run` or `equivalence`.
        seed: of the random inputs.
        device: where to run.
        cut_only: whether the weights are those of the original; repaired weights are not expected
            to equal the masked original.
        base_dir: the folder of external data of `small`; by default that of the original.
        advice: what to do where the two do not agree.

    Raises:
        VerifyError: it does not load, shapes differ, or it does not compute what the plan says.
    """
    graph = coupling.graph
    base = graph.source.base_dir
    bases = base, base if base_dir is None else base_dir
    lossy = lossy_at(coupling, alive)
    exact = level == "equivalence" and cut_only
    errors: list[float] = []
    found: Drift | None = None
    for batch, optimize in ((None, False), (other_batch(graph), True)):
        if batch is None and found is not None:
            continue
        feeds = feeds_at(graph, seed, batch)
        try:
            before = _outputs(graph.proto, feeds, optimize, device, bases[0])
        except ReadError:
            if found is None:
                raise
            continue  # the original itself refuses this batch size
        after = _pruned(small, feeds, optimize, device, bases[1])
        _same_shapes(before, after, advice)
        found = found or drift(before, after)
        if exact:
            models = _comparable(coupling, alive, small, lossy)
            error = _difference(models, bases, feeds, optimize, device)
            if error is not None and error > tolerance(graph):
                models = tuple(m and unsaturated(m) for m in models)
                error = _difference(models, bases, feeds, optimize, device)
            if error is not None and error > tolerance(graph) and lossy:
                usual = _usual(coupling, alive, lossy, feeds, device)
                models = _comparable(coupling, alive, small, lossy, usual)
                error = _difference(models, bases, feeds, optimize, device)
            if error is not None and error > tolerance(graph):
                noise = _noise(models[0], bases[0], feeds, device)
                _close(graph, error, noise, batch, advice)
            if error is not None:
                errors.append(error)
    assert found is not None
    return Verdict(level, found, max(errors) if errors else None, lossy)


def _comparable(
    coupling: Coupling,
    alive: NDArray[np.bool_],
    small: ModelProto,
    lossy: tuple[Reason, ...],
    usual: dict[str, np.ndarray] | None = None,
) -> tuple[ModelProto | None, ...]:
    """The masked original and the pruned model, both without lossy ops; None where these stay.

    Quantisers go too: a difference of 1e-7 before one may be a whole step behind it.
    """
    models = masked(coupling, alive), small
    if is_quantised(coupling.graph):
        models = unquantised(models[0]), unquantised(models[1])
    if not lossy:
        return models
    called = names_of(coupling.graph)
    names = {reason.node for reason in lossy}

    def name_of(node: NodeProto) -> str:
        return called.get((node.op_type, node.output[0]), "")

    return tuple(twin(m, names, name_of, usual) for m in models)


def _usual(
    coupling: Coupling,
    alive: NDArray[np.bool_],
    lossy: tuple[Reason, ...],
    feeds: Any,
    device: Any,
) -> dict[str, np.ndarray]:
    """The size (root of the mean square) of what goes into lossy ops in the masked original."""
    called = names_of(coupling.graph)
    names = {reason.node for reason in lossy}
    whole = masked(coupling, alive)
    model = sizes_wanted(whole, names, lambda n: called.get((n.op_type, n.output[0]), ""))
    found = _outputs(model, feeds, False, device, coupling.graph.source.base_dir)
    extra = [o.name for o in model.graph.output[len(whole.graph.output) :]]
    sizes = {
        name: np.sqrt(np.mean(np.square(found[name], dtype=np.float64))).astype(found[name].dtype)
        for name in extra
    }
    return {name: size for name, size in sizes.items() if np.isfinite(size) and size > 0}


def _difference(
    models: tuple[ModelProto | None, ...],
    bases: tuple[Any, ...],
    feeds: Any,
    optimize: bool,
    device: Any,
) -> float | None:
    """How far the outputs of the two lie apart; None where that cannot be said."""
    outputs = [
        _outputs(m, feeds, optimize, device, base)
        for m, base in zip(models, bases, strict=True)
        if m is not None
    ]
    if len(outputs) < 2 or not all(_finite(v) for v in outputs[0].values()):
        return None
    return relative_error(*outputs)


def names_of(graph: Any) -> dict[tuple[str, str], str]:
    """Node names by op and first output, also for the masked model, which renames some outputs."""
    found: dict[tuple[str, str], str] = {}
    for node in graph.order:
        if node.domain != FLOW:
            first = node.outputs[0]
            found[node.op, first] = found[node.op, f"{first}__whole"] = node.name
    return found


def is_quantised(graph: Any) -> bool:
    """Whether activations are quantised, so that onnxruntime may fuse them into integer kernels."""
    return any(node.op == "QuantizeLinear" and not node.domain for node in graph.order)


def _finite(value: Any) -> bool:
    floats = isinstance(value, np.ndarray) and value.dtype.kind == "f"
    return not floats or bool(np.isfinite(value).all())


def lossy_at(coupling: Coupling, alive: NDArray[np.bool_]) -> tuple[Reason, ...]:
    """The nodes that take statistics over channels of which some are gone."""
    left = Survivors(coupling.notes, coupling.root, alive)
    nodes = {n.name: n for n in coupling.graph.order}
    return tuple(
        reason
        for reason in dict.fromkeys(coupling.notes.losses)
        if any(left.touched(p) for p in planes_at(coupling.notes, nodes[reason.node]))
    )


def _outputs(
    model: ModelProto, feeds: Any, optimize: bool, device: Any, base: Any
) -> dict[str, Any]:
    loaded = runtime.session(model, optimize=optimize, device=device, base_dir=base)
    return runtime.run(loaded, feeds)


def _pruned(
    model: ModelProto, feeds: Any, optimize: bool, device: Any, base: Any
) -> dict[str, Any]:
    try:
        return _outputs(model, feeds, optimize, device, base)
    except ReadError as error:
        raise VerifyError(f"the pruned model does not run, nothing was written: {error}") from error


def _same_shapes(before: dict[str, Any], after: dict[str, Any], advice: str) -> None:
    for name, a in before.items():
        b = after.get(name)
        if isinstance(a, np.ndarray) and (not isinstance(b, np.ndarray) or a.shape != b.shape):
            shape = b.shape if isinstance(b, np.ndarray) else "missing"
            raise VerifyError(
                f"output {name} of the pruned model has shape {shape} where the original has "
                f"{a.shape}; {advice}"
            )


def tolerance(graph: Any) -> float:
    """The largest difference that rounding explains, by the coarsest type in the graph."""
    kinds = [np.dtype(graph.dtypes[n]).name for n in graph.outputs if n in graph.dtypes]
    kinds += [np.dtype(graph.dtypes[n]).name for n in graph.consts if n in graph.dtypes]
    return max((TOLERANCE.get(k, 0.0) for k in kinds), default=0.0) or TOLERANCE["float32"]


def _noise(model: ModelProto | None, base: Any, feeds: Any, device: Any) -> float:
    """What onnxruntime's optimizer alone changes, as a share of the largest output."""
    assert model is not None  # it has been run already
    plain, optimized = (_outputs(model, feeds, o, device, base) for o in (False, True))
    return relative_error(plain, optimized)


def _close(graph: Any, error: float, noise: float, batch: int | None, advice: str) -> None:
    limit = max(tolerance(graph), min(NOISE * noise, LOOSEST))
    if not error <= limit:
        at = f" at batch size {batch}" if batch else ""
        raise VerifyError(
            f"the pruned model differs from the masked original by {error:.1e}{at}, more than "
            f"{limit:.0e}; {advice}"
        )
