"""Inverted residual blocks as they are trained, and as exporters write them."""

from __future__ import annotations

import numpy as np
import onnx
from onnx import helper, numpy_helper

from spa.coupling import analyse
from spa.executor.survey import survey
from spa.graph import read

WIDE, NARROW, BLOCKS = 24, 8, 5


class Bottlenecks:
    """Inverted residual blocks, each convolution followed by a BatchNormalization."""

    def __init__(self, linear_shift, seed=5):
        self.nodes, self.stored = [], {}
        self.random = np.random.default_rng(seed)
        at = self.rectified(self.conv("x", 3, NARROW, 3), NARROW)
        for _ in range(BLOCKS):
            y = self.rectified(self.conv(at, NARROW, WIDE, 1), WIDE)
            y = self.rectified(self.conv(y, WIDE, WIDE, 3, group=WIDE), WIDE)
            y = self.norm(self.conv(y, WIDE, NARROW, 1), NARROW, linear_shift)
            at = y if at.startswith("relu") else self.add("Add", [at, y])
        y = self.rectified(self.conv(at, NARROW, WIDE, 1), WIDE)
        self.out = self.add("GlobalAveragePool", [y])

    def add(self, op, inputs, **attributes):
        name = f"{op.lower()}{len(self.nodes)}"
        self.nodes.append(helper.make_node(op, inputs, [name], name=name, **attributes))
        return name

    def conv(self, x, before, after, kernel, group=1):
        name = f"w{len(self.nodes)}"
        shape = (after, before // group, kernel, kernel)
        self.stored[name] = self.random.standard_normal(shape) / np.sqrt(np.prod(shape[1:]))
        pads = [kernel // 2] * 4
        return self.add("Conv", [x, name], group=group, pads=pads, kernel_shape=[kernel] * 2)

    def norm(self, x, size, shift):
        at = len(self.nodes)
        made = (self.random.uniform(0.5, 1.5, size), shift * self.random.standard_normal(size))
        names = [f"{word}{at}" for word in ("scale", "shift", "mean", "var")]
        zeros, ones = np.zeros(size), np.ones(size)
        self.stored |= dict(zip(names, (*made, zeros, ones), strict=True))
        return self.add("BatchNormalization", [x, *names])

    def rectified(self, x, size):
        return self.add("Relu", [self.norm(x, size, 0.7)])

    def model(self, nodes):
        arrays = [numpy_helper.from_array(v.astype(np.float32), k) for k, v in self.stored.items()]
        value = helper.make_tensor_value_info
        graph = helper.make_graph(
            nodes,
            "bottlenecks",
            [value("x", 1, ("N", 3, 12, 12))],
            [value(self.out, 1, None)],
            arrays,
        )
        opset = helper.make_opsetid("", 17)
        made = helper.make_model(graph, opset_imports=[opset], ir_version=8)
        return onnx.shape_inference.infer_shapes(made)

    def folded(self, feeds):
        """The model as trained on `feeds` (statistics are theirs), and as exporters write it."""
        whole = analyse(read(self.model(self.nodes)), strict=True)
        self.stored |= survey(whole, feeds).statistics
        nodes, after = [], {n.input[0]: n for n in self.nodes if n.op_type[0] == "B"}
        for node in self.nodes:
            norm = after.get(node.output[0])
            if norm is not None:
                scale, shift, mean, var = (self.stored[k] for k in norm.input[1:])
                factor = scale / np.sqrt(var + 1e-5)
                self.stored[node.input[1]] *= factor.reshape(-1, 1, 1, 1)
                bias = f"b{len(nodes)}"
                self.stored[bias] = shift - mean * factor
                made = onnx.NodeProto()
                made.CopyFrom(node)
                made.input.append(bias)
                made.output[0] = norm.output[0]
                nodes.append(made)
            elif node.op_type != "BatchNormalization":
                nodes.append(node)
        return analyse(read(self.model(nodes)), strict=True)
