"""The module itself: names, inputs, modes, what is asked for and what is refused."""

from __future__ import annotations

import copy
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

torch = pytest.importorskip("torch")

import spa.torch  # noqa: E402
from spa.errors import ReadError, UsageError  # noqa: E402
from tests.nets import MOTIFS  # noqa: E402
from tests.torch.beside import Beside, apart  # noqa: E402

MODELS = Path(__file__).parents[2] / "models"


def model_of(nodes, inputs, outputs, weights, opset=17):
    """A model of float tensors; shapes as tuples."""
    info = [
        [helper.make_tensor_value_info(n, 1, shape) for n, shape in each.items()]
        for each in (inputs, outputs)
    ]
    stored = [numpy_helper.from_array(np.asarray(v), n) for n, v in weights.items()]
    graph = helper.make_graph(nodes, "g", *info, stored)
    opsets = [helper.make_opsetid("", opset), helper.make_opsetid("com.microsoft", 1)]
    return helper.make_model(graph, opset_imports=opsets, ir_version=10)


def floats(*shape, seed=0):
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def linear():
    weights = {
        "enc.0.w": floats(4, 3),
        "enc.0.b": floats(3),
        "enc": np.float32(2),
        "c..d.": floats(3),
    }
    nodes = [
        helper.make_node("MatMul", ["x", "enc.0.w"], ["h"]),
        helper.make_node("Add", ["h", "enc.0.b"], ["a"]),
        helper.make_node("Mul", ["a", "enc"], ["b"]),
        helper.make_node("Add", ["b", "c..d."], ["y"]),
    ]
    return model_of(nodes, {"x": ("n", 4)}, {"y": ("n", 3)}, weights)


# Parameters


def test_parameters_have_the_names_of_initializers():
    module = spa.torch.load(linear())
    names = {"enc.0.w", "enc.0.b", "enc", "c..d."}
    assert {name for name, _ in module.named_parameters()} == names
    assert module.state_dict().keys() == names
    assert module.parameter("enc.0.w").shape == (4, 3)
    with pytest.raises(UsageError, match="no parameter 'x'"):
        module.parameter("x")
    other = spa.torch.load(linear())
    with torch.no_grad():
        for p in other.parameters():
            p.zero_()
    other.load_state_dict(module.state_dict())
    x = torch.randn(2, 4)
    assert torch.equal(other(x), module(x))


def test_functions_of_torch_take_it_as_any_module():
    module = spa.torch.load(linear())
    x = torch.randn(2, 4)
    doubled = {name: 2 * p for name, p in module.named_parameters() if name.startswith("enc.")}
    found = torch.func.functional_call(module, doubled, (x,))
    assert not torch.equal(found, module(x))
    twin = copy.deepcopy(module)
    with torch.no_grad():
        twin.parameter("enc.0.b").add_(1)
    assert not torch.equal(twin(x), module(x))
    assert torch.equal(copy.deepcopy(module)(x), module(x))


def test_trainable():
    def learning(**options):
        module = spa.torch.load(linear(), **options)
        return {name for name, p in module.named_parameters() if p.requires_grad}

    assert learning() == {"enc.0.w", "enc.0.b", "c..d."}  # not the single number
    assert learning(trainable=["enc"]) == {"enc"}
    assert learning(trainable=lambda name: name.endswith(".b")) == {"enc.0.b"}
    assert learning(trainable=[]) == set()
    with pytest.raises(UsageError, match="'nope'"):
        learning(trainable=["nope"])


def test_what_steers_is_no_parameter():
    weights = {
        "low": np.float32(0),
        "high": np.float32(6),
        "two": np.float32(2),
        "pads": np.array([0, 1, 0, 1]),
        "fill": np.float32(1),
        "least": floats(6),
        "w": floats(6),
    }
    nodes = [
        helper.make_node("Clip", ["x", "low", "high"], ["a"]),
        helper.make_node("Pow", ["a", "two"], ["b"]),
        helper.make_node("Pad", ["b", "pads", "fill"], ["c"]),
        helper.make_node("Greater", ["c", "least"], ["d"]),
        helper.make_node("Where", ["d", "c", "w"], ["y"]),
    ]
    module = spa.torch.load(model_of(nodes, {"x": (2, 4)}, {"y": (2, 6)}, weights))
    assert [name for name, _ in module.named_parameters()] == ["w"]
    assert {name for name, _ in module.named_buffers()} == weights.keys() - {"w"}


def test_weights_before_a_choice_are_parameters():
    """No gradient passes ArgMax, but one passes what is asked for before it."""
    nodes = [
        helper.make_node("MatMul", ["x", "w"], ["scores"]),
        helper.make_node("ArgMax", ["scores"], ["y"], axis=1),
    ]
    model = model_of(nodes, {"x": ("n", 4)}, {"y": ("n", 1)}, {"w": floats(4, 3)})
    model.graph.output[0].type.tensor_type.elem_type = 7
    module = spa.torch.load(model)
    module.run({"x": torch.ones(2, 4)}, ["scores"])["scores"].sum().backward()
    assert module.parameter("w").grad is not None


