"""Arrays of labels are numbered once for all that hold the same."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest

from spa import labels
from spa.labels import Image, IndexMap
from spa.trace import Couplings


def met(*arrays: np.ndarray) -> tuple[Couplings, list[IndexMap]]:
    """One node whose inputs carry these labels, along all axes of each."""
    maps = [IndexMap(ids, tuple(range(ids.ndim))) for ids in arrays]
    images = {f"x{k}": Image(p.ids.shape, (p,)) for k, p in enumerate(maps)}
    node = SimpleNamespace(index=0, inputs=tuple(images), outputs=())
    return Couplings([node], images, {}, {}), maps


ROW = np.arange(1, 7)
OTHERS = {
    "a view of another shape": (ROW.reshape(1, 6, 1), True),
    "the wrong way round": (ROW[::-1], False),
    "a part": (ROW[1:], False),
    "several axes": (ROW.reshape(2, 3), False),
    "stretched": (np.broadcast_to(ROW[:1], (6,)), False),
    "transposed memory": (ROW.reshape(2, 3).T.reshape(6), False),
}


@pytest.mark.parametrize("name", OTHERS)
def test_views_of_one_row_have_one_number(name):
    other, same = OTHERS[name]
    couplings, (row, index_map) = met(ROW, other)
    assert (couplings.place(row) == couplings.place(index_map)) is same
    assert len(list(couplings.distinct([row, index_map]))) == (1 if same else 2)
    if same:
        assert (labels.core(index_map.ids).ravel() == index_map.ids.ravel()).all()


def test_a_view_in_the_order_of_memory_is_not_what_it_is_a_view_of():
    transposed = np.asfortranarray(np.arange(6).reshape(2, 3))
    flat = transposed.T.reshape(6)
    assert flat.base is transposed and labels.core(flat) is flat


def test_boxes_with_the_same_rows_have_one_number():
    couplings, maps = met(ROW.reshape(2, 3), ROW.reshape(2, 1, 3).copy(), ROW.reshape(3, 2))
    first, same, other = map(couplings.place, maps)
    assert first == same != other


def test_what_is_chosen_lies_end_to_end():
    couplings, maps = met(ROW, np.array([2, 4]), np.array([[1, 3], [5, 4]]))
    hit, bounds = couplings.chosen(np.arange(7) % 2 == 0)
    assert couplings.flat[hit].tolist() == [2, 4, 6, 2, 4, 4]
    assert couplings.within(hit, bounds).tolist() == [1, 3, 5, 0, 1, 3]
    assert bounds.tolist() == [0, 3, 5, 6] and couplings.sizes.tolist() == [6, 2, 4]
    assert [couplings.place(p) for p in maps] == [0, 1, 2]


def test_values_and_labels_are_told_by_array():
    couplings, maps = met(ROW, np.array([2, 4]), np.array([[1, 3], [5, 4]]))
    assert couplings.held(np.array([9, 7, 7, 5, 7, 5, 5])) == [[5, 7], [7], [5, 7]]
    assert couplings.held(np.arange(7) != 3) == [[False, True], [True], [False, True]]
    assert couplings.of([maps[2], maps[1], maps[1]]).tolist() == [2, 4, 1, 3, 5, 4]
