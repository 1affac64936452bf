"""Motifs of recurrent layers: directions, states, peepholes, weights that are computed."""

from __future__ import annotations

from typing import Any

import numpy as np

from tests.nets.motif import motif
from tests.nets.net import BATCH, Net

GATES = {"LSTM": 4, "GRU": 3, "RNN": 1}
STEPS = 6


def gates(n: Net, op: str, read: int, state: int, ways: int = 1) -> tuple[str, str, str]:
    """Weights of the input, of the state, and biases."""
    rows = GATES[op] * state
    return (
        n.weight(ways, rows, read, scale=read**-0.5),
        n.weight(ways, rows, state, scale=state**-0.5),
        n.weight(ways, 2 * rows, scale=0.1),
    )


def recurrent(
    n: Net, op: str, x: str, read: int, state: int, ways: int = 1, *more: str, **attrs: Any
) -> str:
    """`[L, N, C]` to `[L, N, ways * state]`; `more` are lengths, states and peepholes."""
    way = "bidirectional" if ways == 2 else attrs.pop("direction", "forward")
    given = (*gates(n, op, read, state, ways), *more)
    y = n.node(op, x, *given, hidden_size=state, direction=way, **attrs)
    return n.Reshape(n.Transpose(y, perm=[0, 2, 1, 3]), n.ints(0, 0, ways * state))


def sequence(n: Net, size: int) -> str:
    """An input, as `[L, N, size]`."""
    return n.Transpose(n.linear(n.input("x", STEPS, 5), 5, size), perm=[1, 0, 2])


def batches(n: Net, y: str, size: int) -> str:
    return n.linear(n.Transpose(y, perm=[1, 0, 2]), size, 5)


@motif("10 12 2x4 3 4")
def recurrent_layers(n: Net) -> str:
    y = recurrent(n, "LSTM", n.Relu(sequence(n, 12)), 12, 4, 2)
    y = n.Tanh(n.linear(y, 8, 10))
    y = recurrent(n, "RNN", recurrent(n, "GRU", y, 10, 4), 4, 3)
    return batches(n, y, 3)


@motif("2x5 4 5 6 6", fixed=True)
def recurrent_states(n: Net) -> str:  # peepholes, states that are stored, gates that are not zero
    y = sequence(n, 6)
    state, cell = n.weight(2, 2, 5), n.weight(2, 2, 5)
    odd = ["HardSigmoid", "Softsign", "Sigmoid"] * 2
    peep = n.weight(2, 15, scale=0.3)
    y = recurrent(n, "LSTM", y, 6, 5, 2, "", state, cell, peep, activations=odd)
    y = recurrent(
        n, "LSTM", y, 10, 6, 1, "", "", "", n.weight(1, 18), direction="reverse", input_forget=1
    )
    y = recurrent(n, "RNN", y, 6, 5, 1, "", n.weight(1, 2, 5), activations=["Sigmoid"], clip=0.8)
    lengths = n.const(np.array([4, STEPS], np.int32))
    y = recurrent(n, "GRU", y, 5, 4, 1, lengths, linear_before_reset=1)
    return batches(n, y, 4)


def zeros(n: Net, x: str, ways: int, state: int, value: float = 0.0) -> str:
    """`[ways, N, state]`, the batch being that of `x` (`[L, N, C]`), as exporters write it."""
    batch = n.unsqueeze(n.Gather(n.Shape(x), n.const(np.int64(1))), 0)
    shape = n.Concat(n.ints(ways), batch, n.ints(state), axis=0)
    if value:
        return n.Expand(n.scalar(value), shape)
    return n.ConstantOfShape(shape)


@motif("2x5 4 6", opset=11)
def recurrent_started(n: Net) -> str:  # states made to size; the last states go on
    y = sequence(n, 6)
    first = zeros(n, y, 2, 5)
    _, last, cell = n.LSTM(y, *gates(n, "LSTM", 6, 5, 2), "", first, zeros(n, y, 2, 5, 0.5),
                           hidden_size=5, direction="bidirectional", outs=3)  # fmt: skip
    z = n.reshape(n.Transpose(n.Add(last, cell), perm=[1, 0, 2]), 10)
    start = n.unsqueeze(n.linear(z, 10, 4), 0)
    _, end = n.GRU(y, *gates(n, "GRU", 6, 4), "", start, hidden_size=4, outs=2)
    return n.linear(n.squeeze(end, 0), 4, 5)


@motif("2x4 6 6", opset=11, batch=BATCH)
def recurrent_shared_zeros(n: Net) -> str:  # one tensor of zeros starts all layers
    y = sequence(n, 6)
    whole = zeros(n, y, 2, 4)
    first, second = (n.slice(whole, k, k + 1, 0) for k in range(2))
    y = recurrent(n, "RNN", n.Relu(recurrent(n, "RNN", y, 6, 4, 1, "", first)), 4, 4, 1, "", second)
    y = recurrent(n, "GRU", y, 4, 6)
    return batches(n, y, 6)


@motif("4 5 6", opset=13)
def recurrent_weights_computed(n: Net) -> str:
    y = sequence(n, 6)

    def stored(*shape: int) -> str:
        whole = n.const(n.random.integers(-90, 90, shape).astype(np.int8))
        return n.DequantizeLinear(whole, n.const(np.float32(0.01)), n.const(np.int8(3)))

    y = n.LSTM(y, stored(2, 16, 6), stored(2, 16, 4), n.weight(2, 32), hidden_size=4,
               direction="bidirectional")  # fmt: skip
    y = n.Reshape(n.Transpose(y, perm=[0, 2, 1, 3]), n.ints(0, 0, 8))
    y = n.RNN(y, n.weight(1, 5, 8), stored(1, 5, 5), stored(1, 10), hidden_size=5)
    return batches(n, n.squeeze(y, 1), 5)


@motif("", fixed=True)
def recurrent_state_given(n: Net) -> list[str]:  # by the user, and handed back
    x, h = n.input("x", 5), n.input("h", 2, 4, batched=False)
    y, h = n.RNN(n.unsqueeze(x, 0), *gates(n, "RNN", 5, 4), "", n.unsqueeze(h, 0),
                 hidden_size=4, outs=2)  # fmt: skip
    return [n.Identity(y), n.squeeze(h, 0)]