def test_equal_initializers_stay_apart_and_shared_ones_shared():
    weights = {"a": floats(3), "b": floats(3)}
    nodes = [
        helper.make_node("Mul", ["x", "a"], ["h"]),
        helper.make_node("Mul", ["h", "b"], ["i"]),
        helper.make_node("Mul", ["i", "a"], ["y"]),
    ]
    module = spa.torch.load(model_of(nodes, {"x": (3,)}, {"y": (3,)}, weights))
    x = torch.ones(3)
    module(x).sum().backward()
    a, b = module.parameter("a"), module.parameter("b")
    torch.testing.assert_close(a.grad, 2 * a.detach() * b.detach())
    torch.testing.assert_close(b.grad, a.detach() ** 2)


# Inputs and outputs


def two():
    nodes = [
        helper.make_node("Add", ["x", "y"], ["sum"]),
        helper.make_node("Sub", ["x", "y"], ["less"]),
        helper.make_node("Mul", ["sum", "by"], ["more"]),
    ]
    made = model_of(nodes, {"x": ("n",), "y": ("n",)}, {"more": ("n",), "less": ("n",)}, {})
    made.graph.initializer.append(numpy_helper.from_array(np.float32(3), "by"))
    made.graph.input.append(helper.make_tensor_value_info("by", 1, ()))
    many = [numpy_helper.from_array(floats(9), f"idle{k}") for k in range(3)]
    made.graph.initializer.extend(many)
    return made


def test_inputs_by_order_and_by_name():
    module = spa.torch.load(two())
    assert module.input_names == ("x", "y")
    assert module.option_names == ("by",)
    assert module.output_names == ("more", "less")
    x, y = torch.tensor([1.0, 2.0]), torch.tensor([3.0, 5.0])
    for found in (module(x, y), module(x, y=y), module(y=y, x=x), module(x.numpy(), y.numpy())):
        assert isinstance(found, tuple)
        torch.testing.assert_close(found[0], 3 * (x + y))
        torch.testing.assert_close(found[1], x - y)
    torch.testing.assert_close(module(x, y, torch.tensor(2.0))[0], 2 * (x + y))
    with pytest.raises(UsageError, match="'y' is missing"):
        module(x)
    with pytest.raises(UsageError, match="given twice"):
        module(x, x=x)
    with pytest.raises(UsageError, match="no tensor 'z'"):
        module(x, z=x)
    with pytest.raises(UsageError, match="3 inputs, 4 were given"):
        module(x, y, x, y)


def test_only_what_is_asked_for_is_computed():
    module = spa.torch.load(two())
    x = torch.tensor([1.0, 2.0])
    found = module.run({"x": x, "y": x}, ["sum"])
    assert list(found) == ["sum"]
    torch.testing.assert_close(found["sum"], 2 * x)
    found = module.run({"sum": x}, ["more"])  # from a tensor inside, without the inputs
    torch.testing.assert_close(found["more"], 3 * x)
    found = module.run({"x": x, "y": x}, ["x", "by", "less"])
    assert torch.equal(found["x"], x) and found["by"] == 3
    with pytest.raises(UsageError, match="no tensor 'nope'"):
        module.run({"x": x, "y": x}, ["nope"])


def test_axes_stay_open():
    module = spa.torch.load(linear())
    for n in (1, 5, 0):
        assert module(torch.randn(n, 4)).shape == (n, 3)
    with pytest.raises(ReadError, match=r"MatMul node 'h'.*cannot be computed"):
        module(torch.randn(2, 5))


def test_a_result_of_spa_is_a_model():
    class Result:
        model = linear()
        base_dir = None

    assert spa.torch.load(Result()).output_names == ("y",)
    assert spa.torch.load(linear().SerializeToString()).output_names == ("y",)


# Modes


def normed():
    weights = {"s": floats(3), "b": floats(3), "m": floats(3), "v": np.abs(floats(3)) + 0.5}
    nodes = [helper.make_node("BatchNormalization", ["x", *weights], ["y"], momentum=0.8)]
    return model_of(nodes, {"x": ("n", 3)}, {"y": ("n", 3)}, weights)


