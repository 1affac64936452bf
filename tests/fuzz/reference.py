"""A second masked reference: the original, one node at a time, with what was dropped set to zero.

It knows only the solution of the coupling (which channel each element of a tensor is) and runs
every operator alone, at any sizes of the symbols.  Channels may not depend on a size: along an axis
that is longer or shorter than it was for the analysis, they must be alike, or be repeated as often
as the symbols say (`batch * heads`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import combinations
from math import prod
from typing import ClassVar

import numpy as np
import onnxruntime
from onnx import ModelProto, NodeProto, TypeProto, ValueInfoProto, helper, numpy_helper
from onnxruntime.capi.onnxruntime_pybind11_state import Fail, InvalidArgument, RuntimeException

from spa.coupling import Coupling

Array = np.ndarray
LARGEST = ("TopK", "ArgMax", "ArgMin")
SELECTORS = (*LARGEST, "Equal", "Less", "LessOrEqual", "Greater", "GreaterOrEqual", "Floor")
FAILURES = (Fail, InvalidArgument, RuntimeException)
"""What onnxruntime raises where sizes do not agree."""
NEAR = 1e-4
TOLERANCE = 1e-4
"""Both shares of the largest number: what counts as a tie, and how far apart results may be."""
EPSILON, NOISY, LEEWAY = 2.0**-23, 3, 4
"""One rounding, how often it is tried, and how often what it does two right files may differ by."""
SKIPPED = 0.01
"""The share of tensors that may lie behind ties, over many nets."""


@dataclass
class Run:
    """All values of one run; `unsure` are tensors behind a near tie, `asked` what selectors saw."""

    values: dict[str, Array]
    masks: dict[str, Array] = field(default_factory=dict)
    unsure: set[str] = field(default_factory=set)
    asked: set[str] = field(default_factory=set)
    rounded: Callable[[], Run] | None = None

    def noise(self, name: str) -> float:
        """How far a tensor moves where every number before it is rounded otherwise.

        Sums that cancel magnify what rounding leaves: two right files differ by that much.
        """
        if self.rounded is None:
            return 0.0
        others = [self.rounded() for _ in range(NOISY)]
        value = self.values[name].astype(np.float64)
        return max(float(np.abs(o.values[name] - value).max(initial=0)) for o in others)


class Reference:
    """One choice of channels of one net.

    Args:
        model: the original, as it was read.
        coupling: its analysis; only images, units and analysed sizes are used.
        alive: bool per unit.
    """

    _sessions: ClassVar[dict[bytes, onnxruntime.InferenceSession]] = {}

    def __init__(self, model: ModelProto, coupling: Coupling, alive: Array) -> None:
        self.model, self.images, self.root = model, coupling.notes.images, coupling.root
        self.analysed, self.alive = coupling.graph.dims, alive
        self.stored = {t.name: numpy_helper.to_array(t) for t in model.graph.initializer}

    def run(
        self,
        feeds: Mapping[str, Array],
        sizes: Mapping[str, int],
        noise: np.random.Generator | None = None,
    ) -> Run:
        """Every tensor at these sizes; `noise` moves every number by what rounding may."""
        changes = list(self._changes(sizes))
        run = Run({**self.stored, **feeds})
        if noise is None:
            other = np.random.default_rng(0)
            run.rounded = lambda: self.run(feeds, sizes, other)
        for node in self.model.graph.node:
            given = [run.values[name] for name in node.input if name]
            made = self._alone(node, given)
            for name, value in zip(node.output, made, strict=True):
                mask = self._mask(name, value.shape, changes)
                run.masks[name] = mask
                if noise is not None and value.dtype == np.float32:
                    value = value * (1 + EPSILON * noise.choice((-1, 1), value.shape))
                    value = value.astype(np.float32)
                run.values[name] = np.where(mask, value, np.zeros((), value.dtype))
            self._doubt(node, run)
        return run

    def _changes(self, sizes: Mapping[str, int]) -> Iterator[tuple[int, int]]:
        """How often something was repeated for the analysis, and how often it is now."""
        pairs = [(self.analysed[s], n) for s, n in sizes.items() if s in self.analysed]
        for count in (1, 2, 3):
            for some in combinations(pairs, count):
                yield prod(a for a, _ in some), prod(b for _, b in some)

    def _mask(self, name: str, shape: tuple[int, ...], changes: list[tuple[int, int]]) -> Array:
        """Which elements of a tensor of this shape live."""
        mask = np.ones((1,) * len(shape), bool)
        image = self.images.get(name)
        for index_map in image.maps if image is not None else ():
            units = self.root[index_map.ids]
            for axis, length in enumerate(shape):
                if units.shape[axis] not in (1, length):
                    units = at_length(units, axis, length, changes, name)
            mask = mask & self.alive[units]
        return np.broadcast_to(mask, shape)

    def _alone(self, node: NodeProto, given: list[Array]) -> list[Array]:
        """One operator, in a model of its own that is kept for all that are alike."""
        key = NodeProto()
        key.CopyFrom(node)
        key.name = ""
        known: dict[str, str] = {}
        for k, name in enumerate(node.input):
            key.input[k] = known.setdefault(name, f"i{len(known)}") if name else ""
        for k in range(len(node.output)):
            key.output[k] = f"o{k}"
        feeds = dict(zip([n for n in key.input if n], given, strict=True))
        kinds = ";".join(f"{n}:{v.dtype}:{shape_of(v)}" for n, v in feeds.items())
        opsets = {e.domain: e.version for e in self.model.opset_import}
        text = f"{opsets} {kinds} ".encode() + key.SerializeToString(deterministic=True)
        if text not in self._sessions:
            self._sessions[text] = alone(key, feeds, opsets)
        return list(self._sessions[text].run(None, feeds))

    def _doubt(self, node: NodeProto, run: Run) -> None:
        """Note near ties in what a selector sees, and what lies behind them."""
        values = [run.values[name] for name in node.input if name]
        sure = not run.unsure & set(node.input)
        if node.op_type in SELECTORS and values[0].dtype.kind == "f":
            run.asked |= {n for n in node.input if n and n in run.masks}
            mask = run.masks.get(node.input[0], np.ones(values[0].shape, bool))
            sure = sure and margin(node, values, mask) > NEAR
        if not sure:
            run.unsure |= set(node.output)


def at_length(
    units: Array, axis: int, length: int, changes: list[tuple[int, int]], name: str
) -> Array:
    """The units along an axis of another length; raises where they depend on it."""
    known = units.shape[axis]
    first = units.take([0], axis=axis)
    if (units == first).all():
        return first
    for before, now in changes:
        inside, rest = divmod(known, before)
        if rest or inside * now != length:
            continue
        for outer in (k for k in range(1, inside + 1) if inside % k == 0):
            shape = (*units.shape[:axis], outer, before, inside // outer, *units.shape[axis + 1 :])
            blocks = units.reshape(shape)
            block = blocks.take([0], axis=axis + 1)
            if (blocks == block).all():
                more = np.repeat(block, now, axis=axis + 1)
                return more.reshape((*units.shape[:axis], length, *units.shape[axis + 1 :]))
    raise AssertionError(f"{name} has other channels along axis {axis}: {known} long, now {length}")


def alone(
    node: NodeProto, feeds: Mapping[str, Array], opsets: Mapping[str, int]
) -> onnxruntime.InferenceSession:
    """A session of one operator for any sizes."""
    inputs = [
        helper.make_tensor_value_info(
            name, helper.np_dtype_to_tensor_dtype(value.dtype), shape_of(value)
        )
        for name, value in feeds.items()
    ]
    outputs = [ValueInfoProto(name=name, type=TypeProto()) for name in node.output]
    graph = helper.make_graph([node], "alone", inputs, outputs)
    imports = [helper.make_opsetid(domain, version) for domain, version in opsets.items()]
    model = helper.make_model(graph, opset_imports=imports, ir_version=8)
    return session(model)


def shape_of(value: Array) -> list[int | None]:
    """Any, of as many axes; of vectors of sizes the length, which some operators want to know."""
    sizes = value.ndim == 1 and value.dtype == np.int64
    return [len(value)] if sizes else [None] * value.ndim


def session(model: ModelProto) -> onnxruntime.InferenceSession:
    """onnxruntime, with one thread and nothing optimized."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.log_severity_level = 4
    providers = ["CPUExecutionProvider"]
    return onnxruntime.InferenceSession(model.SerializeToString(), options, providers=providers)


