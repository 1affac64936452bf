"""Statistics of folded BatchNormalizations: found where training left them, and only there."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

from spa import runtime
from spa.coupling import analyse
from spa.executor.moments import moments
from spa.executor.recovered import blocks_of, recover
from spa.executor.stream import Stream
from spa.executor.survey import survey
from spa.graph import read
from spa.pipeline import prune
from spa.recipe import Recipe
from spa.repairs import reconstruct
from spa.rewrite import rewrite

WIDE, NARROW, BLOCKS = 24, 8, 5
RANDOM = np.random.default_rng(5)


def images(count, seed, scale=1.0, shift=0.0):
    """Pictures that are smooth, so that channels of a convolution are not all alike."""
    rng = np.random.default_rng(seed)
    fine = rng.standard_normal((count, 3, 12, 12))
    coarse = rng.standard_normal((count, 3, 3, 3)).repeat(4, 2).repeat(4, 3)
    return [{"x": (scale * (0.5 * fine + coarse) + shift).astype(np.float32)}]


class Bottlenecks:
    """Inverted residual blocks, each convolution followed by a BatchNormalization."""

    def __init__(self, linear_shift):
        self.nodes, self.stored, self.shift = [], {}, linear_shift
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
        self.stored[name] = RANDOM.standard_normal(shape) / np.sqrt(np.prod(shape[1:]))
        pads = [kernel // 2] * 4
        return self.add("Conv", [x, name], group=group, pads=pads, kernel_shape=[kernel] * 2)

    def norm(self, x, size, shift):
        at = len(self.nodes)
        made = (RANDOM.uniform(0.5, 1.5, size), shift * RANDOM.standard_normal(size))
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


@pytest.fixture(scope="module")
def trained():
    """A folded model, what it was trained on, and something else."""
    real = images(64, seed=1)
    return Bottlenecks(0.0).folded(real), real, images(32, seed=2, scale=0.4, shift=0.3)


def spreads(coupling, feeds, found=None):
    """Standard deviations of what the blocks begin with."""
    graph = coupling.graph
    stream = Stream(graph.proto, graph, feeds, "cpu", found)
    made = []
    for block in blocks_of(graph):
        if block.first is not None:
            stream.run_to(block.first.index + 1, [block.first.outputs[0]])
            made.append(np.sqrt(moments(stream.values[block.first.outputs[0]])[1]))
    return made


def test_blocks_are_found_from_the_graph_alone(trained):
    blocks = list(blocks_of(trained[0].graph))
    assert len(blocks) == BLOCKS
    assert [b.first is None for b in blocks] == [True] + [False] * (BLOCKS - 1)
    assert all(b.last.attrs.get("group", 1) == 1 for b in blocks)


def test_means_and_spreads_come_back(trained):
    coupling, real, other = trained
    found = recover(coupling, other)
    graph = coupling.graph
    stream = Stream(graph.proto, graph, other, "cpu", found)
    for block in blocks_of(graph):
        name = block.last.outputs[0]
        stream.run_to(block.last.index + 1, [name])
        assert np.abs(moments(stream.values[name])[0]).max() < 0.02
    true, left, put_back = (
        np.concatenate(spreads(coupling, *args)) for args in ((real,), (other,), (other, found))
    )
    assert np.median(left / true) < 0.75
    assert abs(np.median(np.log(put_back / true))) < 0.5 * abs(np.median(np.log(left / true)))


def test_on_what_it_was_trained_on_nothing_moves(trained):
    coupling, real, _ = trained
    for scale, shift in recover(coupling, real).values():
        np.testing.assert_allclose(scale, 1)
        np.testing.assert_allclose(shift, 0, atol=0.05)


def test_a_model_whose_means_are_not_zero_is_left_alone():
    real = images(64, seed=1)
    assert recover(Bottlenecks(1.0).folded(real), real) == {}


def test_what_is_refitted_suits_what_the_model_was_trained_on(trained):
    coupling, real, other = trained
    alive = coupling.everything()
    for group in coupling.groups:
        if group.size == WIDE:
            alive[group.cells[:, WIDE * 2 // 3 :]] = False
    cut = rewrite(coupling, alive)

    def missed(model):
        outputs = [
            next(iter(runtime.run(runtime.session(m, device="cpu"), real[0]).values()))
            for m in (coupling.graph.proto, model)
        ]
        return np.linalg.norm(outputs[1] - outputs[0]) / np.linalg.norm(outputs[0])

    feeds = [{"x": x} for x in np.split(other[0]["x"], 4)]
    plain, better = (
        missed(reconstruct(coupling, alive, cut, feeds, batch_norm=on)[0]) for on in (False, True)
    )
    assert better < 0.85 * plain < missed(cut)


def test_the_option_reaches_scores_and_repair(trained, tmp_path):
    coupling, _, other = trained
    calib = tmp_path / "x.npz"
    np.savez(calib, x=other[0]["x"])
    notes, models = [], []
    for on in (True, False):
        recipe = Recipe(ratio=0.3, calib=str(calib), round_to=1, batch_norm=on, verify="none")
        done = prune(coupling.graph.proto, recipe)
        notes.append(any("folded away" in note for note in done.report["notes"]))
        models.append(done.model.SerializeToString())
    assert notes == [True, False] and models[0] != models[1]
