"""One square: prune a tiny model by the rules, and compare with the whole one on masked inputs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from onnx import ModelProto

from spa.coupling.analyse import settle
from spa.coupling.model import Coupling
from spa.errors import ReadError
from spa.labels import Image
from spa.rewrite import rewrite
from spa.rules.explain import Labelled
from spa.runtime import session
from spa.trace import Kept, MisplacedError
from spa.trace.param import NoElementsError
from spa.validate.layout import layout_of
from spa.validate.mask import masked
from tests.corpus.cases import Layout, Variant, shape

OUTCOMES = ("ok", "lossy", "frozen", "refused", "unsupported", "DIFF")
TOLERANCE = {"float64": 1e-7, "float32": 1e-4, "float16": 1e-2, "bfloat16": 1e-1}
Arrays = Mapping[str, np.ndarray]


@dataclass(frozen=True)
class Result:
    """What came of a square, and a word on it."""

    outcome: str
    note: str = ""


class Runner:
    """Runs models in onnxruntime, or in ONNX's reference if that does not know the original."""

    def __init__(self, variant: Variant) -> None:
        self.known, self.error = True, ""
        self._reference = False
        try:
            self.run(variant.model, variant.feeds)
        except Exception:
            self._reference = True
            try:
                self.run(variant.model, variant.feeds)
            except Exception as error:
                self.known = False
                self.error = str(error)

    def run(self, model: ModelProto, feeds: Arrays) -> list[Any]:
        """The outputs of the model."""
        if self._reference:
            from onnx.reference import ReferenceEvaluator

            with np.errstate(all="ignore"):
                return ReferenceEvaluator(model).run(None, dict(feeds))
        copies = {name: array.copy() for name, array in feeds.items()}  # it may write into them
        return session(model, optimize=False, threads=1, device="cpu").run(None, copies)


def choose(coupling: Coupling, rng: np.random.Generator, whole: bool) -> np.ndarray:
    """A random balanced choice, bool `[labels]`: the same number in every cell, or whole cells."""
    alive = coupling.everything()
    if whole:
        several = [g.cells for g in coupling.groups if len(g.cells) > 1]
        cells = several[rng.integers(len(several))]
        alive[rng.permutation(cells)[: rng.integers(1, len(cells))]] = False
        spread(coupling, alive)
        if alive[0]:
            return alive
        alive[:] = True  # these cells hold on to channels that cannot go
    for group in coupling.groups:
        drop = rng.integers(1, group.cells.shape[1])
        alive[rng.permuted(group.cells, axis=1)[:, :drop]] = False
    return alive


def spread(coupling: Coupling, alive: np.ndarray) -> None:
    """Where all of one side of a cell is dead, so are the others: kill them, too."""
    count = -1
    while count != alive.sum():
        count = alive.sum()
        for sides, _ in coupling.notes.sides:
            rows = [coupling.root[side] for side in sides]
            dead = np.any([~alive[row].any(1) for row in rows], axis=0)
            for row in rows:
                alive[row[dead]] = False


def square(
    graph: Any, variant: Variant, layouts: Mapping[str, Layout], seed: int, runner: Runner
) -> Result:
    """Label, couple, cut and compare; errors inside a rule come through."""
    try:
        notes = Labelled(graph, strict=True).start(layouts)
    except NoElementsError as error:
        return Result("frozen", str(error))
    coupling = settle(notes)
    if not coupling.groups:
        return Result("frozen", frozen_because(coupling))
    rng = np.random.default_rng(seed)
    whole = bool(seed % 2) and any(len(g.cells) > 1 for g in coupling.groups)
    alive = choose(coupling, rng, whole)
    left = Kept(notes, coupling.root, alive)
    try:
        small = rewrite(coupling, alive)
    except MisplacedError as error:
        return Result("refused", str(error))
    if not runner.known:
        return Result("unsupported", runner.error)
    big = masked(coupling, alive)
    for info in small.graph.input:
        shape(info, left.image(notes.images[info.name]).shape)
    for model in (small, big):
        for info in model.graph.output:
            shape(info, None)
    images = {n: notes.images[n] for n in variant.feeds if n in notes.images}
    inside = {n: layout_of(x, left).at(x.shape) for n, x in images.items()}
    zeros = zero_points(graph, variant.feeds)
    held = {n: hold(a, inside.get(n), zeros.get(n)) for n, a in variant.feeds.items()}
    try:
        want = runner.run(big, held)
    except Exception as error:  # e.g. a division of integers by the zeros of the mask
        return Result("unsupported", str(error))
    try:
        got = runner.run(small, {n: select(a, notes.images.get(n), left) for n, a in held.items()})
    except ReadError as error:
        return Result("DIFF", f"the small model does not load: {error.__cause__}")
    except Exception as error:
        return Result("DIFF", f"the small model does not run: {error}")
    for name, a, b in zip(graph.outputs, got, want, strict=True):
        if name not in notes.images:
            continue
        if np.shape(b) != notes.images[name].shape:
            return Result("unsupported", "a shape depends on data")
        exact, kind = not notes.losses, graph.dtypes.get(name)
        note = differ(decode(a, kind), decode(select(b, notes.images[name], left), kind), exact)
        if note:
            return Result("DIFF", f"{name}: {note}")
    return Result("lossy" if notes.losses else "ok", "; ".join({r.text for r in notes.losses}))


