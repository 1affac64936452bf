"""Verification passes what is right and stops what is wrong."""

from __future__ import annotations

import importlib

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from spa import runtime
from spa.coupling import analyse
from spa.errors import ReadError, VerifyError
from spa.graph import read
from spa.rewrite import rewrite
from spa.validate import verify
from spa.validate.gap import gap
from spa.validate.inputs import feeds_at
from spa.validate.proof import TOLERANCE
from tests import oracles
from tests.nets import BATCH, MOTIFS

RIGHT = ("residual", "grouped", "attention_separate", "vision_transformer", "tied_embedding")


def pruned(name, ratio=0.5, **options):
    """A motif, what is kept of it, and the smaller model."""
    coupling = analyse(read(MOTIFS[name].build(**options)), strict=True)
    alive = oracles.scattered(ratio, 1)(coupling)
    return coupling, alive, rewrite(coupling, alive)


def changed(model, name, change):
    """The model with one tensor changed."""
    result = onnx.ModelProto()
    result.CopyFrom(model)
    (tensor,) = [t for t in result.graph.initializer if t.name == name]
    array = change(numpy_helper.to_array(tensor).copy())
    tensor.CopyFrom(numpy_helper.from_array(array, name))
    return result


def weights(model):
    return {
        t.name: numpy_helper.to_array(t)
        for t in model.graph.initializer
        if t.data_type in (onnx.TensorProto.FLOAT, onnx.TensorProto.FLOAT16)
    }


# What is right


@pytest.mark.parametrize("batch", [2, BATCH])
@pytest.mark.parametrize("name", RIGHT)
def test_a_right_model_passes(name, batch):
    verdict = verify(*pruned(name, batch=batch))
    assert verdict.level == "equivalence"
    assert verdict.equivalence is not None and verdict.equivalence < 1e-5
    assert verdict.drift.relative and min(verdict.drift.relative.values()) > 1e-4
    assert {r.op for r in verdict.lossy} == set(MOTIFS[name].lossy)


def test_keeping_everything_drifts_not_at_all():
    coupling, _, _ = pruned("vision_transformer")
    everything = coupling.everything()
    verdict = verify(coupling, everything, rewrite(coupling, everything))
    assert verdict.drift.max_abs == 0 and verdict.equivalence == 0 and verdict.lossy == ()


def test_only_ops_over_what_is_cut_are_lossy():
    coupling = analyse(read(MOTIFS["statistics_over_channels"].build()), strict=True)
    hidden = next(g for g in coupling.groups if g.channels == 6)  # behind all statistics
    alive = coupling.everything()
    alive[hidden.cells[:, :2]] = False
    assert verify(coupling, alive, rewrite(coupling, alive)).lossy == ()


def test_half_precision_is_given_more_room():
    """A weight that is off by a percent: noise in one type, a mistake in the other."""
    for dtype, noise in ((np.float16, True), (np.float32, False), (np.float64, False)):
        coupling, alive, small = pruned("gated_feed_forward", dtype=dtype)
        assert verify(coupling, alive, small).equivalence < 1e-2
        head = small.graph.node[-2].input[1]
        off = changed(small, head, lambda a: (a * 1.01).astype(a.dtype))
        if noise:
            assert 1e-3 < verify(coupling, alive, off).equivalence < TOLERANCE["float16"]
        else:
            with pytest.raises(VerifyError):
                verify(coupling, alive, off)


@pytest.mark.parametrize(
    ("noise", "off", "passes"),
    [
        (None, 1.00002, True),  # rounding
        (None, 1.001, False),
        (1e-4, 1.0005, True),  # a model whose own two ways of computing lie that far apart
        (1e-4, 1.002, False),
        (0.5, 1.005, True),
        (0.5, 1.02, False),  # no noise excuses more than a percent
    ],
)
def test_noise_of_the_models_own_is_given_room(monkeypatch, noise, off, passes):
    coupling, alive, small = pruned("residual")
    for name in small.graph.node[-1].input[1:]:
        small = changed(small, name, lambda a: (a * off).astype(a.dtype))
    if noise is not None:
        module = importlib.import_module("spa.validate.proof")
        monkeypatch.setattr(module.Pair, "noise", lambda *_: noise)
    if passes:
        assert verify(coupling, alive, small).equivalence == pytest.approx(off - 1, rel=0.3)
    else:
        with pytest.raises(VerifyError, match="differs from the masked original"):
            verify(coupling, alive, small)


def test_the_seed_decides_on_the_inputs():
    coupling, alive, small = pruned("residual")
    first, again, other = (
        verify(coupling, alive, small, seed=seed).drift.relative for seed in (1, 1, 2)
    )
    assert first == again != other


# What is wrong


def swapped(array):
    """Two channels in the wrong order."""
    array[[0, 1]] = array[[1, 0]]
    return array


@pytest.mark.parametrize("batch", [2, BATCH])
@pytest.mark.parametrize("name", RIGHT)
def test_two_channels_in_the_wrong_order(name, batch):
    coupling, alive, small = pruned(name, batch=batch)
    cut = {m.tensor for g in coupling.groups for m in g.members if m.role == "makes"}
    stored = weights(small)
    made = [n for n in cut if n in stored and stored[n].ndim > 1 and len(stored[n]) > 1]
    for tensor in sorted(made)[:3]:
        with pytest.raises(VerifyError, match=r"differs from the masked original by .*, more than"):
            verify(coupling, alive, changed(small, tensor, swapped))


