"""Writing back: what was trained and nothing else."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

torch = pytest.importorskip("torch")

import spa.torch  # noqa: E402
from spa.errors import ReadError, UsageError  # noqa: E402
from tests.nets import MOTIFS  # noqa: E402

MODELS = Path(__file__).parents[2] / "models"


def moved(module):
    """All parameters moved a little; their names."""
    with torch.no_grad():
        for p in module.parameters():
            p += 0.01
    return {name for name, _ in module.named_parameters()}


def stored(model, folder=None):
    return {t.name: numpy_helper.to_array(t, folder or "") for t in model.graph.initializer}


@pytest.mark.parametrize("name", ["digits", "fashion"])
def test_untrained_files_stay_as_they_are(name, tmp_path):
    path = MODELS / f"{name}.onnx"
    spa.torch.save(spa.torch.load(path), tmp_path / "same.onnx")
    assert (tmp_path / "same.onnx").read_bytes() == path.read_bytes()


@pytest.mark.parametrize("name", MOTIFS)
def test_untrained_nets_stay_as_they_are(name, tmp_path):
    data = MOTIFS[name].build().SerializeToString()
    spa.torch.save(spa.torch.load(data), tmp_path / "same.onnx")
    assert (tmp_path / "same.onnx").read_bytes() == data


def test_only_what_was_trained_is_new(tmp_path):
    before = onnx.load(MODELS / "digits.onnx")
    module = spa.torch.load(MODELS / "digits.onnx")
    names = moved(module)
    spa.torch.save(module, tmp_path / "new.onnx")
    after = onnx.load(tmp_path / "new.onnx")
    old, new = stored(before), stored(after)
    assert old.keys() == new.keys()
    for key in old:
        if key in names:
            np.testing.assert_allclose(new[key], old[key] + np.float32(0.01), rtol=1e-6)
        else:
            np.testing.assert_array_equal(new[key], old[key])
    by_name = {t.name: t for t in before.graph.initializer}
    for tensor in after.graph.initializer:
        tensor.CopyFrom(by_name[tensor.name])
    assert after.SerializeToString() == before.SerializeToString()


def test_every_way_of_storing_a_number(tmp_path):
    """Raw, in typed fields, in halves, in a Constant and in a body."""
    weights = [
        helper.make_tensor("raw", 1, [2], np.array([1, 2], np.float32).tobytes(), raw=True),
        helper.make_tensor("typed", 1, [2], [1.0, 2.0]),
        helper.make_tensor("double", TensorProto.DOUBLE, [2], [1.0, 2.0]),
        helper.make_tensor("half", TensorProto.FLOAT16, [2], [1.0, 2.0]),
        helper.make_tensor("brain", TensorProto.BFLOAT16, [2], [1.0, 2.0]),
        helper.make_tensor("on", TensorProto.BOOL, [], [True]),
    ]
    held = numpy_helper.from_array(np.array([1, 2], np.float32))
    body = [
        helper.make_graph(
            [helper.make_node("Mul", ["x6", "inside"], [f"y{k}"])],
            f"g{k}",
            [],
            [helper.make_tensor_value_info(f"y{k}", 1, [2])],
            [numpy_helper.from_array(np.array([k, 2], np.float32), "inside")],
        )
        for k in (0, 1)
    ]
    nodes = [
        helper.make_node("Mul", ["x", "raw"], ["x1"]),
        helper.make_node("Mul", ["x1", "typed"], ["x2"]),
        *(
            node
            for k, (name, kind) in enumerate([("double", 11), ("half", 10), ("brain", 16)], 2)
            for node in (
                helper.make_node("Cast", [name], [f"c{k}"], to=1),
                helper.make_node("Mul", [f"x{k}", f"c{k}"], [f"x{k + 1}"]),
            )
            if kind
        ),
        helper.make_node("Constant", [], ["list"], value_floats=[3.0, 4.0]),
        helper.make_node("Constant", [], ["tensor"], value=held),
        helper.make_node("Mul", ["x5", "list"], ["z"]),
        helper.make_node("Mul", ["z", "tensor"], ["x6"]),
        helper.make_node("If", ["on"], ["y"], then_branch=body[1], else_branch=body[0]),
    ]
    info = [helper.make_tensor_value_info(n, 1, [2]) for n in ("x", "y")]
    graph = helper.make_graph(nodes, "g", info[:1], info[1:], weights)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    data = model.SerializeToString()
    module = spa.torch.load(data)
    names = "raw typed double half brain list tensor inside inside_2".split()
    assert sorted(name for name, _ in module.named_parameters()) == sorted(names)
    spa.torch.save(module, tmp_path / "same.onnx")
    assert (tmp_path / "same.onnx").read_bytes() == data
    moved(module)
    x = torch.ones(2)
    wanted = module(x)
    spa.torch.save(module, tmp_path / "new.onnx")
    again = spa.torch.load(tmp_path / "new.onnx")
    torch.testing.assert_close(again(x), wanted)
    for name in names:
        assert torch.equal(again.parameter(name), module.parameter(name))
        assert again.parameter(name).dtype == module.parameter(name).dtype
    after = onnx.load(tmp_path / "new.onnx")
    kinds = [t.HasField("raw_data") for t in after.graph.initializer]
    assert kinds == [t.HasField("raw_data") for t in model.graph.initializer]


@pytest.fixture
def outside(tmp_path):
    """A model with two data files."""
    folder = tmp_path / "from"
    folder.mkdir()
    model = onnx.load(MODELS / "digits.onnx")
    onnx.save(
        model, folder / "m.onnx", save_as_external_data=True, size_threshold=64, location="w.bin"
    )
    return folder / "m.onnx"


def test_data_files_keep_their_layout(outside, tmp_path):
    to = tmp_path / "to"
    to.mkdir()
    spa.torch.save(spa.torch.load(outside), to / "same.onnx")
    assert (to / "same.onnx").read_bytes() == outside.read_bytes()
    assert (to / "w.bin").read_bytes() == (outside.parent / "w.bin").read_bytes()
    module = spa.torch.load(outside)
    moved(module)
    (to / "more").mkdir()
    spa.torch.save(module, to / "more" / "new.onnx")
    assert len((to / "more" / "w.bin").read_bytes()) == len((to / "w.bin").read_bytes())
    again = spa.torch.load(to / "more" / "new.onnx")
    for name, p in module.named_parameters():
        assert torch.equal(again.parameter(name), p)


def test_data_files_of_others_are_never_touched(outside):
    """Beside the original what is trained goes under a name of its own."""
    before = (outside.parent / "w.bin").read_bytes()
    module = spa.torch.load(outside)
    spa.torch.save(module, outside.with_name("same.onnx"))
    assert {p.name for p in outside.parent.iterdir()} == {"m.onnx", "same.onnx", "w.bin"}
    moved(module)
    spa.torch.save(module, outside.with_name("new.onnx"))
    assert (outside.parent / "w.bin").read_bytes() == before
    again = spa.torch.load(outside.with_name("new.onnx"))
    assert all(torch.equal(again.parameter(n), p) for n, p in module.named_parameters())
    made = [p.name for p in outside.parent.iterdir() if p.name.startswith("new.")]
    assert len(made) == 2


def test_a_model_in_memory_takes_what_it_needs_of_data_files(outside, tmp_path):
    """As the result of a cut, whose tensors lie in the data file of the original."""
    model = onnx.load(outside, load_external_data=False)
    wide = next(t for t in model.graph.initializer if t.external_data)
    module = spa.torch.load(model, base_dir=outside.parent)
    with torch.no_grad():
        module.parameter(wide.name).add_(1)
    spa.torch.save(module, tmp_path / "new.onnx")
    again = spa.torch.load(tmp_path / "new.onnx")
    assert all(torch.equal(again.parameter(n), p) for n, p in module.named_parameters())
    assert not (tmp_path / "w.bin").exists()


def test_refusals(tmp_path):
    path = tmp_path / "m.onnx"
    path.write_bytes((MODELS / "digits.onnx").read_bytes())
    module = spa.torch.load(path)
    with pytest.raises(UsageError, match="the input"):
        spa.torch.save(module, path, force=True)
    (tmp_path / "there.onnx").write_bytes(b"")
    with pytest.raises(UsageError):
        spa.torch.save(module, tmp_path / "there.onnx")
    spa.torch.save(module, tmp_path / "there.onnx", force=True)
    path.write_bytes((MODELS / "fashion.onnx").read_bytes())
    with pytest.raises(ReadError, match="was changed since"):
        spa.torch.save(module, tmp_path / "new.onnx")
    assert not (tmp_path / "new.onnx").exists()


def test_a_model_in_memory_is_left_alone(tmp_path):
    model = onnx.load(MODELS / "digits.onnx")
    before = model.SerializeToString()
    module = spa.torch.load(model)
    moved(module)
    spa.torch.save(module, tmp_path / "new.onnx")
    assert model.SerializeToString() == before
    assert stored(onnx.load(tmp_path / "new.onnx")).keys() == stored(model).keys()
