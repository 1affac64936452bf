"""What is chosen for which model, and that models take it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from spa import runtime
from spa.errors import UsageError
from spa.graph import read
from spa.probes import probe_for
from spa.probes.leaves import leaves
from spa.probes.scale import SCALES
from tests.nets import Net
from tests.nets.bottlenecks import Bottlenecks

MODELS = Path(__file__).parents[2] / "models"
RANDOM = np.random.default_rng(0)
TYPES = {"f": TensorProto.FLOAT, "h": TensorProto.FLOAT16, "i": TensorProto.INT64}
TYPES |= {"u": TensorProto.UINT8, "b": TensorProto.BOOL}


def model(nodes, inputs, constants, output, metadata=None):
    """A model from `(op, inputs, output, attributes)` and `name: (type letter, shape)`."""
    made = [
        helper.make_node(op, ins.split(), [out], name=out, **attrs) for op, ins, out, attrs in nodes
    ]
    proto = helper.make_model(
        helper.make_graph(
            made,
            "g",
            [helper.make_tensor_value_info(n, TYPES[t], s) for n, (t, s) in inputs.items()],
            [helper.make_tensor_value_info(output, TensorProto.FLOAT, None)],
            [numpy_helper.from_array(np.asarray(v), n) for n, v in constants.items()],
        ),
        opset_imports=[helper.make_opsetid("", 17), helper.make_opsetid("com.microsoft", 1)],
        ir_version=8,
    )
    helper.set_model_props(proto, metadata or {})
    return read(onnx.shape_inference.infer_shapes(proto))


def weights(*shape, scale=0.3):
    return RANDOM.normal(0, scale, shape).astype(np.float32)


def image_model(before=(), constants=None, shape=("N", 3, 16, 16), kind="f", metadata=None, w=None):
    w = weights(8, 3, 3, 3) if w is None else w
    entered = before[-1][2] if before else "x"
    nodes = [*before, ("Conv", f"{entered} w", "y", {})]
    return model(nodes, {"x": (kind, shape)}, {"w": w, **(constants or {})}, "y", metadata)


def text_model(vocabulary=30522, types=True, length="L"):
    nodes = [
        ("Gather", "table ids", "e", {}),
        ("Cast", "mask", "m", {"to": TensorProto.FLOAT}),
        ("Unsqueeze", "m last", "mu", {}),
        ("Mul", "e mu", "masked", {}),
    ]
    inputs = {"ids": ("i", ("N", length)), "mask": ("i", ("N", length))}
    constants = {"table": weights(vocabulary, 4), "last": np.array([2])}
    if types:
        nodes += [("Gather", "two kinds", "t", {}), ("Add", "masked t", "y", {})]
        inputs["kinds"] = ("i", ("N", length))
        constants["two"] = weights(2, 4)
    else:
        nodes += [("Relu", "masked", "y", {})]
    return model(nodes, inputs, constants, "y")


def runs(graph, probe, count=5, batch=2):
    """The model takes every batch; how many rows it saw."""
    loaded = runtime.session(graph.proto, device="cpu")
    runtime.run(loaded, probe.feeds(3))
    for feeds in probe.batches(count, batch):
        runtime.run(loaded, feeds)


@pytest.mark.parametrize("name", ("digits", "fashion"))
def test_the_carried_models(name):
    graph = read(MODELS / f"{name}.onnx")
    probe = probe_for(graph)
    assert probe.kind == "leaves" and not probe.notes
    side = 8 if name == "digits" else 28
    assert probe.why == (
        f"images [N,1,{side},{side}], NCHW: dead leaves, "
        "in 0..1 because the model scales them itself"
    )
    images = probe.feeds(6)["images"]
    assert images.shape == (6, 1, side, side) and images.dtype == np.float32
    assert images.min() >= 0 and images.max() <= 1
    runs(graph, probe)


def test_rows_do_not_depend_on_the_batch_size():
    for graph in (read(MODELS / "digits.onnx"), image_model()):
        probe = probe_for(graph, seed=5)
        (name,) = graph.inputs
        parts = [
            np.concatenate([feeds[name] for feeds in probe.batches(7, batch)])
            for batch in (1, 3, 7, 100)
        ]
        assert all(np.array_equal(part, parts[0]) for part in parts)
        assert np.array_equal(probe.feeds(7)[name], parts[0])
        assert np.array_equal(probe_for(graph, seed=5).feeds(7)[name], parts[0])
        assert not np.array_equal(probe_for(graph, seed=6).feeds(7)[name], parts[0])


def test_fixed_batches_are_always_full():
    graph = image_model(shape=(4, 3, 16, 16))
    batches = list(probe_for(graph).batches(6, 3))
    assert [feeds["x"].shape[0] for feeds in batches] == [4, 4]
    assert not np.array_equal(batches[0]["x"], batches[1]["x"])


def constant_scale(op, value):
    return [(op, "x c", "s", {})], {"c": np.asarray(value, np.float32)}


@pytest.mark.parametrize(
    ("op", "value", "highest"),
    (
        ("Div", 255.0, 255),
        ("Mul", 1 / 127.5, 255),
        ("Sub", np.array([103.9, 116.8, 123.7]).reshape(1, 3, 1, 1), 255),
        ("Sub", np.array([0.485, 0.456, 0.406]).reshape(3, 1, 1), 1),
        ("Div", 0.25, 1),
        ("Add", 1.0, 1),
    ),
)
def test_the_range_follows_the_models_own_constants(op, value, highest):
    before, constants = constant_scale(op, value)
    images = probe_for(image_model(before, constants)).feeds(16)["x"]
    lowest = -1 if op == "Add" else 0
    assert lowest <= images.min() < lowest + 0.1 * highest
    assert highest * 0.8 < images.max() <= highest


@pytest.mark.parametrize(
    ("factor", "shift", "words"),
    (
        (1 / 0.225, -2.0, "ImageNet"), (1, 0, "in 0..1"), (2, -1, "in -1..1"), (255, 0, "0..255 b"),
        (255, -115, "less their mean"),
    ),
)  # fmt: skip
def test_the_first_batch_normalization_gives_the_range_away(factor, shift, words):
    w = weights(16, 3, 3, 3)
    seen = leaves(range(40), (3, 32, 32), name="other") * factor + shift
    windows = np.lib.stride_tricks.sliding_window_view(seen, (3, 3), (2, 3))[:, :, ::3, ::3]
    answers = np.einsum("nchwij,ocij->nhwo", windows, w).reshape(-1, 16)
    norm = {"scale": np.ones(16), "b": np.zeros(16), "m": answers.mean(0), "v": answers.var(0)}
    graph = model(
        [("Conv", "x w", "c", {}), ("BatchNormalization", "c scale b m v", "y", {})],
        {"x": ("f", ("N", 3, 16, 16))},
        {"w": w} | {key: value.astype(np.float32) for key, value in norm.items()},
        "y",
    )
    probe = probe_for(graph)
    assert words in probe.why and "BatchNormalization" in probe.why


@pytest.mark.parametrize("words", ("normalised as for ImageNet", "in 0..1", "in -1..1"))
def test_linear_outputs_give_the_range_away(words):
    (wanted,) = (scale for scale in SCALES if scale.words == words)
    pictures = leaves(range(64), (3, 12, 12), name="training")
    trained = Bottlenecks(0.0).folded([{"x": wanted(pictures, 1)}]).graph
    assert f"{words} because linear outputs" in probe_for(trained).why
    other = Bottlenecks(1.0).folded([{"x": wanted(pictures, 1)}]).graph
    assert "linear outputs" not in probe_for(other).why


def test_dead_channels_say_nothing_about_the_range():
    w = weights(16, 3, 3, 3)
    w[4:] *= 1e-9
    spread = np.full(16, 1e-14, np.float32)
    pictures = leaves(range(64), (3, 16, 16), name="training")
    graph = image_model(w=w)
    seen = runtime.run(runtime.session(graph.proto, device="cpu"), {"x": pictures})["y"]
    spread[:4] = seen[:, :4].std((0, 2, 3))
    mean = np.zeros(16, np.float32)
    mean[:4] = seen[:, :4].mean((0, 2, 3))
    nodes = [("Conv", "x w", "c", {}), ("BatchNormalization", "c s b m v", "y", {})]
    constants = {"w": w, "s": np.ones_like(mean), "b": mean * 0, "m": mean, "v": spread**2}
    probe = probe_for(model(nodes, {"x": ("f", ("N", 3, 16, 16))}, constants, "y"))
    assert "in 0..1 because the first BatchNormalization" in probe.why


def test_a_batch_normalization_of_the_input_knows_its_statistics():
    mean, spread = np.array([5, -3, 100.0]), np.array([2, 0.5, 30.0])
    norm = {"one": np.ones(3), "zero": np.zeros(3), "m": mean, "v": spread**2}
    before = [("BatchNormalization", "x one zero m v", "s", {})]
    graph = image_model(before, {key: value.astype(np.float32) for key, value in norm.items()})
    images = probe_for(graph).feeds(200)["x"]
    assert images.mean((0, 2, 3)) == pytest.approx(mean, rel=0.2)
    assert images.std((0, 2, 3)) == pytest.approx(spread, rel=0.2)


def test_tiny_weights_expect_bytes():
    graph = image_model(w=weights(8, 3, 3, 3, scale=0.001))
    assert "in 0..255" in probe_for(graph).why
    assert "ImageNet" in probe_for(image_model()).why


def test_metadata_is_believed():
    graph = image_model(metadata={"Image.NominalPixelRange": "NominalRange_0_255"})
    assert "metadata" in probe_for(graph).why
    assert probe_for(graph).feeds(4)["x"].max() > 200


def test_what_the_user_says_comes_first():
    before, constants = constant_scale("Div", 255.0)
    graph = image_model(before, constants)
    images = probe_for(graph, input_range=(-2, 2)).feeds(8)["x"]
    assert -2 <= images.min() < -1.5 and 1.5 < images.max() <= 2
    pixels = probe_for(graph, input_range=(0, 1)).feeds(8)["x"]
    normal = probe_for(graph, mean=(0.1, 0.2, 0.3), std=0.5).feeds(8)["x"]
    want = (pixels - np.array([0.1, 0.2, 0.3]).reshape(3, 1, 1)) / 0.5
    assert np.allclose(normal, want, atol=1e-5)


@pytest.mark.parametrize(
    "wrong",
    (
        {"kind": "photos"}, {"input_range": (1, 0)}, {"input_range": (1,)}, {"mean": (1, 2)},
        {"std": 0}, {"batch": 0},
    ),
)  # fmt: skip
def test_nonsense_is_refused_in_one_sentence(wrong):
    with pytest.raises(UsageError) as error:
        probe_for(image_model(), **wrong)
    assert "\n" not in str(error.value)


def test_layouts():
    transposed = [("Transpose", "x", "s", {"perm": [0, 3, 1, 2]})]
    graph = image_model(transposed, shape=("N", 16, 24, 3))
    assert "NHWC" in probe_for(graph).why
    last, first = probe_for(graph).feeds(2)["x"], probe_for(image_model(shape=("N", 3, 16, 24)))
    assert np.array_equal(last, first.feeds(2)["x"].transpose(0, 2, 3, 1))
    folded = [("Reshape", "x to", "s", {})]
    graph = image_model(folded, {"to": np.array([-1, 3, 16, 16])}, shape=("N", 768))
    assert "flattened" in probe_for(graph).why
    assert probe_for(graph).feeds(2)["x"].shape == (2, 768)


def test_bytes_as_pictures_and_halves():
    cast = [("Cast", "x", "s", {"to": TensorProto.FLOAT})]
    images = probe_for(image_model(cast, kind="u")).feeds(8)["x"]
    assert images.dtype == np.uint8 and images.max() > 200 and 90 < images.mean() < 150
    assert probe_for(image_model(cast, kind="h")).feeds(2)["x"].dtype == np.float16


@pytest.mark.parametrize(("kind", "mean", "std"), (("uniform", 0.22, 1.28), ("gaussian", 0, 1)))
def test_noise_on_request(kind, mean, std):
    probe = probe_for(image_model(), kind=kind)
    images = probe.feeds(64)["x"]
    assert probe.kind == kind
    assert images.mean() == pytest.approx(mean, abs=0.05)
    assert images.std() == pytest.approx(std, abs=0.05)


def test_text():
    graph = text_model()
    probe = probe_for(graph)
    assert probe.kind == "tokens" and not probe.notes
    assert "uncased WordPiece" in probe.why
    lengths = set()
    for feeds in probe.batches(40, 8):
        ids = feeds["ids"]
        assert (ids[:, 0] == 101).all() and (ids[:, -1] == 102).all()
        assert ids.shape == feeds["mask"].shape == feeds["kinds"].shape and len(ids) <= 8
        assert (feeds["mask"] == 1).all() and (feeds["kinds"] == 0).all()
        lengths.add(ids.shape[1])
    assert len(lengths) > 8
    runs(graph, probe)
    assert probe.feeds(3)["ids"].shape == (3, 15)
    flat = [
        np.concatenate([feeds["ids"].ravel() for feeds in probe.batches(30, batch)])
        for batch in (1, 4, 30)
    ]
    assert all(np.array_equal(one, flat[0]) for one in flat)


def test_text_of_a_fixed_length():
    graph = text_model(vocabulary=900, length=24)
    probe = probe_for(graph)
    assert {feeds["ids"].shape[1] for feeds in probe.batches(5, 2)} == {24}
    assert probe.feeds(50)["ids"].min() > 0 and probe.feeds(50)["ids"].max() < 900
    runs(graph, probe)


def test_fused_embeddings_are_tables_too():
    fused = {"domain": "com.microsoft"}
    node = ("EmbedLayerNormalization", "ids kinds table places types g b", "y", fused)
    constants = {"table": weights(900, 8), "places": weights(64, 8), "types": weights(2, 8)}
    constants |= {"g": weights(8), "b": weights(8)}
    inputs = {name: ("i", ("N", "L")) for name in ("ids", "kinds")}
    probe = probe_for(model([node], inputs, constants, "y"))
    feeds = probe.feeds(8)
    assert probe.kind == "tokens" and len(np.unique(feeds["ids"])) > 8
    assert feeds["ids"].max() < 900 and (feeds["kinds"] == 0).all()


def test_sequences_are_no_longer_than_the_model_takes():
    nodes = [
        ("Gather", "table ids", "e", {}),
        ("Shape", "ids", "size", {}),
        ("Gather", "size one", "length", {}),
        ("Range", "zero length step", "at", {}),
        ("Gather", "places at", "p", {}),
        ("Add", "e p", "y", {}),
    ]
    constants = {"table": weights(100, 4), "places": weights(40, 4)}
    constants |= {"one": np.array(1), "zero": np.array(0), "step": np.array(1)}
    graph = model(nodes, {"ids": ("i", ("N", "L"))}, constants, "y")
    probe = probe_for(graph)
    assert probe.lengths is not None and probe.lengths.longest == 32
    runs(graph, probe, count=60, batch=16)


def mask_model(inverted):
    nodes = [("Not", "mask", "n", {})] if inverted else []
    chosen = "n" if inverted else "mask"
    nodes += [("Where", f"{chosen} low x", "s", {}), ("Softmax", "s", "y", {"axis": -1})]
    inputs = {"x": ("f", ("N", 6)), "mask": ("b", ("N", 6))}
    return model(nodes, inputs, {"low": np.array(-np.inf, np.float32)}, "y")


@pytest.mark.parametrize("inverted", (False, True))
def test_boolean_masks_hide_nothing(inverted):
    graph = mask_model(inverted)
    probe = probe_for(graph)
    assert (probe.feeds(3)["mask"] == inverted).all()
    runs(graph, probe)


def test_signals():
    nodes = [("Unsqueeze", "x one", "u", {}), ("Conv", "u w", "y", {})]
    constants = {"one": np.array([1]), "w": weights(4, 1, 9)}
    graph = model(nodes, {"x": ("f", ("N", 1600))}, constants, "y")
    probe = probe_for(graph)
    assert probe.kind == "audio"
    assert np.abs(probe.feeds(8)["x"]).max() <= 1
    runs(graph, probe)


def test_tables_are_normal():
    graph = model([("MatMul", "x w", "y", {})], {"x": ("f", ("N", 30))}, {"w": weights(30, 4)}, "y")
    probe = probe_for(graph)
    assert probe.kind == "vectors"
    assert probe.feeds(200)["x"].std() == pytest.approx(1, abs=0.05)


def test_what_the_model_refuses_is_replaced_and_noted():
    # 70 positions do not fit a table of 64, whatever the name promises.
    nodes = [
        ("Gather", "table ids", "e", {}),
        ("Gather", "places pos", "p", {}),
        ("Add", "e p", "y", {}),
    ]
    inputs = {"ids": ("i", ("N", 70)), "pos": ("i", ("N", 70))}
    constants = {"table": weights(100, 4), "places": weights(64, 4)}
    graph = model(nodes, inputs, constants, "y")
    probe = probe_for(graph)
    assert probe.notes == ("input 'pos' gets random values: the model refused better ones",)
    runs(graph, probe)


def test_positions_count_up():
    nodes = [
        ("Gather", "table ids", "e", {}),
        ("Gather", "places pos", "p", {}),
        ("Add", "e p", "y", {}),
    ]
    inputs = {"ids": ("i", ("N", "L")), "pos": ("i", ("N", "L"))}
    constants = {"table": weights(500, 4), "places": weights(128, 4)}
    probe = probe_for(model(nodes, inputs, constants, "y"))
    assert not probe.notes
    for feeds in probe.batches(9, 4):
        assert feeds["pos"].shape == feeds["ids"].shape
        assert (feeds["pos"] == np.arange(feeds["ids"].shape[1])).all()


def test_a_model_that_gives_no_numbers_is_noted():
    nodes = [("Gather", "table ids", "e", {}), ("Add", "e nan", "y", {})]
    constants = {"table": weights(50, 4), "nan": np.array(np.nan, np.float32)}
    probe = probe_for(model(nodes, {"ids": ("i", ("N", 6))}, constants, "y"))
    assert probe.notes == ("no input gives finite numbers",)


def test_inputs_without_a_common_batch_make_whole_runs():
    nodes = [("ReduceSum", "a", "s", {"keepdims": 0}), ("Mul", "b s", "y", {})]
    graph = model(nodes, {"a": ("f", ("P", 3)), "b": ("f", ("Q", "P"))}, {}, "y")
    probe = probe_for(graph)
    first, second = probe.batches(2, 8)
    assert not np.array_equal(first["a"], second["a"])
    runs(graph, probe)


def test_a_bias_of_another_length_than_the_channels_says_nothing_of_the_scale():
    """Whether a runtime takes such a file is its own matter."""
    n = Net(batch="N")
    y = n.Conv(n.input("x", 3, 16, 16), n.weight(16, 3, 3, 3), n.weight(15))
    probe = probe_for(read(n.done(n.Relu(y))))
    assert probe.feeds()["x"].shape == (1, 3, 16, 16)