def margin(node: NodeProto, values: list[Array], mask: Array) -> float:
    """How far a selector is from choosing otherwise, as a share of what it sees."""
    x = values[0].astype(np.float64)
    scale = max(float(np.abs(x).max(initial=0)), 1e-9)
    if node.op_type in LARGEST:
        return _margin_of_largest(node, values, np.where(mask, x, np.nan)) / scale
    if node.op_type == "Floor":
        return float(np.abs(x - np.round(x)).min(initial=np.inf)) / scale
    apart = np.abs(x - values[1])
    live = np.broadcast_to(mask, apart.shape) & (apart != 0)  # held at zero on both sides
    return float(apart[live].min(initial=np.inf)) / scale


def _margin_of_largest(node: NodeProto, values: list[Array], x: Array) -> float:
    """How far apart those that are chosen are, and the best of the rest from them."""
    attrs = {a.name: a.i for a in node.attribute}
    count = int(values[1][0]) if node.op_type == "TopK" else 1
    axis = attrs.get("axis", -1 if node.op_type == "TopK" else 0)
    lines = np.moveaxis(x, axis, -1).reshape(-1, x.shape[axis])
    lines = lines[~np.isnan(lines).any(axis=1)]
    if node.op_type == "ArgMin" or not attrs.get("largest", 1):
        lines = -lines
    best = np.sort(lines, axis=1)[:, ::-1][:, : count + 1]
    return float(-np.diff(best, axis=1).max(initial=-np.inf))


