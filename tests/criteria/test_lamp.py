"""Layer-adaptive magnitudes, against values by hand."""

from __future__ import annotations

import numpy as np
from onnx import numpy_helper

from spa.coupling import analyse
from spa.criteria import Context, score
from spa.criteria.lamp import weigh
from spa.graph import read
from tests.nets.layers import convolutions


def test_a_weight_is_a_share_of_those_that_are_no_smaller():
    found = weigh("w", np.array([[1.0, -3.0], [2.0, 0.0]], np.float32))
    np.testing.assert_allclose(found, [[1 / 14, 1], [4 / 13, 0]], rtol=1e-6)


def test_equal_weights_count_alike():
    found = weigh("w", np.array([[2.0, -2.0], [1.0, 1.0]], np.float32))
    np.testing.assert_allclose(found, [[4 / 8, 4 / 8], [1 / 10, 1 / 10]], rtol=1e-6)


def test_zeros_are_worth_nothing():
    np.testing.assert_array_equal(weigh("w", np.zeros((2, 2), np.float32)), np.zeros((2, 2)))


def two_layers():
    """Channels 0..2 are made by w_1 [3, 2, 1, 1] and read by the head's w [2, 3]."""
    model = convolutions(2, 3, area=(4, 4), head=2)
    values = {
        4: np.array([[1, 2], [3, 0], [1, 1]], np.float32),
        3: np.array([9, 9, 9], np.float32),
    }
    for tensor in model.graph.initializer:
        array = numpy_helper.to_array(tensor)
        if array.shape == (3, 2, 1, 1) or array.shape == (3, 2, 3, 3):
            new = np.zeros(array.shape, np.float32)
            new[:, :, 0, 0] = values[4]
            tensor.CopyFrom(numpy_helper.from_array(new, tensor.name))
        elif array.shape == (3,):
            tensor.CopyFrom(numpy_helper.from_array(values[3], tensor.name))
        elif 3 in array.shape and array.ndim == 2:
            new = np.zeros(array.shape, np.float32)
            new[...] = 1.0
            tensor.CopyFrom(numpy_helper.from_array(new, tensor.name))
    return model


def test_channels_sum_what_makes_and_what_reads_them_and_no_biases():
    coupling = analyse(read(two_layers()), strict=True)
    (group,) = coupling.groups
    found = score(Context(coupling), "lamp")[group.cells].ravel()
    # squares 1 4 | 9 0 | 1 1 of 16 in all; six ones in the head, each 1 / 6 of it
    made = np.array([1 / 16 + 4 / 13, 1 + 0, 1 / 16 + 1 / 16])
    np.testing.assert_allclose(found, made + 2 / 6, rtol=1e-6)


def test_groups_compare_as_they_are():
    coupling = analyse(read(two_layers()), strict=True)
    plain, other = (score(Context(coupling), "lamp", normalize=n) for n in ("none", "mean"))
    np.testing.assert_array_equal(plain, other)
