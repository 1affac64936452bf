"""A checkpoint that knows nothing of ONNX is cut as the file is, whatever an exporter called it."""

from __future__ import annotations

from functools import cache

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import helper, numpy_helper

import spa
from spa.checkpoints import Exported, carry
from spa.checkpoints.names import called
from spa.errors import UsageError
from spa.graph import read
from spa.plans import Plan
from tests.carried import DIGITS, MODELS
from tests.plans import exports

CALIB = np.load(MODELS / "digits_calib.npz")["images"]


def stored(model):
    return {t.name: numpy_helper.to_array(t) for t in model.graph.initializer}


@cache
def pruned(fold=False):
    """The digits model, or its folded export, at half of the MACs, refitted; and the original."""
    model = exports.folded(onnx.load(DIGITS)) if fold else exports.expanded(onnx.load(DIGITS))
    return model, spa.prune(model, 0.5, calib=CALIB[:64], verify="none")


def run(model, feeds):
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    return onnxruntime.InferenceSession(model.SerializeToString(), options).run(None, feeds)


def exported(model):
    return Exported.of(read(model))


def turned(array):
    """As Keras and Flax have it: kernels end in the channels that they make."""
    return np.moveaxis(array, (0, 1), (-1, -2)) if array.ndim > 1 else array


def test_by_name_alone_the_positions_are_those_of_the_plan():
    model, result = pruned()
    weights = stored(model)
    cut = stored(spa.apply(model, result.plan, reconstruct=False, verify="none").model)
    carried = carry(weights, result.plan)
    assert {row["how"] for row in carried.rows} == {"name", "whole"}
    for name in result.plan.tensors:
        assert np.array_equal(carried.weights[name], cut[name]), name
        assert not np.array_equal(carried.weights[name].shape, weights[name].shape)


def test_other_names_and_layouts_are_found_by_value_and_hold_what_was_refitted():
    model, result = pruned()
    weights = {f"w{k}": turned(array) for k, array in enumerate(stored(model).values())}
    carried = carry(weights, result.plan, exported(model), exported(result.model))
    slim = exported(result.model).tensors
    changed = 0
    for k, (name, old) in enumerate(stored(model).items()):
        row = carried.rows[k]
        if name in slim and old.size > 1:
            assert row["how"] == "value" and row["tensors"] == [name]
            assert np.array_equal(carried.weights[f"w{k}"], turned(slim[name])), name
            changed += row["refitted"]
    assert changed > 10


def test_folding_is_undone_and_the_unfolded_net_computes_what_the_file_does():
    """The whole way: a checkpoint with BatchNormalization, of which the file knows nothing."""
    folded, result = pruned(fold=True)
    whole = exports.expanded(onnx.load(DIGITS))
    carried = carry(stored(whole), result.plan, exported(folded), exported(result.model))
    assert sum(row["how"] == "folded" for row in carried.rows) > 40
    net = exports.copied(whole)
    for tensor in net.graph.initializer:
        tensor.CopyFrom(numpy_helper.from_array(carried.weights[tensor.name], tensor.name))
    for node in net.graph.node:  # a depthwise convolution says how wide it is
        for attribute in node.attribute:
            if attribute.name == "group" and attribute.i > 1:
                attribute.i = len(carried.weights[node.input[1]])
    del net.graph.value_info[:]
    feeds = {"images": CALIB[:32]}
    (wanted,), (got,) = run(result.model, feeds), run(net, feeds)
    np.testing.assert_allclose(got, wanted, atol=1e-4 * wanted.std())
    (cut,) = run(spa.apply(folded, result.plan, reconstruct=False, verify="none").model, feeds)
    assert np.abs(cut - wanted).max() > 0.1 * wanted.std()  # the refit has changed something


def tiny(third=False):
    """Two matrices one after the other, with a hidden layer of 8; perhaps the first once more."""
    random = np.random.default_rng(0)
    arrays = {name: random.normal(size=(8, 8)).astype(np.float32) for name in "ab"}
    keep, last = [0, 3, 5, 6], [1, 2]
    plan = {
        "a": {"shape": [8, 8], "new_shape": [8, 4], "keep": {"1": keep}},
        "b": {"shape": [8, 8], "new_shape": [4, 8], "keep": {"0": keep}},
    }
    if third:
        arrays["c"] = np.ascontiguousarray(arrays["a"].T)
        plan["b"] = {"shape": [8, 8], "new_shape": [4, 2], "keep": {"0": keep, "1": last}}
        plan["c"] = {"shape": [8, 8], "new_shape": [2, 8], "keep": {"0": last}}
    nodes, value = [], "x"
    for name in arrays:
        nodes.append(helper.make_node("MatMul", [value, name], [f"h{name}"]))
        nodes.append(helper.make_node("Relu", [f"h{name}"], [value := f"r{name}"]))
    ports = [
        helper.make_tensor_value_info(n, onnx.TensorProto.FLOAT, ["N", 8]) for n in ("x", value)
    ]
    stored = [numpy_helper.from_array(array, name) for name, array in arrays.items()]
    graph = helper.make_graph(nodes, "tiny", ports[:1], ports[1:], stored)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    return model, arrays, Plan(plan), keep


def test_a_square_matrix_that_the_exporter_transposed_is_cut_along_the_other_axis():
    model, arrays, plan, keep = tiny()
    weights = {"one.weight": arrays["a"].T, "two.weight": arrays["b"].T}
    carried = carry(weights, plan, exported(model))
    assert np.array_equal(carried.weights["one.weight"], arrays["a"].T[keep])
    assert np.array_equal(carried.weights["two.weight"], arrays["b"].T[:, keep])
    assert carried.kept["one.weight"] == {0: tuple(keep)}