@dataclass
class Agreement:
    """The largest difference, as a share of the largest number, and what was looked at.

    `skipped` counts tensors that lie behind a near tie, of `compared` others nothing is unknown.
    """

    worst: float = 0.0
    compared: int = 0
    skipped: int = 0

    @property
    def share(self) -> float:
        """How much was skipped."""
        return self.skipped / max(1, self.compared + self.skipped)

    def add(self, other: Agreement) -> None:
        """Take in what was found at other sizes."""
        self.worst = max(self.worst, other.worst)
        self.compared += other.compared
        self.skipped += other.skipped


def compare(run: Run, small: ModelProto, feeds: Mapping[str, Array]) -> Agreement:
    """Outputs of the pruned net, and what its selectors see, are what the reference has."""
    model = ModelProto()
    model.CopyFrom(small)
    made = {name for node in model.graph.node for name in node.output}
    names = [o.name for o in model.graph.output]
    names += sorted(run.asked & made - set(names))
    del model.graph.output[:]
    model.graph.output.extend(ValueInfoProto(name=n, type=TypeProto()) for n in names)
    return agreed(run, dict(zip(names, session(model).run(None, dict(feeds)), strict=True)))


def agreed(run: Run, found: Mapping[str, Array]) -> Agreement:
    """How far values are apart; raises where that is too far."""
    total = Agreement()
    for name, got in found.items():
        if name in run.unsure:
            total.skipped += 1
            continue
        want = run.values[name]
        living = want[run.masks[name]] if name in run.masks else want.ravel()
        assert living.size == got.size, f"{name} is {got.shape}, living are {living.size}"
        far = float(np.abs(living.astype(np.float64) - got.ravel()).max(initial=0))
        share = far / max(float(np.abs(living).max(initial=0)), 1e-9)
        right = share <= TOLERANCE or far <= LEEWAY * run.noise(name)
        assert right, f"{name} differs by {share:.1e} at {got.shape}"
        total.add(Agreement(share, 1))
    return total


def same_inputs(whole: ModelProto, small: ModelProto) -> None:
    """The pruned net has the inputs of the original, and their defaults; raises if not."""
    before, after = ({i.name: i.type for i in m.graph.input} for m in (whole, small))
    assert before == after, f"other inputs: {sorted(before)} became {sorted(after)}"
    for tensor in whole.graph.initializer:
        if tensor.name in before:
            now = [t for t in small.graph.initializer if t.name == tensor.name]
            assert len(now) == 1, f"the default of {tensor.name} is gone"
            ours, theirs = (numpy_helper.to_array(t) for t in (tensor, now[0]))
            assert np.array_equal(ours, theirs), f"another default of {tensor.name}"