def test_norms():
    x = torch.randn(16, 3, generator=torch.Generator().manual_seed(0)) * 2 + 1
    first = numpy_helper.to_array(normed().graph.initializer[2]).copy()
    frozen = spa.torch.load(normed()).train()
    assert {n for n, _ in frozen.named_parameters()} == {"s", "b"}
    stored = frozen.eval()(x)
    assert torch.equal(frozen.train()(x), stored)
    for norms in ("train", "batch"):
        module = spa.torch.load(normed(), norms=norms)
        assert torch.equal(module(x), stored)  # loaded in eval()
        y = module.train()(x).detach()
        s, b = module.parameter("s").detach(), module.parameter("b").detach()
        torch.testing.assert_close(
            (y - b) / s, (x - x.mean(0)) / (x.var(0, correction=0) + 1e-5).sqrt()
        )
        mean = module.state_dict()["m"].clone()
        module(x + 1)
        later = module.state_dict()["m"].clone()
        if norms == "train":
            torch.testing.assert_close(mean, 0.8 * torch.from_numpy(first) + 0.2 * x.mean(0))
            torch.testing.assert_close(later, 0.8 * mean + 0.2 * (x + 1).mean(0))
        else:  # the average over all batches
            torch.testing.assert_close(mean, x.mean(0))
            torch.testing.assert_close(later, x.mean(0) + 0.5)
        assert torch.equal(module.eval()(x), module(x))
    with pytest.raises(UsageError, match="norms is one of"):
        spa.torch.load(normed(), norms="nope")


def test_statistics_are_written_back(tmp_path):
    module = spa.torch.load(normed(), norms="batch").train()
    x = torch.randn(64, 3)
    module(x)
    spa.torch.save(module.eval(), tmp_path / "m.onnx")
    beside = Beside(str(tmp_path / "m.onnx"))
    assert apart(module(x).detach().numpy(), beside.run({"x": x.numpy()})["y"]) < 1e-5


def test_dropout_follows_the_file_and_the_mode():
    weights = {"ratio": np.float32(0.5), "on": np.array(True), "off": np.array(False)}
    nodes = [
        helper.make_node("Dropout", ["x", "ratio", "on"], ["y"]),
        helper.make_node("Dropout", ["x", "ratio", "off"], ["z"]),
    ]
    module = spa.torch.load(model_of(nodes, {"x": (100,)}, {"y": (100,), "z": (100,)}, weights))
    x = torch.ones(100)
    assert all(torch.equal(v, x) for v in module(x))
    y, z = module.train()(x)
    assert torch.equal(z, x)
    assert set(y.tolist()) == {0.0, 2.0}


# Types


def test_quantisers_pass_gradients_straight_through():
    weights = {"s": np.float32(0.1), "z": np.int8(3), "w": floats(4)}
    nodes = [
        helper.make_node("Mul", ["x", "w"], ["a"]),
        helper.make_node("QuantizeLinear", ["a", "s", "z"], ["q"]),
        helper.make_node("Reshape", ["q", "shape"], ["r"]),
        helper.make_node("DequantizeLinear", ["r", "s", "z"], ["y"]),
    ]
    weights["shape"] = np.array([2, 2])
    module = spa.torch.load(model_of(nodes, {"x": (4,)}, {"y": (2, 2)}, weights))
    assert [n for n, _ in module.named_parameters()] == ["w"]
    x = torch.tensor([1.0, -2.0, 1000.0, -1000.0], requires_grad=True)
    y = module(x)
    y.sum().backward()
    w = module.parameter("w").detach()
    torch.testing.assert_close(x.grad, torch.cat([w[:2], torch.zeros(2)]))  # the rest is clamped
    found = module.run({"x": x}, ["q", "r", "y"])
    assert found["q"].dtype == found["r"].dtype == torch.int8
    torch.testing.assert_close(found["y"], y)


@pytest.mark.parametrize("name", ["half_precision", "mixed_precision"])
def test_half_precision_learns(name):
    module = spa.torch.load(MOTIFS[name].build())
    halves = [p for p in module.parameters() if p.dtype in (torch.float16, torch.bfloat16)]
    assert halves
    feeds = Beside(MOTIFS[name].build()).feeds()
    sum(v.float().sum() for v in module.run(feeds).values()).backward()
    assert all(p.grad is not None and p.grad.dtype == p.dtype for p in halves if p.dim())


# Bodies and functions