@pytest.mark.parametrize("name", ["residual", "inverted_bottleneck", "vision_transformer"])
def test_any_tensor_that_is_wrong(name):
    """Each stored tensor of the pruned model rolled by one place, if that shows at all."""
    coupling, alive, small = pruned(name)
    feeds = feeds_at(coupling.graph, 0)
    right = runtime.run(runtime.session(small), feeds)
    caught = 0
    for tensor in weights(small):
        wrong = changed(small, tensor, lambda a: np.roll(a.ravel(), 1).reshape(a.shape))
        shown = gap(right, runtime.run(runtime.session(wrong), feeds)).error
        if shown > 2 * TOLERANCE["float32"]:
            caught += 1
            with pytest.raises(VerifyError):
                verify(coupling, alive, wrong)
    assert caught > 10


def test_a_wrong_bias():
    coupling, alive, small = pruned("residual")
    bias = next(t for t, a in weights(small).items() if a.ndim == 1)
    with pytest.raises(VerifyError, match="nothing was written"):
        verify(coupling, alive, changed(small, bias, lambda a: a + 0.5))


def test_a_wrong_answer_that_is_not_finite():
    coupling, alive, small = pruned("residual")
    head = list(weights(small))[-1]
    with pytest.raises(VerifyError, match="by inf"):
        verify(coupling, alive, changed(small, head, lambda a: a * np.nan))


def test_another_choice_than_the_one_made():
    coupling, alive, small = pruned("residual")
    other = oracles.scattered(0.5, 7)(coupling)
    assert (other != alive).any()
    with pytest.raises(VerifyError):
        verify(coupling, other, small)


def test_a_model_that_does_not_load():
    coupling, alive, small = pruned("residual")
    del small.graph.initializer[0]
    with pytest.raises(VerifyError, match="the pruned model does not run, nothing was written"):
        verify(coupling, alive, small)


def test_an_output_of_another_shape():
    coupling, alive, small = pruned("residual")
    last = small.graph.node[-1]
    for name in last.input[1:]:
        small = changed(small, name, lambda a: a[:4])
    small.graph.output[0].type.tensor_type.ClearField("shape")
    for level in ("run", "equivalence"):
        with pytest.raises(
            VerifyError, match=r"has shape \(2, 4\) where the original has \(2, 5\)"
        ):
            verify(coupling, alive, small, level=level)


def test_an_output_that_is_missing():
    coupling, alive, small = pruned("feature_pyramid")
    del small.graph.output[1]
    with pytest.raises(VerifyError, match="missing where the original has"):
        verify(coupling, alive, small, level="run")


def test_a_model_bound_to_one_batch_size():
    """It runs at the size of the analysis only, where the original runs at every size."""
    coupling, alive, small = pruned("shuffle_of_channels", batch=BATCH, sizes="zero")
    size = coupling.graph.dims[BATCH]
    shapes = [n.input[1] for n in small.graph.node if n.op_type == "Reshape"]

    def bound(array):
        array[0] = size
        return array

    for name in set(shapes):
        small = changed(small, name, bound)
    with pytest.raises(VerifyError, match="does not run"):
        verify(coupling, alive, small, level="run")


# Levels


def test_level_run_looks_at_shapes_only():
    coupling, alive, small = pruned("residual")
    wrong = changed(small, "w_1", swapped)
    verdict = verify(coupling, alive, wrong, level="run")
    assert verdict.level == "run" and verdict.equivalence is None and verdict.drift.relative


def test_repaired_weights_are_not_expected_to_equal_the_masked_original():
    coupling, alive, small = pruned("residual")
    repaired = changed(small, "w_1", lambda a: a * 1.1)
    assert verify(coupling, alive, repaired, cut_only=False).equivalence is None


# Inputs


def test_inputs_at_other_sizes():
    graph = read(MOTIFS["residual"].build(batch=BATCH))
    assert feeds_at(graph, 0)["x"].shape[0] == graph.dims[BATCH]
    assert feeds_at(graph, 0, {BATCH: 5})["x"].shape == (5, 3, 8, 8)
    stated = read(MOTIFS["residual"].build(batch=2))
    assert feeds_at(stated, 0, {})["x"].shape[0] == 2


def test_an_original_that_refuses_other_sizes_is_not_held_against_the_pruned_one():
    """The batch is a symbol in name only: a reshape inside states it."""
    model = MOTIFS["shuffle_of_channels"].build(batch=1)
    for value in (*model.graph.input, *model.graph.output):
        value.type.tensor_type.shape.dim[0].dim_param = BATCH
    del model.graph.value_info[:]
    coupling = analyse(read(model), strict=True)
    alive = oracles.scattered(0.5, 1)(coupling)
    verdict = verify(coupling, alive, rewrite(coupling, alive))
    assert verdict.equivalence < 1e-5


def test_an_original_that_does_not_run_is_an_input_error():
    coupling, alive, small = pruned("residual")
    del coupling.graph.proto.graph.initializer[0]
    with pytest.raises(ReadError):
        verify(coupling, alive, small)
