"""Products of bytes are proved on processors that add them in 16 bits, too."""

from __future__ import annotations

import importlib

import numpy as np
import pytest
from onnx import ModelProto, TensorProto, helper, numpy_helper

from spa import runtime
from spa.coupling import analyse
from spa.errors import VerifyError
from spa.graph import read
from spa.probes import plain
from spa.rewrite import rewrite
from spa.validate import verify
from spa.validate.bytes import unsigned
from spa.validate.gap import gap
from tests import oracles
from tests.nets import MOTIFS, Net
from tests.validate.test_verify import changed, swapped

proof = importlib.import_module("spa.validate.proof")
INTEGER = ("convolutions_of_bytes", "products_of_bytes", "attention_of_bytes")


LARGEST = {True: 32767.0, False: 3e38}


def saturating(model: ModelProto, saturates: bool = True) -> ModelProto:
    """MatMulInteger as a processor does it that adds two products of u8 and s8 in 16 bits.

    Or the same steps without a bound: what is right, on any processor.
    """
    result = ModelProto()
    result.CopyFrom(model)
    stored = {t.name: t for t in model.graph.initializer}
    nodes = list(result.graph.node)
    del result.graph.node[:]
    for node in nodes:
        weight = stored.get(node.input[1]) if node.op_type == "MatMulInteger" else None
        if weight is None or weight.data_type != TensorProto.INT8:
            result.graph.node.append(node)
            continue
        parts = _saturating(result, node, numpy_helper.to_array(weight), LARGEST[saturates])
        result.graph.node.extend(parts)
    return result


def _saturating(model, node, weight, largest):
    (rows, columns), out = weight.shape, node.output[0]
    padded = np.pad(weight.astype(np.float32), [(0, rows % 2), (0, 0)]).reshape(1, -1, 2, columns)

    def const(word, value):
        model.graph.initializer.append(numpy_helper.from_array(np.array(value), f"{out}_{word}"))
        return f"{out}_{word}"

    def make(op, inputs, word, **attrs):
        made.append(helper.make_node(op, inputs, [f"{out}_{word}"], **attrs))
        return f"{out}_{word}"

    made = []
    a = make("Cast", [node.input[0]], "a", to=TensorProto.FLOAT)
    flat = make("Reshape", [a, const("rows", np.array([-1, rows]))], "flat")
    full = make("Pad", [flat, const("pads", np.array([0, 0, 0, rows % 2]))], "full")
    two = make("Reshape", [full, const("two", np.array([-1, (rows + 1) // 2, 2, 1]))], "pairs")
    products = make("Mul", [two, const("b", padded)], "products")
    pairs = make("ReduceSum", [products, const("axis", np.array([2]))], "sums", keepdims=0)
    low, high = const("low", np.float32(-largest)), const("high", np.float32(largest))
    cut = make("Clip", [pairs, low, high], "cut")
    total = make("ReduceSum", [cut, const("first", np.array([1]))], "total", keepdims=0)
    zero = make("Cast", [node.input[2]], "zero", to=TensorProto.FLOAT)
    whole = make("Mul", [zero, const("sum", weight.sum(0, dtype=np.float32))], "whole")
    exact = make("Cast", [make("Sub", [total, whole], "exact")], "int", to=TensorProto.INT32)
    shape = make("Slice", [make("Shape", [a], "shape"), const("from", np.array([0])),
                           const("to", np.array([-1]))], "lead")  # fmt: skip
    full_shape = make("Concat", [shape, const("n", np.array([columns]))], "size", axis=0)
    made.append(helper.make_node("Reshape", [exact, full_shape], [out]))
    return made


def large():
    """Sums of large products of bytes."""
    n = Net(opset=17, batch="N")

    def through(x, read, make):
        q, size, zero = n.DynamicQuantizeLinear(x, outs=3)
        weight = n.random.choice([-127, 127, 120, -90], (read, make)).astype(np.int8)
        y = n.Cast(n.MatMulInteger(q, n.const(weight), zero), to=TensorProto.FLOAT)
        return n.Mul(y, n.Mul(size, n.scalar(0.01)))

    y = n.Relu(n.linear(n.input("x", 6, 5), 5, 16))
    return n.done(through(n.Relu(through(y, 16, 12)), 12, 4))


@pytest.fixture
def old_processor(monkeypatch):
    """Every session saturates."""
    session = runtime.session

    def loaded(model, **options):
        return session(saturating(model) if isinstance(model, ModelProto) else model, **options)

    monkeypatch.setattr(runtime, "session", loaded)


def pruned(seed=1):
    coupling = analyse(read(large()), strict=True)
    alive = oracles.scattered(0.5, seed)(coupling)
    return coupling, alive, rewrite(coupling, alive)


def test_the_same_model_without_saturation():
    feeds = plain.feeds(read(large()), 0)
    models = large(), saturating(large(), False), saturating(large())
    usual, right, other = (runtime.run(runtime.session(m, optimize=False), feeds) for m in models)
    assert gap(right, other).error > 1e-2
    assert min(gap(right, usual).error, gap(other, usual).error) < 1e-5  # by the processor


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_proved_on_a_processor_that_saturates(old_processor, seed):
    verdict = verify(*pruned(seed))
    assert verdict.equivalence < 1e-5 and verdict.proof == "complete"


def test_that_would_fail_with_signed_weights(old_processor, monkeypatch):
    monkeypatch.setattr(proof, "unsigned", lambda model, dtypes: model)
    with pytest.raises(VerifyError, match="differs"):
        for seed in (1, 2, 3):
            verify(*pruned(seed))


def test_mistakes_show_all_the_same(old_processor):
    coupling, alive, small = pruned()
    weights = {t.name: t for t in small.graph.initializer if t.data_type == TensorProto.INT8}
    assert len(weights) == 2
    for name in weights:
        with pytest.raises(VerifyError):
            verify(coupling, alive, changed(small, name, swapped))


def small_weights(model: ModelProto) -> ModelProto:
    """The model with weights of which no two saturate."""
    for tensor in model.graph.initializer:
        if tensor.data_type == TensorProto.INT8 and len(tensor.dims) > 1:
            halved = numpy_helper.to_array(tensor) // 2
            tensor.CopyFrom(numpy_helper.from_array(halved, tensor.name))
    return model


@pytest.mark.parametrize("name", INTEGER)
def test_nothing_else_changes(name):
    graph = read(small_weights(MOTIFS[name].build()))
    moved = unsigned(graph.proto, graph.dtypes)
    assert moved is not graph.proto
    feeds = plain.feeds(graph)
    want, got = (
        runtime.run(runtime.session(m, optimize=False), feeds) for m in (graph.proto, moved)
    )
    assert gap(want, got).error == 0


def test_models_without_bytes_stay():
    graph = read(MOTIFS["residual"].build())
    assert unsigned(graph.proto, graph.dtypes) is graph.proto


def test_checks_ask_for_exact_kernels():
    loaded = runtime.session(large())
    key = "session.x64quantprecision"
    assert loaded.get_session_options().get_session_config_entry(key) == "1"
    timed = runtime.session(large(), timed=True).get_session_options()
    with pytest.raises(Exception, match="x64quantprecision"):
        timed.get_session_config_entry(key)
