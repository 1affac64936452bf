"""How many inputs a graph gets: by their size, and by memory."""

from __future__ import annotations

from spa.executor.samples import FEWEST, LEAST, MOST, samples_for
from spa.graph import read
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
