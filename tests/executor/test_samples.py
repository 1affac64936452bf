"""How many inputs a graph gets: by their size, and by memory."""

from __future__ import annotations

import pytest

from spa.errors import LimitError
from spa.executor.samples import FEWEST, LEAST, MOST, check_room, samples_for
from spa.graph import read
from spa.pipeline import prune
from spa.recipe import Recipe
from tests.nets import Net


def graph_of(channels, pixels, head):
    n = Net(opset=17, batch="N")
    y = n.Relu(n.conv(n.input("x", channels, pixels, pixels), channels, 8))
    y = n.Relu(n.conv(y, 8, head))
    return read(n.done(n.MatMul(n.Flatten(n.GlobalAveragePool(y)), n.weight(head, 5))))


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
    n = Net(opset=17, batch="N")
    y = n.Relu(n.conv(n.input("x", 3, 1 << 14, 1 << 13), 3, 8))
    model = n.done(n.conv(y, 8, 4))
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
        n = Net(opset=17, batch=batch)
        y = n.Relu(n.conv(n.input("x", 1, 8, 8), 1, 16))
        graph = read(n.done(n.conv(y, 16, 4)))
        if fits:
            check_room(graph)
        else:
            with pytest.raises(LimitError, match="smaller input or batch"):
                check_room(graph)