def test_gradients_go_through_loops_and_branches():
    """y = x w^3, if its sum is above 0, else 0."""
    body = helper.make_graph(
        [
            helper.make_node("Mul", ["h", "w"], ["next"]),
            helper.make_node("Identity", ["on"], ["on2"]),
        ],
        "body",
        [
            helper.make_tensor_value_info("k", 7, []),
            helper.make_tensor_value_info("on", 9, []),
            helper.make_tensor_value_info("h", 1, [3]),
        ],
        [
            helper.make_tensor_value_info("on2", 9, []),
            helper.make_tensor_value_info("next", 1, [3]),
        ],
    )
    then, other = (
        helper.make_graph(
            [helper.make_node("Mul", ["z", f"c{k}"], [f"r{k}"])],
            f"b{k}",
            [],
            [helper.make_tensor_value_info(f"r{k}", 1, [3])],
            [numpy_helper.from_array(np.float32(k) * np.ones(3, np.float32), f"c{k}")],
        )
        for k in (1, 0)
    )
    nodes = [
        helper.make_node("Loop", ["three", "", "x"], ["z"], body=body),
        helper.make_node("ReduceSum", ["z"], ["sum"], keepdims=0),
        helper.make_node("Greater", ["sum", "zero"], ["above"]),
        helper.make_node("If", ["above"], ["y"], then_branch=then, else_branch=other),
    ]
    weights = {"w": np.array([1, 2, 3], np.float32), "three": np.array(3), "zero": np.float32(0)}
    module = spa.torch.load(model_of(nodes, {"x": (3,)}, {"y": (3,)}, weights))
    assert {n for n, _ in module.named_parameters()} == {"w", "c0", "c1"}
    w = module.parameter("w")
    y = module(torch.ones(3))
    torch.testing.assert_close(y, w.detach() ** 3)
    y.sum().backward()
    torch.testing.assert_close(w.grad, 3 * w.detach() ** 2)
    torch.testing.assert_close(module.parameter("c1").grad, w.detach() ** 3)
    assert module.parameter("c0").grad is None
    assert torch.equal(module(-torch.ones(3)), torch.zeros(3))


def test_functions_of_the_file_are_inlined():
    function = helper.make_function(
        "mine", "Twice", ["a"], ["b"], [helper.make_node("Add", ["a", "a"], ["b"])],
        [helper.make_opsetid("", 17)],
    )  # fmt: skip
    node = helper.make_node("Twice", ["x"], ["y"], domain="mine")
    model = model_of([node], {"x": (2,)}, {"y": (2,)}, {})
    model.functions.append(function)
    model.opset_import.append(helper.make_opsetid("mine", 1))
    assert torch.equal(spa.torch.load(model)(torch.ones(2)), 2 * torch.ones(2))


# Refusals


def test_an_operator_without_a_function_is_named():
    node = helper.make_node("StringNormalizer", ["x"], ["y"], name="norm")
    model = model_of([node], {"x": (2,)}, {"y": (2,)}, {})
    with pytest.raises(
        ReadError, match=r"^StringNormalizer node 'norm' .*; prune the model without"
    ):
        spa.torch.load(model)
    node = helper.make_node("Thing", ["x"], ["y"], name="it", domain="mine")
    with pytest.raises(ReadError, match=r"^Thing node 'it' .*of mine"):
        spa.torch.load(model_of([node], {"x": (2,)}, {"y": (2,)}, {}))


def test_damaged_files_are_refused(tmp_path):
    with pytest.raises(ReadError, match="does not exist"):
        spa.torch.load(tmp_path / "none.onnx")
    (tmp_path / "cut.onnx").write_bytes((MODELS / "digits.onnx").read_bytes()[:-100])
    with pytest.raises(ReadError):
        spa.torch.load(tmp_path / "cut.onnx")
    model = linear()
    model.graph.initializer[0].raw_data = b"1234"
    with pytest.raises(ReadError, match="holds 4 bytes"):
        spa.torch.load(model)


def test_an_operator_can_be_added():
    from spa.torch.registry import OPERATORS, op

    @op("Thing", domain="mine")
    def thing(x, *, by=1.0):
        return x * by

    try:
        node = helper.make_node("Thing", ["x"], ["y"], domain="mine", by=3.0)
        model = model_of([node], {"x": (2,)}, {"y": (2,)}, {})
        model.opset_import.append(helper.make_opsetid("mine", 1))
        assert torch.equal(spa.torch.load(model)(torch.ones(2)), 3 * torch.ones(2))
        with pytest.raises(ValueError, match="twice"):
            op("Thing", domain="mine")(thing)
    finally:
        del OPERATORS["mine", "Thing"]


def test_without_torch_a_sentence_says_what_to_install():
    code = "import sys; sys.modules['torch'] = None\nimport spa.torch\nspa.torch.load('x.onnx')"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert 'pip install "onnx-spa[torch]"' in done.stderr.splitlines()[-1]


def test_opset_6_and_older():
    """What is converted to be read is written back as it was."""
    nodes = [helper.make_node("Add", ["x", "b"], ["y"], broadcast=1, axis=1)]
    model = model_of(nodes, {"x": (2, 3), "b": (3,)}, {"y": (2, 3)}, {"b": floats(3)}, opset=6)
    model.ir_version = 3
    onnx.checker.check_model(model)
    module = spa.torch.load(model)
    x = torch.randn(2, 3)
    torch.testing.assert_close(module(x), x + module.parameter("b"))
