"""The input itself is run once beside its normalised copy; what they may not share is told."""

from __future__ import annotations

import io

import onnx
import pytest
from onnx import helper

import spa
from spa.errors import ReadError
from spa.graph import read
from spa.rules import TRAITS
from spa.validate.original import Original
from spa.validate.own import check_own
from tests.nets.layers import convolutions
from tests.validate.test_borders import drawn, first, largest, tied
from tests.validate.test_runs import plugged
from tests.validate.test_verify import changed, weights


def plain():
    return convolutions(3, 8, 4, batch="N")


def with_function(name):
    """A model whose Relu is a local function, which doubles; onnxruntime has an op of that name."""
    model = plain()
    double = [helper.make_node("Add", ["a", "a"], ["b"])]
    opset = [helper.make_opsetid("", 17)]
    domain = "" if name == "Relu" else "own"
    model.functions.append(helper.make_function(domain, name, ["a"], ["b"], double, opset))
    for node in model.graph.node:
        if node.op_type == "Relu":
            node.op_type, node.domain = name, domain
    if domain:
        model.opset_import.append(helper.make_opsetid(domain, 1))
    return model


def test_a_function_that_the_runtime_overrides():
    graph = read(with_function("Relu"))
    with pytest.raises(ReadError, match="local functions named Relu") as caught:
        check_own(Original(graph))
    assert len(str(caught.value)) < 1000


def test_nothing_is_written_then(tmp_path):
    path, output = tmp_path / "a.onnx", tmp_path / "b.onnx"
    path.write_bytes(with_function("Relu").SerializeToString())
    with pytest.raises(ReadError, match="computes something else"):
        spa.prune(path, 0.3, scorer="l2", round_to=1, output=output)
    assert not output.exists()
    with pytest.raises(ReadError, match="computes something else"):
        spa.verify(path, path)


@pytest.mark.parametrize(
    "model",
    [plain(), with_function("Twice"), drawn(), tied(largest), tied(first), plugged()],
    ids=["plain", "function", "random", "top-k", "arg-max", "plugin"],
)
def test_what_is_the_same_passes(model, tmp_path):
    path = tmp_path / "a.onnx"
    data = model.SerializeToString()
    path.write_bytes(data)
    for given in (path, data, model, io.BytesIO(data)):
        graph = read(given)
        assert graph.source.model() is not None
        check_own(Original(graph))


def test_what_changes_from_run_to_run_is_let_pass(monkeypatch):
    """Even where nobody knows which operator draws.

    The runtime draws by the number of a node, which differs where a Constant was lifted.
    """
    monkeypatch.delitem(TRAITS, ("", "RandomNormalLike"))
    model = drawn()
    stored = model.graph.initializer[-1]
    made = helper.make_node("Constant", [], [stored.name], value=stored)
    nodes = [made, *model.graph.node]
    del model.graph.node[:], model.graph.initializer[-1]
    model.graph.node.extend(nodes)
    check_own(Original(read(model)))


def test_numbers_drawn_otherwise_are_no_mistake(monkeypatch):
    """The copy has two nodes less, as they were folded, so that the runtime draws other numbers."""
    monkeypatch.delitem(TRAITS, ("", "RandomNormalLike"))
    model = drawn()
    bias = model.graph.node[-1].input[1]
    negated = [helper.make_node("Neg", [bias], ["a"]), helper.make_node("Neg", ["a"], ["b"])]
    model.graph.node[-1].input[1] = "b"
    nodes = [*negated, *model.graph.node]
    del model.graph.node[:]
    model.graph.node.extend(nodes)
    graph = read(model)
    assert len(graph.order) == len(nodes) - 2
    check_own(Original(graph))


def broken(model):
    """The graph of a model whose copy was folded wrongly."""
    graph = read(model.SerializeToString())
    name = next(k for k, a in weights(model).items() if a.ndim > 1)
    graph.proto.CopyFrom(changed(graph.proto, name, lambda a: a * 1.1))
    return graph


@pytest.mark.parametrize("model", [plain(), tied(largest), tied(first)])
def test_a_mistake_in_the_copy(model):
    with pytest.raises(ReadError, match="computes something else"):
        check_own(Original(broken(model)))


def test_external_data_are_found(tmp_path):
    model = plain()
    path = tmp_path / "a.onnx"
    onnx.save(model, path, save_as_external_data=True, location="a.data", size_threshold=0)
    check_own(Original(read(path)))
    bare = onnx.load(path, load_external_data=False)
    check_own(Original(read(bare, base_dir=tmp_path)))
    check_own(Original(read(bare.SerializeToString(), base_dir=tmp_path)))