def test_joined_pieces_are_found_one_by_one():
    model, arrays, plan, keep = tiny()
    both = np.concatenate([arrays["a"].T, arrays["b"]])
    carried = carry({"both": both}, plan, exported(model))
    assert carried.rows[0]["tensors"] == ["a", "b"]
    with pytest.raises(UsageError, match="both cannot be cut"):
        carry({"both": np.concatenate([arrays["a"].T, arrays["b"].T])}, plan, exported(model))
    wanted = np.concatenate([arrays["a"].T[keep], arrays["b"][keep]])
    assert np.array_equal(carried.weights["both"], wanted)


WRAPPED = ("module.", "_orig_mod.module.", "state_dict/net.")


@pytest.mark.parametrize("front", WRAPPED)
@pytest.mark.parametrize("given", ["export", "plan"])
def test_what_wrappers_put_before_every_name_is_no_part_of_it(front, given):
    model, arrays, plan, keep = tiny()
    weights = {front + name: array for name, array in arrays.items()}
    weights |= {"epoch": np.float32([3])}
    export = exported(model) if given == "export" else None
    carried = carry(weights, plan, export)
    assert [row["how"] for row in carried.rows] == ["name", "name", "whole"]
    assert np.array_equal(carried.weights[f"{front}a"], arrays["a"][:, keep])
    assert np.array_equal(carried.weights[f"{front}b"], arrays["b"][keep])
    trained = {name: array**3 for name, array in weights.items()}
    carried = carry(trained, plan, export)
    assert np.array_equal(carried.weights[f"{front}b"], trained[f"{front}b"][keep])


def test_the_file_may_have_more_before_every_name_than_the_checkpoint():
    _, arrays, plan, keep = tiny()
    plan = Plan({f"net.{name}": entry for name, entry in plan.tensors.items()})
    carried = carry({**arrays, "epoch": np.float32([3])}, plan)
    assert np.array_equal(carried.weights["b"], arrays["b"][keep])
    assert carried.rows[0]["tensors"] == ["net.a"]


def test_names_that_are_the_same_anyway_are_left_alone():
    """What ends alike is something else: two layers that another net has, too."""
    assert called({"a.w": 8, "b.w": 8, "w": 4}, {"a.w": 8, "w": 4}) == {"a.w": "a.w", "w": "w"}
    assert called({"a.w": 8, "b.w": 8}, {"w": 8}) == {}
    assert called({"m.a.w": 8, "m.b.w": 8}, {"a.w": 8, "b.w": 9}) == {"m.a.w": "a.w"}


def test_a_folded_norm_that_was_never_trained_is_refused_with_what_to_do():
    """All norms hold ones and zeros: nothing tells which is which."""
    random = np.random.default_rng(0)
    weight = random.normal(size=(8, 3)).astype(np.float32)
    stored = [weight / np.sqrt(np.float32(1 + 1e-5)), np.zeros(8, np.float32)]
    stored.append(random.normal(size=(4, 8)).astype(np.float32))
    nodes = [
        helper.make_node("Gemm", ["x", "w", "b"], ["y"], transB=1),
        helper.make_node("Relu", ["y"], ["z"]),
        helper.make_node("Gemm", ["z", "v"], ["out"], transB=1),
    ]
    ports = [
        helper.make_tensor_value_info(n, onnx.TensorProto.FLOAT, ["N", k])
        for n, k in (("x", 3), ("out", 4))
    ]
    tensors = [numpy_helper.from_array(a, n) for n, a in zip("wbv", stored, strict=True)]
    graph = helper.make_graph(nodes, "g", ports[:1], ports[1:], tensors)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    plan = spa.plan(model, 0.4, scorer="l2", round_to=1).plan
    fresh = {"scale": np.ones(8), "shift": np.zeros(8), "mean": np.zeros(8), "var": np.ones(8)}
    weights = {"w": weight, **{n: a.astype(np.float32) for n, a in fresh.items()}, "v": stored[2]}
    with pytest.raises(UsageError, match=r"scale and var hold the same .* a little .* export"):
        carry(weights, plan, exported(model))
    for name in fresh:
        weights[name] = weights[name] + random.random(8).astype(np.float32)
    with pytest.raises(UsageError, match=r"is not found, .* export without folding it"):
        carry(weights, plan, exported(model))


def test_what_fits_twice_is_refused():
    model, arrays, plan, _ = tiny(third=True)
    with pytest.raises(UsageError, match="one may be a or c"):
        carry({"one": arrays["a"], "two": arrays["b"]}, plan, exported(model))
    assert carry(arrays, plan, exported(model)).rows[0]["how"] == "name"


def test_what_is_cut_and_not_found_is_named():
    model, arrays, plan, _ = tiny()
    with pytest.raises(UsageError, match=r"nothing that fits b, .* --export"):
        carry({"a": arrays["a"]}, plan)
    with pytest.raises(UsageError, match=r"nothing that fits b, .* this very file"):
        carry({"a": arrays["a"], "c": arrays["b"] + 1}, plan, exported(model))
    with pytest.raises(UsageError, match=r"has no c, .* that the plan was made on"):
        carry(arrays, tiny(third=True)[2], exported(model))


def test_a_checkpoint_that_was_trained_on_is_matched_by_name_and_that_is_said():
    model, arrays, plan, keep = tiny()
    trained = arrays["b"] ** 3
    carried = carry({"a": arrays["a"], "b": trained}, plan, exported(model))
    assert np.array_equal(carried.weights["b"], trained[keep])
    assert "such as b" in carried.notes[0]


def test_positions_in_another_basis_need_the_pruned_model():
    _, arrays, plan, _ = tiny()
    with pytest.raises(UsageError, match="after its channels were mixed"):
        carry(arrays, Plan(plan.tensors, rotated=("a", "b")))
