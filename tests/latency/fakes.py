"""A machine without noise: what a model takes follows from the shapes that it stores."""

from __future__ import annotations

from copy import copy
from math import prod

import numpy as np
from onnx import numpy_helper

from spa.latency import Machine, Store, Table
from spa.pipeline import timed

HERE = Machine("test cpu", 4, "", "CPUExecutionProvider", 1, "1.0")
BLOCK = 16


def blocks(width):
    """Channels as the kernels of this machine see them: whole blocks of 16."""
    return -(-width // BLOCK) * BLOCK


def smooth(width):
    """The same on a machine that does what it must, and no more."""
    return width


def milliseconds(model, rounded=blocks):
    """Every stored weight of two axes or more, outputs times inputs times the rest."""
    total = 0.0
    for tensor in model.graph.initializer:
        dims = tuple(tensor.dims)
        if len(dims) >= 2 and numpy_helper.to_array(tensor).dtype.kind == "f":
            total += rounded(dims[0]) * rounded(dims[1]) * prod(dims[2:]) * 1e-4
    return total


class FakeStopwatch:
    """Counts what it is asked, and needs no onnxruntime."""

    def __init__(self, rounded=blocks, fails=lambda trial: False):
        self.rounded, self.fails = rounded, fails
        self.trials = []

    def __call__(self, trials):
        self.trials += trials
        return [None if self.fails(t) else milliseconds(t.model, self.rounded) for t in trials]


class FakeWhole:
    """The unpruned model; `extra` milliseconds are spent outside of its weights.

    Pruned models take `drag` times what their weights say: what the table did not foresee.
    """

    def __init__(self, coupling, rounded=blocks, extra=0.0, drag=1.0, short=None):
        self.rounded, self.extra, self.drag = rounded, extra, drag
        self.overhead = extra
        self.fastest = milliseconds(coupling.graph.proto, rounded) + extra
        self.asked = 0
        self.left = 1.0 if short is None else 1.0 - self.removed(short)

    def without(self, short):
        """The same beside a model without some of its branches."""
        other = copy(self)
        other.left = 1.0 - self.removed(short)
        return other

    def brief(self):
        """Here as patient as ever."""
        return self

    def removed(self, small):
        self.asked += 1
        taken = milliseconds(small, self.rounded) * self.drag + self.extra
        return 1.0 - taken / self.fastest


def table_of(coupling, stopwatch=None, folder=None, **more):
    return Table(coupling, Store(HERE, folder), stopwatch or FakeStopwatch(), **more)


def kept(coupling, alive):
    """Channels that every group keeps."""
    return [int(np.count_nonzero(alive[g.cells])) for g in coupling.groups]


def machine_of(monkeypatch, rounded):
    """Whatever spa times, this machine takes as long as weights say; its stopwatch."""
    stopwatch = FakeStopwatch(rounded)
    monkeypatch.setattr(timed, "stopwatch", lambda device, threads: stopwatch)
    monkeypatch.setattr(
        timed,
        "Whole",
        lambda coupling, device, threads, seed, short: FakeWhole(
            coupling, rounded, 0.1 * milliseconds(coupling.graph.proto, rounded), short=short
        ),
    )
    return stopwatch


def left_of(model, small):
    """The share of a model's time that a small one takes on a `smooth` machine."""
    whole, left = (milliseconds(each, smooth) for each in (model, small))
    return (left + 0.1 * whole) / (1.1 * whole)
