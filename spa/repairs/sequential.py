"""Sequential least squares: the weights that stay take over the work of those that went.

Sites are visited in order. At each, the pruned model's own input X and the dense model's output T
at the same place are there; the weights become the ridge solution of T ~ W X + b.  Where the output
is then added to a residual stream, T also makes up for what the stream has lost so far:
T = dense output + dense stream - pruned stream.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from onnx import ModelProto, NodeProto, helper, numpy_helper

from spa.coupling.model import Coupling
from spa.events import Step, Tell, quiet
from spa.executor.columns import places_for, rows_of, unfold
from spa.executor.least_squares import Moments, error, ridge
from spa.executor.stream import Stream, names_in
from spa.trace.check import Survivors

HELD = 0.125  # share of the batches that judges a solution instead of shaping it
LARGEST = 4700  # features of one solve
OPS = frozenset(("Conv", "Gemm", "MatMul"))
Array = NDArray[Any]


@dataclass(frozen=True)
class Repaired:
    """What was done at one site: relative squared error on held-back inputs, before and after."""

    node: str
    before: float
    after: float
    kept: bool


def reconstruct(
    coupling: Coupling,
    alive: NDArray[np.bool_],
    small: ModelProto,
    feeds: Sequence[Mapping[str, Array]],
    *,
    strength: float = 1e-2,
    device: Any = "cpu",
    tell: Tell = quiet,
) -> tuple[ModelProto, tuple[Repaired, ...]]:
    """A copy of the cut model `small` with its weights refitted on probe inputs.

    Args:
        coupling: the analysed original.
        alive: what was kept, bool `[labels]` by unit.
        small: the original without the rest.
        feeds: probe inputs, one dict per batch.
        strength: ridge, as a share of the mean of the Gram matrix's diagonal.
        device: where the streams run.
        tell: where progress goes.
    """
    walk = _Walk(coupling, alive, small, feeds, strength, device)
    for node in walk.sites():
        walk.visit(node)
        tell(Step("reconstruct"))
    return walk.finish(), tuple(walk.done)


class _Walk:
    """The dense and the pruned stream, side by side, and what was done at the sites so far."""

    def __init__(
        self,
        coupling: Coupling,
        alive: NDArray[np.bool_],
        small: ModelProto,
        feeds: Sequence[Mapping[str, Array]],
        strength: float,
        device: Any,
    ) -> None:
        self.graph, self.notes = coupling.graph, coupling.notes
        self.left = Survivors(coupling.notes, coupling.root, alive)
        self.strength = strength
        self.samples = sum(len(next(iter(f.values()))) for f in feeds)
        types = {
            n: int(helper.np_dtype_to_tensor_dtype(d))
            for n, d in self.graph.dtypes.items()
            if d.kind != "O"
        }
        copy = ModelProto()
        copy.CopyFrom(small)
        self.base = self.graph.source.base_dir
        self.dense = Stream(self.graph.proto, feeds, types, self.base, device)
        self.pruned = Stream(copy, feeds, types, self.base, device)
        self.small = copy
        self.done: list[Repaired] = []
        self.users: dict[str, list[Any]] = {}
        for node in self.graph.nodes:
            for name in node.inputs:
                self.users.setdefault(name, []).append(node)
        self.uses: dict[str, int] = {}
        for proto in copy.graph.node:
            for name in (*proto.input, *(names_in(proto) - set(proto.input))):  # bodies as well
                self.uses[name] = self.uses.get(name, 0) + 1

    def sites(self) -> list[Any]:
        """Nodes whose weights can be refitted, from the first that the cut concerns."""
        found, started = [], False
        for node in self.graph.nodes:
            param = self.notes.params.get((node.index, 1))
            if node.op not in OPS or node.domain or param is None or param.tensor is None:
                continue
            reads = param.plane("reads")
            started = started or (reads is not None and self.left.touched(reads))
            if started and node.outputs[0] in self.notes.images:
                found.append(node)
        return found

    def visit(self, node: Any) -> None:
        out, x = node.outputs[0], node.inputs[0]
        extra = self._stream(node)
        keep = [out, x, *([extra[0]] if extra else [])]
        self.dense.run_to(self.dense.find(out) + 1, keep)
        self.pruned.run_to(self.pruned.find(out), keep)
        proto = self.pruned.nodes[self.pruned.find(out)]
        if x in self.pruned.values and out in self.dense.values and self._plain(node, proto):
            self._solve(node, proto, extra)
        self.dense.release(*keep)

    def _plain(self, node: Any, proto: NodeProto) -> bool:
        """Whether this site's weight is its own and used in the simple way."""
        for name in proto.input[1:]:
            if name and (name not in self.pruned.weights or self.uses[name] > 1):
                return False
        a = node.attrs
        if node.op == "Gemm":
            return a.get("alpha", 1.0) == a.get("beta", 1.0) == 1.0 and not a.get("transA", 0)
        return node.op == "Conv" or len(self.graph.shapes[node.inputs[1]]) == 2

    def _stream(self, node: Any) -> tuple[str, Array | None] | None:
        """What this output is added to, if anything, and the factor of a BatchNorm between."""
        name, factor = node.outputs[0], None
        users = self.users.get(name, [])
        if len(users) == 1 and users[0].op == "BatchNormalization":
            if node.op != "Conv" and len(self.graph.shapes[name]) != 2:
                return None  # it does not scale the axis that the weights make
            scale, _, _, var = (self.graph.consts.get(n) for n in users[0].inputs[1:5])
            if scale is None or var is None:
                return None
            factor = scale / np.sqrt(var + users[0].attrs.get("epsilon", 1e-5))
            name = users[0].outputs[0]
            users = self.users.get(name, [])
        if len(users) != 1 or users[0].op != "Add":
            return None
        other = [n for n in users[0].inputs if n != name]
        if len(other) != 1 or self.graph.shapes.get(other[0]) != self.graph.shapes.get(name):
            return None
        made = {o: k for k, n in enumerate(self.graph.nodes) for o in n.outputs}
        if other[0] not in made or made[other[0]] > node.index:
            return None
        return other[0], factor

    def _kept(self, name: str, axis: int) -> Array:
        """Kept positions of a tensor's channel axis, in the original's numbering."""
        image = self.notes.images[name]
        planes = image.over(axis)
        if not planes:
            return np.arange(image.shape[axis])
        return np.flatnonzero(self.left.alive[planes[0].dense.reshape(-1)])

    def _target(self, node: Any, batch: int, axis: int, kept: Array, extra: Any) -> Array:
        target = self.dense.values[node.outputs[0]][batch].take(kept, axis)
        if extra and extra[0] in self.pruned.values and extra[0] in self.dense.values:
            lost = self.dense.values[extra[0]][batch].take(kept, axis)
            lost = lost - self.pruned.values[extra[0]][batch]
            if extra[1] is not None:
                shape = [1] * lost.ndim
                shape[axis] = -1
                factor = extra[1][kept].reshape(shape)
                lost = np.divide(lost, factor, out=np.zeros_like(lost), where=np.abs(factor) > 1e-6)
            target = target + lost
        return target

    def _solve(self, node: Any, proto: NodeProto, extra: Any) -> None:
        conv = node.op == "Conv"
        axis = 1 if conv else len(self.graph.shapes[node.outputs[0]]) - 1
        kept = self._kept(node.outputs[0], axis)
        weight = self._get(proto.input[1])
        groups = next((a.i for a in proto.attribute if a.name == "group"), 1) if conv else 1
        if conv:
            start = weight.reshape(groups, weight.shape[0] // groups, -1)
        else:
            start = (weight.T if _flipped(node) else weight)[None]
        bias = self._get(proto.input[2]) if len(proto.input) > 2 and proto.input[2] else None
        made = start.shape[0] * start.shape[1]
        if (
            start.shape[2] > LARGEST
            or len(kept) != made
            or (bias is not None and bias.size != made)
        ):
            return
        fit = [Moments(start.shape[2], start.shape[1]) for _ in range(groups)]
        judge = [Moments(start.shape[2], start.shape[1]) for _ in range(groups)]
        last = max(1, round(self.pruned.count * HELD)) if self.pruned.count > 1 else 0
        for k in range(self.pruned.count):
            x = self.pruned.values[node.inputs[0]][k]
            y = self._target(node, k, axis, kept, extra)
            into = judge if k >= self.pruned.count - last else fit
            self._add(into, node, x, y, weight.shape)
        old = np.zeros(start.shape[:2]) if bias is None else bias.reshape(start.shape[:2])
        self._store(node, proto, *self._better(node, start, old, fit, judge))

    def _add(
        self, into: list[Moments], node: Any, x: Array, y: Array, shape: tuple[int, ...]
    ) -> None:
        """Add one batch to the moments of every group."""
        if node.op != "Conv":
            pairs = [(x.reshape(-1, x.shape[-1]).T, y.reshape(-1, y.shape[-1]).T)]
        else:
            places = places_for(int(np.prod(shape[1:])), self.samples, y.shape[2:], node.index)
            rows = np.split(rows_of(y, places), len(into))
            parts = np.split(x, len(into), 1)
            pairs = [
                (unfold(part, shape, node.attrs, y.shape[2:], places), own)
                for part, own in zip(parts, rows, strict=True)
            ]
        for moments, (columns, own) in zip(into, pairs, strict=True):
            moments.add(
                np.ascontiguousarray(columns, np.float32), np.ascontiguousarray(own, np.float32)
            )

    def _better(
        self, node: Any, start: Array, old: Array, fit: list[Moments], judge: list[Moments]
    ) -> tuple[Array, Array]:
        """Solved weights and biases, group by group; rows that they do not help stay."""
        solved, offsets = start.copy(), old.copy()
        before = after = total = 0.0
        for g in range(len(start)):
            weights, bias = ridge(fit[g], start[g], self.strength, node.op != "MatMul")
            sheet = judge[g] if judge[g].count else fit[g]
            worse, better = error(sheet, start[g], old[g]), error(sheet, weights, bias)
            helped = better <= worse  # false as well for what is not a number
            solved[g][helped], offsets[g][helped] = weights[helped], bias[helped]
            total += float((sheet.yy - sheet.y**2 / sheet.count).sum())
            before += float(worse.sum())
            after += float(np.where(helped, better, worse).sum())
        scale = max(total, 1e-30)
        self.done.append(Repaired(node.name, before / scale, after / scale, after < before))
        return solved, offsets

    def _store(self, node: Any, proto: NodeProto, solved: Array, offsets: Array) -> None:
        """Write new weights and biases into the pruned model."""
        name = proto.input[1]
        stored = self.pruned.weights[name]
        new = solved if node.op == "Conv" else solved[0].T if _flipped(node) else solved[0]
        dtype = helper.tensor_dtype_to_np_dtype(stored.data_type)
        self._set(name, new.reshape(tuple(stored.dims)).astype(dtype))
        if node.op == "MatMul":
            return
        while len(proto.input) < 3:
            proto.input.append("")
        shape: tuple[int, ...] = (offsets.size,)
        if proto.input[2]:
            shape = tuple(self.pruned.weights[proto.input[2]].dims)
        else:
            proto.input[2] = f"{node.outputs[0]}_spa_bias"
        self._set(proto.input[2], offsets.reshape(shape).astype(dtype))

    def _get(self, name: str) -> NDArray[np.float64]:
        """A stored tensor of the pruned model."""
        tensor = self.pruned.weights[name]
        return numpy_helper.to_array(tensor, str(self.base or "")).astype(np.float64)

    def _set(self, name: str, array: Array) -> None:
        self.pruned.weights[name] = numpy_helper.from_array(array, name)

    def finish(self) -> ModelProto:
        """The pruned model with the new weights."""
        model = self.small
        del model.graph.node[:]
        model.graph.node.extend(self.pruned.nodes)
        del model.graph.initializer[:]
        model.graph.initializer.extend(self.pruned.weights.values())
        return model


def _flipped(node: Any) -> bool:
    """Whether the weight is stored with its inputs first."""
    return node.op == "MatMul" or not node.attrs.get("transB", 0)
