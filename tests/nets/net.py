"""A model under construction: `net.Relu(x)` appends a node and returns the name of its output.

The helpers know what changed between opsets (attributes that became inputs) and write the batch
axis of a reshape in the four ways exporters do, so that one motif covers them all.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import onnx
from onnx import ModelProto, NodeProto, TensorProto, helper, numpy_helper

BATCH = "N"
SIZES = ("stated", "zero", "minus", "computed")
"""How a reshape names the batch: a number, 0, -1, or a graph of Shape, Gather and Concat."""


class Net:
    """Nodes and weights of a model; weights are random, the same for the same `seed`.

    Args:
        opset: of ai.onnx.
        batch: a size, or a symbol.
        dtype: of inputs and weights.
        sizes: how reshapes name the batch, one of `SIZES`; a symbol cannot be `stated`.
        norms: False leaves out what takes statistics over channels, which makes a net exact.
        seed: of the weights.
        ir: the IR version; before 4, weights are listed as inputs.
    """

    def __init__(
        self,
        opset: int = 17,
        batch: int | str = 2,
        dtype: Any = np.float32,
        sizes: str = "stated",
        norms: bool = True,
        seed: int = 0,
        ir: int = 8,
    ) -> None:
        self.opset, self.batch, self.dtype, self.norms, self.ir = (
            opset, batch, np.dtype(dtype), norms, ir,
        )  # fmt: skip
        self.sizes = "zero" if sizes == "stated" and isinstance(batch, str) else sizes
        self.random = np.random.default_rng(seed)
        self.nodes: list[NodeProto] = []
        self.constants: dict[str, TensorProto] = {}
        self.inputs: list[onnx.ValueInfoProto] = []
        self._count = 0

    def __getattr__(self, op: str) -> Callable[..., Any]:
        if not op[0].isupper():
            raise AttributeError(op)
        return lambda *inputs, **attrs: self.node(op, *inputs, **attrs)

    def node(self, op: str, *inputs: str, outs: int = 1, domain: str = "", **attrs: Any) -> Any:
        """Append a node; one name, or as many as it has outputs."""
        name = self.name(op)
        outputs = [name] if outs == 1 else [f"{name}_{k}" for k in range(outs)]
        self.nodes.append(
            helper.make_node(op, inputs, outputs, name=name, domain=domain or None, **attrs)
        )
        return outputs[0] if outs == 1 else outputs

    def name(self, stem: str) -> str:
        """A name that is free."""
        self._count += 1
        return f"{stem}_{self._count}"

    # tensors

    def input(self, name: str, *shape: int | str, dtype: Any = None, batched: bool = True) -> str:
        """A graph input, behind the batch axis."""
        full = [self.batch, *shape] if batched else list(shape)
        kind = helper.np_dtype_to_tensor_dtype(np.dtype(dtype or self.dtype))
        self.inputs.append(helper.make_tensor_value_info(name, kind, full))
        return name

    def const(self, value: Any, name: str = "") -> str:
        """A stored tensor of any type."""
        name = name or self.name("const")
        self.constants[name] = numpy_helper.from_array(np.array(value), name)
        return name

    def ints(self, *values: int) -> str:
        """A stored vector of sizes or positions."""
        return self.const(np.array(values, np.int64))

    def weight(self, *shape: int, scale: float | None = None, shift: float = 0.0) -> str:
        """Normal weights; by default scaled by the fan-in of a convolution."""
        scale = 1 / np.sqrt(max(1, np.prod(shape[1:]))) if scale is None else scale
        values = self.random.standard_normal(shape) * scale + shift
        return self.const(values.astype(self.dtype), self.name("w"))

    def positive(self, size: int) -> str:
        """Scales and variances."""
        values = self.random.random(size) + 0.5
        return self.const(values.astype(self.dtype), self.name("w"))

    def scalar(self, value: float) -> str:
        """A number of the net's own type."""
        return self.const(np.array(value, self.dtype))

    # layers

    def conv(self, x: str, read: int, make: int, kernel: int = 3, *, group: int = 1, dims: int = 2,
             stride: int = 1, bias: bool = True, op: str = "Conv") -> str:  # fmt: skip
        """A convolution, or its transpose, with same padding."""
        shape = (make, read // group) if op == "Conv" else (read, make // group)
        weight = self.weight(*shape, *[kernel] * dims, scale=(read // group * kernel**dims) ** -0.5)
        given = [self.weight(make, scale=0.1)] if bias else []
        pads = [(kernel - stride + 1) // 2 if op != "Conv" else kernel // 2] * 2 * dims
        return self.node(op, x, weight, *given, group=group, pads=pads, strides=[stride] * dims)

    def batch_norm(self, x: str, size: int) -> str:
        """Statistics are stored, so this is exact."""
        tensors = self.positive(size), self.weight(size, scale=0.1), self.weight(size, scale=0.1)
        return self.BatchNormalization(x, *tensors, self.positive(size))

    def linear(self, x: str, read: int, make: int, bias: bool = True) -> str:
        """MatMul and Add."""
        y = self.MatMul(x, self.weight(read, make, scale=read**-0.5))
        return self.Add(y, self.weight(make, scale=0.1)) if bias else y

    def head(self, x: str, read: int, make: int = 5) -> str:
        """A classifier over pooled images."""
        y = self.Flatten(self.GlobalAveragePool(x))
        return self.Gemm(y, self.weight(make, read), self.weight(make, scale=0.1), transB=1)

    def affine(self, x: str, size: int, axis: int = -1, rank: int = 3) -> str:
        """Scale and bias, written as Mul and Add."""
        shape = [1] * (rank - axis % rank)
        shape[0] = size
        y = self.Mul(x, self.const(self._positive(shape), self.name("w")))
        return self.Add(y, self.weight(*shape, scale=0.1))

    def _positive(self, shape: Sequence[int]) -> np.ndarray:
        return (self.random.random(tuple(shape)) + 0.5).astype(self.dtype)

    # what changed between opsets

    def split(self, x: str, parts: Sequence[int], axis: int) -> list[str]:
        """Split into parts of given sizes."""
        if self.opset < 13:
            return self.Split(x, axis=axis, split=list(parts), outs=len(parts))
        return self.Split(x, self.ints(*parts), axis=axis, outs=len(parts))

    def slice(self, x: str, start: int, end: int, axis: int, step: int = 1) -> str:
        """A slice along one axis."""
        if self.opset < 10:
            return self.Slice(x, starts=[start], ends=[end], axes=[axis])
        given = [self.ints(v) for v in (start, end, axis)]
        return self.Slice(x, *given, *([self.ints(step)] if step != 1 else []))

    def squeeze(self, x: str, axis: int) -> str:
        """Drop an axis of length 1."""
        if self.opset < 13:
            return self.Squeeze(x, axes=[axis])
        return self.Squeeze(x, self.ints(axis))

    def unsqueeze(self, x: str, axis: int) -> str:
        """Insert an axis of length 1."""
        if self.opset < 13:
            return self.Unsqueeze(x, axes=[axis])
        return self.Unsqueeze(x, self.ints(axis))

    def reduce(self, op: str, x: str, axis: int, keep: bool = True) -> str:
        """ReduceSum, ReduceMean and the like along one axis."""
        since = 13 if op == "ReduceSum" else 18
        if self.opset < since:
            return self.node(op, x, axes=[axis], keepdims=int(keep))
        return self.node(op, x, self.ints(axis), keepdims=int(keep))

    def pad(self, x: str, *pads: int) -> str:
        """Zeros around."""
        if self.opset < 11:
            return self.Pad(x, pads=list(pads))
        return self.Pad(x, self.ints(*pads))

    def resize(self, x: str, factor: int, dims: int = 2) -> str:
        """Nearest neighbour, by `factor` in space."""
        scales = self.const(np.array([1, 1] + [factor] * dims, np.float32))
        if self.opset < 10:
            return self.Upsample(x, scales, mode="nearest")
        if self.opset < 11:
            return self.Resize(x, scales, mode="nearest")
        region = "" if self.opset >= 13 else self.const(np.zeros(0, np.float32))
        return self.Resize(x, region, scales, mode="nearest")

    def softmax(self, x: str, rank: int) -> str:
        """Over the last axis."""
        return self.Softmax(x, axis=rank - 1 if self.opset < 11 else -1)

    # statistics over channels, which a neutral net goes without

    def layer_norm(self, x: str, size: int, native: bool = True, rank: int = 3) -> str:
        """LayerNormalization over the last axis, native or spelt out."""
        if not self.norms:
            return self.affine(x, size, rank=rank)
        if native and self.opset >= 17:
            return self.LayerNormalization(x, self.positive(size), self.weight(size, scale=0.1))
        y = self.Sub(x, self.reduce("ReduceMean", x, -1))
        power = self.reduce("ReduceMean", self.Pow(y, self.scalar(2)), -1)
        y = self.Div(y, self.Sqrt(self.Add(power, self.scalar(1e-5))))
        return self.affine(y, size, rank=rank)

    def rms_norm(self, x: str, size: int) -> str:
        """Root mean square over the last axis, native from opset 23."""
        scale = self.positive(size)
        if not self.norms:
            return self.Mul(x, scale)
        if self.opset >= 23:
            return self.RMSNormalization(x, scale)
        power = self.reduce("ReduceMean", self.Mul(x, x), -1)
        return self.Mul(self.Mul(x, self.Reciprocal(self.Sqrt(power))), scale)

    def group_norm(self, x: str, size: int, groups: int, area: tuple[int, ...]) -> str:
        """Native from opset 21, else InstanceNormalization over `[N, groups, rest]`."""
        if self.norms and self.opset >= 21:
            tensors = self.positive(size), self.weight(size, scale=0.1)
            return self.GroupNormalization(x, *tensors, num_groups=groups)
        y = self.reshape(x, groups, size // groups * int(np.prod(area)))
        if self.norms:
            one = self.const(np.ones(groups, self.dtype))
            y = self.InstanceNormalization(y, one, self.const(np.zeros(groups, self.dtype)))
        y = self.reshape(y, size, *area)
        return self.affine(y, size, 1, rank=2 + len(area))

    # shapes

    def reshape(self, x: str, *sizes: int) -> str:
        """To `[batch, *sizes]`, the batch written as `self.sizes` says."""
        if self.sizes == "computed":
            batch = self.unsqueeze(self.Gather(self.Shape(x), self.const(np.int64(0))), 0)
            return self.Reshape(x, self.Concat(batch, self.ints(*sizes), axis=0))
        if self.sizes == "minus" and -1 not in sizes:
            return self.Reshape(x, self.ints(-1, *sizes))
        first = self.batch if self.sizes == "stated" else 0
        return self.Reshape(x, self.ints(first, *sizes))

    def tokens(self, x: str, size: int, area: int) -> str:
        """`[N, C, H, W]` to `[N, H*W, C]`."""
        return self.Transpose(self.reshape(x, size, area), perm=[0, 2, 1])

    def image(self, x: str, size: int, *area: int) -> str:
        """`[N, H*W, C]` to `[N, C, H, W]`."""
        return self.reshape(self.Transpose(x, perm=[0, 2, 1]), size, *area)

    def heads(self, x: str, length: int, heads: int, width: int, key: bool = False) -> str:
        """`[N, L, H*D]` to `[N, H, L, D]`, or `[N, H, D, L]` for keys."""
        y = self.reshape(x, length, heads, width)
        return self.Transpose(y, perm=[0, 2, 3, 1] if key else [0, 2, 1, 3])

    def merge(self, x: str, length: int, size: int) -> str:
        """`[N, H, L, D]` to `[N, L, H*D]`."""
        return self.reshape(self.Transpose(x, perm=[0, 2, 1, 3]), length, size)

    def attend(self, q: str, k: str, v: str) -> str:
        """Softmax of scaled products, times values; `k` comes transposed."""
        weights = self.softmax(self.Mul(self.MatMul(q, k), self.scalar(0.5)), 4)
        return self.MatMul(weights, v)

    def done(self, *outputs: str) -> ModelProto:
        """The model; with value_info where sizes are stated, as some exporters write it."""
        kinds = {info.name: info.type.tensor_type.elem_type for info in self.inputs}
        own = helper.np_dtype_to_tensor_dtype(self.dtype)
        results = [
            helper.make_tensor_value_info(o, self.kinds.get(o, kinds.get(o, own)), None)
            for o in outputs
        ]
        inputs = list(self.inputs)
        if self.ir < 4:
            inputs += [
                helper.make_tensor_value_info(t.name, t.data_type, t.dims)
                for t in self.constants.values()
            ]
        weights = list(self.constants.values())
        graph = helper.make_graph(self.nodes, "net", inputs, results, weights)
        imports = [helper.make_opsetid("", self.opset)]
        imports += [helper.make_opsetid(d, 1) for d in {n.domain for n in self.nodes} - {""}]
        model = helper.make_model(graph, opset_imports=imports, ir_version=self.ir)
        model = onnx.shape_inference.infer_shapes(model)
        if self.sizes != "stated":
            del model.graph.value_info[:]
        return model

    @property
    def kinds(self) -> dict[str, int]:
        """Types of outputs that are positions, or inputs of any type as they are."""
        known = {info.name: info.type.tensor_type.elem_type for info in self.inputs}
        found = {}
        for node in self.nodes:
            if node.op_type in ("ArgMax", "Shape"):
                found[node.output[0]] = TensorProto.INT64
            elif node.op_type == "TopK":
                found[node.output[1]] = TensorProto.INT64
            elif node.op_type == "Identity" and node.input[0] in known:
                found[node.output[0]] = known[node.input[0]]
        return found
