"""Sequential least squares: the weights that stay take over the work of those that went.

Sites are visited in order. At each, the pruned model's own input X and the dense model's output T at
the same place are there; the weights become the ridge solution of T ~ W X + b.  Where the output is
then added to a residual stream, T also makes up for what the stream has lost so far:
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
from spa.executor.stream import Stream
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
    def __init__(self, coupling, alive, small, feeds, strength, device) -> None:
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
        base = self.graph.source.base_dir
        self.dense = Stream(self.graph.proto, feeds, types, base, device)
        self.pruned = Stream(copy, feeds, types, base, device)
        self.small = copy
        self.done: list[Repaired] = []
        self.users: dict[str, list[Any]] = {}
        for node in self.graph.nodes:
            for name in node.inputs:
                self.users.setdefault(name, []).append(node)
        self.uses: dict[str, int] = {}
        for proto in copy.graph.node:
            for name in proto.input:
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
        if proto.input[1] not in self.pruned.weights or self.uses[proto.input[1]] > 1:
            return False
        if len(proto.input) > 2 and proto.input[2]:
            if proto.input[2] not in self.pruned.weights or self.uses[proto.input[2]] > 1:
                return False
        a = node.attrs
        if node.op == "Gemm":
            return a.get("alpha", 1.0) == a.get("beta", 1.0) == 1.0 and not a.get("transA", 0)
        return node.op == "Conv" or len(self.graph.shapes[node.inputs[1]]) == 2

    def _stream(self, node: Any) -> tuple[str, Array | None] | None:
        """The other summand where this output is added to something, and BatchNorm's factor between."""
        name, factor = node.outputs[0], None
        users = self.users.get(name, [])
        if len(users) == 1 and users[0].op == "BatchNormalization":
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
        weight = numpy_helper.to_array(self.pruned.weights[proto.input[1]]).astype(np.float64)
        groups = next((a.i for a in proto.attribute if a.name == "group"), 1) if conv else 1
        if conv:
            start = weight.reshape(groups, weight.shape[0] // groups, -1)
        else:
            flip = node.op == "MatMul" or not node.attrs.get("transB", 0)
            start = (weight.T if flip else weight)[None]
        if start.shape[2] > LARGEST or len(kept) != start.shape[0] * start.shape[1]:
            return
        fit = [Moments(start.shape[2], start.shape[1]) for _ in range(groups)]
        judge = [Moments(start.shape[2], start.shape[1]) for _ in range(groups)]
        last = max(1, round(self.pruned.count * HELD)) if self.pruned.count > 1 else 0
        for k in range(self.pruned.count):
            x = self.pruned.values[node.inputs[0]][k]
            y = self._target(node, k, axis, kept, extra)
            if conv:
                places = places_for(start.shape[2], self.samples, y.shape[2:], node.index)
                rows, columns = rows_of(y, places), None
                if groups == 1:
                    columns = unfold(x, weight.shape, node.attrs, y.shape[2:], places)
            else:
                rows, columns = y.reshape(-1, y.shape[-1]).T, x.reshape(-1, x.shape[-1]).T
            into = judge if k >= self.pruned.count - last else fit
            o, c = start.shape[1], x.shape[1] // groups if conv else 0
            for g in range(groups):
                own = columns
                if own is None:
                    shape = (o, c, *weight.shape[2:])
                    own = unfold(x[:, g * c : (g + 1) * c], shape, node.attrs, y.shape[2:], places)
                into[g].add(np.ascontiguousarray(own, np.float32), rows[g * o : (g + 1) * o].astype(np.float32))
        self._store(node, proto, weight, start, fit, judge)

    def _store(self, node, proto, weight, start, fit, judge) -> None:
        conv = node.op == "Conv"
        bias = None
        if len(proto.input) > 2 and proto.input[2]:
            bias = numpy_helper.to_array(self.pruned.weights[proto.input[2]]).astype(np.float64)
            if bias.size != start.shape[0] * start.shape[1]:
                return
        affine = node.op != "MatMul"
        solved, offsets = np.empty_like(start), np.zeros(start.shape[:2])
        old = np.zeros(start.shape[:2]) if bias is None else bias.reshape(start.shape[:2])
        before = after = total = 0.0
        for g in range(len(start)):
            solved[g], offsets[g] = ridge(fit[g], start[g], self.strength, affine)
            sheet = judge[g] if judge[g].count else fit[g]
            worse, better = error(sheet, start[g], old[g]), error(sheet, solved[g], offsets[g])
            total += float((sheet.yy - sheet.y**2 / sheet.count).sum())
            poor = better > worse  # row by row: what does not help stays as it was
            solved[g][poor], offsets[g][poor] = start[g][poor], old[g][poor]
            before += float(worse.sum())
            after += float(np.minimum(worse, better).sum())
        scale = max(total, 1e-30)
        self.done.append(Repaired(node.name, before / scale, after / scale, after < before))
        name = proto.input[1]
        dtype = numpy_helper.to_array(self.pruned.weights[name]).dtype
        flip = node.op == "MatMul" or (node.op == "Gemm" and not node.attrs.get("transB", 0))
        new = solved.reshape(weight.shape) if conv else (solved[0].T if flip else solved[0])
        self._set(name, np.ascontiguousarray(new).astype(dtype))
        if affine:
            if bias is None:
                while len(proto.input) < 3:
                    proto.input.append("")
                proto.input[2] = f"{node.outputs[0]}_spa_bias"
            shape = start.shape[0] * start.shape[1]
            self._set(proto.input[2], offsets.reshape(shape).astype(dtype))

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