def frozen_because(coupling: Coupling) -> str:
    """The reasons why everything is frozen."""
    used = {coupling.roots.reasons[k].text for k in np.unique(coupling.roots.why[1:]) if k >= 0}
    return "; ".join(sorted(used))


ZEROS = {
    "QLinearConv": {0: 2, 3: 5},
    "QLinearMatMul": {0: 2, 3: 5},
    "QLinearAdd": {0: 2, 3: 5},
    "QLinearMul": {0: 2, 3: 5},
    "QGemm": {0: 2, 3: 5},
    "ConvInteger": {0: 2, 1: 3},
    "MatMulInteger": {0: 2, 1: 3},
    "MatMulIntegerToFloat": {0: 4, 1: 5},
    "DynamicQuantizeMatMul": {1: 3},
    "QLinearLeakyRelu": {0: 2},
    "QLinearSigmoid": {0: 2},
    "QLinearAveragePool": {0: 2},
    "QLinearGlobalAveragePool": {0: 2},
    "QLinearConcat": {2: 4, 5: 7},
    "QLinearWhere": {1: 3, 4: 6},
    "QLinearSoftmax": {0: 2},
}
"""Which input is the zero point of another."""


def zero_points(graph: Any, feeds: Arrays) -> dict[str, np.ndarray]:
    """What zero is in the integers of an input."""
    known = {**graph.consts, **feeds}
    return {
        node.inputs[i]: known[node.inputs[z]]
        for node in graph.nodes
        for i, z in ZEROS.get(node.op, {}).items()
        if z < len(node.inputs) and fits(known.get(node.inputs[z]), known.get(node.inputs[i]))
    }


def fits(zero: np.ndarray | None, array: np.ndarray | None) -> bool:
    """Whether there is one zero point, or one per column."""
    return (
        zero is not None
        and array is not None
        and (zero.size == 1 or zero.shape == array.shape[-1:])
    )


def hold(array: np.ndarray, mask: np.ndarray | None, zero: np.ndarray | None = None) -> np.ndarray:
    """Zero where the mask is false."""
    if mask is None or mask.all():
        return array
    return np.where(mask, array, np.zeros((), array.dtype) if zero is None else zero).astype(
        array.dtype
    )


def select(array: Any, image: Image | None, left: Kept) -> Any:
    """The living elements, as a box."""
    if image is None or not isinstance(array, np.ndarray):
        return array
    mask = layout_of(image, left).at(array.shape)
    return array[mask].reshape(left.image(image).shape)


def decode(array: Any, kind: Any) -> Any:
    """Small floats, which onnxruntime hands out as bytes."""
    small = isinstance(array, np.ndarray) and array.dtype == np.uint8 and kind is not None
    return array.view(kind) if small and np.dtype(kind).name.startswith("float8") else array


def differ(got: Any, want: Any, exact: bool) -> str:
    """How two outputs differ; nothing if they agree."""
    if not isinstance(got, np.ndarray):
        return ""
    if got.shape != want.shape:
        return f"shape {got.shape} instead of {want.shape}"
    if not exact:
        return ""
    if got.dtype == object or got.dtype.kind in "USb":
        return "" if np.array_equal(got, want) else "not equal"
    tolerance = TOLERANCE.get(got.dtype.name, 0.0 if got.dtype.kind in "iu" else 1e-1)
    a, b = (x.astype(complex if x.dtype.kind == "c" else float) for x in (got, want))
    if np.allclose(a, b, tolerance, tolerance, equal_nan=True):
        return ""
    return f"differs by {np.nanmax(np.abs(a - b)):.3g}"
