"""FPGM against distances taken one pair of channels at a time."""

from __future__ import annotations

import numpy as np
import pytest
from onnx import numpy_helper

from spa.coupling import analyse
from spa.criteria import Context
from spa.criteria.fpgm import fpgm
from spa.graph import read
from spa.trace import MAKES
from tests.carried import coupling_of
from tests.nets import MOTIFS
from tests.nets.layers import convolutions


def vectors(coupling):
    """What makes every unit, weight by weight in the order of storage."""
    found = {}
    for param in coupling.notes.params.values():
        if param.tensor is None:
            continue
        array = np.asarray(coupling.graph.consts[param.tensor], np.float64).reshape(param.view)
        for role, index_map in param.maps:
            if role != MAKES:
                continue
            units = np.broadcast_to(coupling.root[index_map.ids], array.shape)
            for place in np.ndindex(*array.shape):
                found.setdefault(int(units[place]), []).append(array[place])
    return {unit: np.array(values) for unit, values in found.items()}


def by_hand(coupling):
    made = vectors(coupling)
    return {
        int(unit): sum(np.linalg.norm(made[int(unit)] - made[int(other)]) for other in cell)
        for group in coupling.groups
        for cell in group.cells
        for unit in cell
    }


NETS = """residual inverted_bottleneck depth_multiplier grouped shuffle_of_channels pixel_shuffles
attention_grouped_queries attention_fused_by_split vision_transformer transposed_convolution
gated_by_split experts shared_with_different_cuts half_precision""".split()


@pytest.mark.parametrize("name", NETS)
def test_every_distance(name):
    coupling = analyse(read(MOTIFS[name].build()), strict=True)
    found, want = fpgm(Context(coupling)), by_hand(coupling)
    assert want
    for unit, value in want.items():
        assert found[unit] == pytest.approx(value, rel=1e-6, abs=1e-6)


def test_more_weights_than_one_chunk(monkeypatch):
    coupling = coupling_of("digits")
    want = fpgm(Context(coupling))
    monkeypatch.setattr("spa.criteria.fpgm.CHUNK", 100)
    np.testing.assert_allclose(fpgm(Context(coupling)), want, rtol=1e-9)


def test_equal_channels_in_the_middle_matter_least():
    """Of four filters, two alike lie between the others; norms would keep them."""
    model = convolutions(3, 4, area=(4, 4), head=5)
    weight = next(t for t in model.graph.initializer if len(t.dims) == 4)
    filters = np.ones((4, *weight.dims[1:]), np.float32)
    filters *= np.array([1.0, 10.0, 10.0, 19.5], np.float32).reshape(4, 1, 1, 1)
    weight.CopyFrom(numpy_helper.from_array(filters, weight.name))
    coupling = analyse(read(model), strict=True)
    scores = fpgm(Context(coupling))[coupling.groups[0].cells[0]]
    assert set(np.argsort(scores)[:2]) == {1, 2} and scores[1] == pytest.approx(scores[2])


def test_filters_that_are_equal_lie_at_no_distance():
    """Rounding must not give what is the same a distance."""
    model = convolutions(3, 4, area=(4, 4), head=5)
    weight = next(t for t in model.graph.initializer if len(t.dims) == 4)
    same = np.broadcast_to(np.float32([1e4, 0.1, 3.0]).reshape(1, 3, 1, 1), tuple(weight.dims))
    weight.CopyFrom(numpy_helper.from_array(np.ascontiguousarray(same), weight.name))
    coupling = analyse(read(model), strict=True)
    assert not fpgm(Context(coupling)).any()
