"""How many inputs a graph gets: by their size, and by memory."""

from __future__ import annotations

import pytest

from spa.errors import LimitError
from spa.executor.samples import FEWEST, LEAST, MOST, check_room, samples_for
from spa.graph import read
from spa.pipeline import prune
from spa.recipe import Recipe
from tests.nets.layers import convolutions


def graph_of(channels, pixels, head):
    area = pixels, pixels
    return read(convolutions(channels, 8, head, area=area, head=5, batch="N"))


def test_small_pictures_are_many():
    assert samples_for(graph_of(3, 20, 16), memory=1 << 34) == MOST


def test_of_tiny_inputs_there_are_twice_as_many():
    assert samples_for(graph_of(1, 8, 16), memory=1 << 34) == 2 * MOST


def test_large_inputs_and_little_memory_mean_few():
    assert samples_for(graph_of(3, 700, 16)) <= LEAST
    assert samples_for(graph_of(3, 20, 16), memory=1 << 20) < MOST


def test_where_one_is_too_large_for_memory_there_are_fewest():
    assert samples_for(graph_of(3, 20, 16), memory=1) == FEWEST


def test_a_model_of_which_not_one_sample_fits_is_refused_before_it_is_run():
    """Its file is small; the shape that it declares is not."""
    model = convolutions(3, 8, 4, area=(1 << 14, 1 << 13), batch="N")
    for scorer in ("auto", "l2"):
        with pytest.raises(
            LimitError, match=r"about [\d.]+ GiB .* or give --memory \d+G"
        ) as caught:
            prune(model, Recipe(ratio=0.3, scorer=scorer))
        assert len(str(caught.value)) < 400
    with pytest.raises(LimitError, match="more than the 2 GiB"):
        check_room(read(model), 2 << 30)
    check_room(read(model), 1 << 36)


def test_a_fixed_batch_is_run_as_a_whole_and_counts_as_one():
    """Of a free batch the smallest run is one row."""
    for batch, fits in ((1 << 20, False), ("N", True)):
        graph = read(convolutions(1, 16, 4, batch=batch))
        if fits:
            check_room(graph)
        else:
            with pytest.raises(LimitError, match="smaller input or batch"):
                check_room(graph)
