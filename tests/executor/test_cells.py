"""Channels of cells in an activation, wherever its axes lie."""

from __future__ import annotations

import numpy as np
import pytest

from spa.executor.cells import Cells, places
from spa.labels import Image, IndexMap

ROOT = np.arange(40)
CELLS = np.arange(1, 13).reshape(3, 4)


def image(ids, axes, shape):
    return Image(shape, (IndexMap(ids, axes),))


def test_columns_follow_the_axes():
    x = np.random.default_rng(0).standard_normal((2, 4, 5, 3)).astype(np.float32)
    transposed = CELLS.T.reshape(1, 4, 1, 3)  # batch, width, tokens, heads
    found = Cells(image(transposed, (1, 3), x.shape), ROOT, CELLS).columns(x)
    assert found.shape == (3, 4, 2, 5)
    np.testing.assert_array_equal(found, x.transpose(3, 1, 0, 2))


def test_repeated_channels_lie_side_by_side():
    ids = np.repeat(CELLS, 2, axis=0).reshape(1, 6, 1, 4)  # every head serves two
    x = np.random.default_rng(0).standard_normal((2, 6, 5, 4)).astype(np.float32)
    found = Cells(image(ids, (1, 3), x.shape), ROOT, CELLS).columns(x)
    assert found.shape == (3, 4, 2, 10)
    np.testing.assert_array_equal(found[1, 2, 0, :5], x[0, 2, :, 2])
    np.testing.assert_array_equal(found[1, 2, 0, 5:], x[0, 3, :, 2])


def test_some_are_silenced_and_the_rest_is_left():
    x = np.random.default_rng(0).standard_normal((2, 3, 5, 4)).astype(np.float32)
    cells = Cells(image(CELLS.reshape(1, 3, 1, 4), (1, 3), x.shape), ROOT, CELLS)
    gone = np.array([[0], [2], [3]])
    less = cells.silenced(x, gone)
    dead = np.zeros((3, 4), bool)
    dead[np.arange(3), gone[:, 0]] = True
    assert not less.transpose(1, 3, 0, 2)[dead].any()
    np.testing.assert_array_equal(less.transpose(1, 3, 0, 2)[~dead], x.transpose(1, 3, 0, 2)[~dead])
    assert x.transpose(1, 3, 0, 2)[dead].all()


def test_cells_that_are_not_whole_have_no_places():
    uneven = IndexMap(np.array([1, 1, 2, 3]), (0,))
    assert places(uneven, ROOT, np.array([[1, 2]])) is None
    assert places(uneven, ROOT, np.array([[8, 9]])) is None
    with pytest.raises(ValueError, match="not all there"):
        Cells(image(np.array([1, 2, 3, 4]), (0,), (4,)), ROOT, CELLS)
