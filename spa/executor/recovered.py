"""Statistics of BatchNormalizations that were folded away, recovered from what they left behind.

A convolution whose output only sums and other convolutions read (a linear bottleneck) was trained
with a BatchNormalization behind it and one behind each of its readers.  These take away whatever
constant the first adds, so its shift got no gradient and stayed where it began, at zero: on the
inputs that the model was trained on, each channel of such an output has mean zero.  On inputs made
up for it, it has not, and activations drift further from layer to layer.  Two things put them back:

* shift: the mean of a linear output is taken away;
* spread: the mean of rectified numbers depends on their spread.  What the first convolution of a
  block makes is spread about its mean by the factor that brings the means of the linear output at
  the end of the block closest to zero.

Whether the reasoning holds for a model shows: means of linear outputs are small on any inputs then.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spa.devices import Device
from spa.executor.channels import moments, moved
from spa.executor.sinks import Ways
from spa.executor.stream import Batches, Stream
from spa.graph.model import Graph, Node
from spa.rules import trait_of

SAMPLES = 24
STEP = 2**0.5
FARTHEST = 6  # steps of the spread, up or down, at most
TRUST = 0.35
"""Means of linear outputs, in standard deviations, beyond which the reasoning does not hold."""
FARTHER = 2  # so many times as far, and a single output is left alone among others that are trusted
FEW = 3  # linear outputs below which there is no telling
TINY = 1e-4  # of the mean standard deviation of a tensor: less, and a channel is constant
Array = NDArray[Any]
Feeds = Sequence[Mapping[str, Array]]


@dataclass(frozen=True, eq=False)
class Block:
    """A convolution with a linear output, and the one that begins the way to it, if it is known."""

    last: Node
    first: Node | None


def recover(graph: Graph, feeds: Feeds, device: Device = "cpu", begin: int = 0) -> dict[str, Array]:
    """What puts activations back where training had them: `[2, channels]`, a factor and a summand.

    By the name of the tensor; empty where the model gives no reason to believe in it.  Only the
    first few `feeds` are used; they are what the node number `begin` reads.
    """
    blocks = list(blocks_of(graph))
    if len(blocks) < FEW:
        return {}
    stream = Stream(graph.proto, graph, _some(feeds), device)
    stream.done = begin
    found: dict[str, Array] = {}
    misses: list[float] = []
    for block in blocks:
        if block.first is not None and block.first.index >= stream.done:
            name = block.first.outputs[0]
            stream.run_to(block.first.index + 1, [name])
            found[name] = _spread(stream, name, block.last)
            stream.values[name] = [moved(x, found[name]) for x in stream.values[name]]
        name = block.last.outputs[0]
        stream.run_to(block.last.index + 1, [name])
        mean, var, _ = moments(stream.values[name])
        misses.append(missed(mean, var))
        if len(misses) >= FEW and not np.median(misses) <= TRUST:
            return {}
        if misses[-1] <= FARTHER * TRUST:
            found[name] = np.stack([np.ones_like(mean), -mean])
            stream.values[name] = [moved(x, found[name]) for x in stream.values[name]]
    return found


def _some(feeds: Feeds) -> Feeds:
    """The first batches that hold enough samples."""
    sizes = [max(len(x) if np.ndim(x) else 1 for x in feed.values()) for feed in feeds]
    enough = sum(total < SAMPLES for total in accumulate(sizes)) + 1
    return feeds[:enough]


def missed(mean: Array, var: Array) -> float:
    """How far means are from zero, in standard deviations: root mean square over channels."""
    if not np.isfinite(mean).all() or not np.isfinite(var).all() or not var.any():
        return float("nan")
    floor = np.square(TINY) * var.mean()
    return float(np.sqrt(np.mean(np.square(mean) / np.maximum(var, floor))))


def _spread(stream: Stream, name: str, last: Node) -> Array:
    """The factor about the mean of what a block begins with that suits what it ends in."""
    end = last.outputs[0]
    mean = moments(stream.values[name])[0]
    part = stream.part(last.index + 1, [end])
    known: dict[int, float] = {}

    def affine(step: int) -> Array:
        scale = np.full_like(mean, STEP**step)
        return np.stack([scale, (1 - scale) * mean])

    def away(step: int) -> float:
        if step not in known:
            made: Batches = []
            for k in range(stream.count):
                values = part.inputs_of(stream, k)
                made.append(part({**values, name: moved(values[name], affine(step))})[end])
            known[step] = missed(*moments(made)[:2])
        return known[step]

    best = 0
    for way in (1, -1):
        while abs(best + way) <= FARTHEST and away(best + way) < away(best):
            best += way
    return affine(best)


def blocks_of(graph: Graph) -> Iterator[Block]:
    """The convolutions with linear outputs, in the order of the graph."""
    ways = Ways(graph)
    linear: set[str] = set()
    for node in graph.nodes:
        if _is_biased(graph, node):
            linear |= _linear(graph, ways, node.outputs[0])
    makers = {name: node for node in graph.nodes for name in node.outputs}
    for node in graph.nodes:
        if node.outputs[:1] and node.outputs[0] in linear and _is_biased(graph, node):
            yield Block(node, _first(makers, linear, node))


def _is_biased(graph: Graph, node: Node) -> bool:
    """Whether a node is a convolution that may have taken in a BatchNormalization."""
    if not trait_of(node).convolves or len(node.inputs) < 3:
        return False
    return all(name in graph.consts for name in node.inputs[1:])


def _linear(graph: Graph, ways: Ways, name: str) -> set[str]:
    """A tensor and the sums it goes into, if only convolutions read them; else nothing."""
    todo, seen, read = [name], {name}, False
    while todo:
        tensor = todo.pop()
        if tensor in ways.outputs:
            return set()
        for node, i in ways.users.get(tensor, ()):
            if i == 0 and _is_biased(graph, node):
                read = True
            elif (trait_of(node).hands_on and i == 0) or _is_sum(graph, node):
                if node.outputs[0] not in seen:
                    seen.add(node.outputs[0])
                    todo.append(node.outputs[0])
            else:
                return set()
    return seen if read else set()


def _is_sum(graph: Graph, node: Node) -> bool:
    """Whether a node adds activations of one shape."""
    shapes = [graph.shapes.get(name) for name in node.inputs]
    same = len(set(shapes)) == 1 and shapes[0] is not None
    return trait_of(node).linear == "adds" and same


def _first(makers: Mapping[str, Node], linear: set[str], last: Node) -> Node | None:
    """The one convolution that reads a linear tensor on the way to a linear output."""
    todo, seen, found = [last.inputs[0]], set(), []
    while todo:
        node = makers.get(todo.pop())
        if node is None or node.index in seen:
            continue
        seen.add(node.index)
        if any(name in linear for name in node.inputs):
            found.append(node)
        else:
            todo += [name for name in node.inputs if name]
    return found[0] if len(found) == 1 and trait_of(found[0]).convolves else None
