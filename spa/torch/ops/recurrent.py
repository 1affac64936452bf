"""LSTM, GRU and RNN: by torch's own kernels where they are the standard's, else step by step."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import torch
from torch import Tensor

from spa.torch.ops.activations import activate
from spa.torch.registry import op

Cell: TypeAlias = "Callable[[Tensor, list[Tensor], int], list[Tensor]]"
Result: TypeAlias = "Tensor | tuple[Tensor, ...]"


@dataclass(frozen=True)
class Acts:
    """The activations of all directions, with their parameters in the order that they take them."""

    names: tuple[str, ...]
    alphas: tuple[float, ...]
    betas: tuple[float, ...]

    def of(self, direction: int, several: int) -> list[Callable[[Tensor], Tensor]]:
        """Those of one direction."""
        mine = self.names[direction * several : (direction + 1) * several]
        return [self._one(name, direction * several + k) for k, name in enumerate(mine)]

    def _one(self, name: str, k: int) -> Callable[[Tensor], Tensor]:
        stated = [*self.alphas[k : k + 1], *self.betas[k : k + 1]]
        return lambda x: activate(x, name, stated)


@dataclass(frozen=True)
class Layer:
    """What all three have in common.

    Attributes:
        x: `[time, batch, inputs]`.
        lengths: of each row of the batch, or None.
        reversals: by direction, whether it runs backwards.
    """

    x: Tensor
    lengths: Tensor | None
    reversals: tuple[bool, ...]

    def run(
        self, cell: Callable[[int], Cell], states: Sequence[Tensor]
    ) -> tuple[Tensor, list[Tensor]]:
        """All directions: outputs `[time, directions, batch, size]`, and last states."""
        rows, ends = [], []
        for k, back in enumerate(self.reversals):
            mine = [s[k] for s in states]
            made, end = self._one(cell(k), mine, back)
            rows.append(made)
            ends.append(end)
        last = [torch.stack([e[s] for e in ends]) for s in range(len(states))]
        return torch.stack(rows, 1), last

    def _one(self, cell: Cell, states: list[Tensor], back: bool) -> tuple[Tensor, list[Tensor]]:
        x = _turned(self.x, self.lengths) if back else self.x
        made = []
        for step in range(x.shape[0]):
            new = cell(x[step], states, step)
            if self.lengths is not None:
                inside = (step < self.lengths)[:, None]
                new = [torch.where(inside, n, s) for n, s in zip(new, states, strict=True)]
                made.append(torch.where(inside, new[0], torch.zeros_like(new[0])))
            else:
                made.append(new[0])
            states = new
        rows = torch.stack(made) if made else x.new_zeros((0, *states[0].shape))
        return (_turned(rows, self.lengths) if back else rows), states


def _turned(x: Tensor, lengths: Tensor | None) -> Tensor:
    """A sequence backwards, each row of the batch from its own end."""
    if lengths is None:
        return x.flip(0)
    steps = torch.arange(x.shape[0], device=x.device)[:, None]
    ends = lengths.long()[None]
    at = torch.where(steps < ends, ends - 1 - steps, steps)
    return x.gather(0, at[..., None].expand(x.shape))


def _layer(x: Tensor, lengths: Tensor | None, direction: str, layout: int) -> Layer:
    found = {"forward": (False,), "reverse": (True,), "bidirectional": (False, True)}
    held = x.transpose(0, 1) if layout else x
    if lengths is not None and bool((lengths == held.shape[0]).all()):
        lengths = None
    return Layer(held, lengths, found[direction])


def _acts(
    names: Sequence[str] | None,
    default: Sequence[str],
    directions: int,
    alphas: Sequence[float] | None,
    betas: Sequence[float] | None,
) -> Acts:
    return Acts(
        tuple(names or tuple(default) * directions), tuple(alphas or ()), tuple(betas or ())
    )


def _start(state: Tensor | None, layer: Layer, size: int, layout: int) -> Tensor:
    if state is None:
        return layer.x.new_zeros((len(layer.reversals), layer.x.shape[1], size))
    return state.transpose(0, 1) if layout else state


def _result(made: Tensor, last: Sequence[Tensor], layout: int, outputs: int) -> Result:
    if layout:
        made, last = made.permute(2, 0, 1, 3), [s.transpose(0, 1) for s in last]
    return made if outputs == 1 else (made, *last)[:outputs]


def _bias(b: Tensor | None, k: int, gates: int) -> tuple[Tensor | float, Tensor | float]:
    if b is None:
        return 0.0, 0.0
    half = b.shape[1] // 2
    return b[k, :half], b[k, half:]


def _bound(clip: float | None) -> Callable[[Tensor], Tensor]:
    return (lambda x: x) if clip is None else (lambda x: x.clamp(-clip, clip))


@op("RNN", steer=(4,))
def rnn(
    x: Tensor,
    w: Tensor,
    r: Tensor,
    b: Tensor | None = None,
    lengths: Tensor | None = None,
    h: Tensor | None = None,
    *,
    activation_alpha: Sequence[float] | None = None,
    activation_beta: Sequence[float] | None = None,
    activations: Sequence[str] | None = None,
    clip: float | None = None,
    direction: str = "forward",
    hidden_size: int | None = None,
    layout: int = 0,
    outputs: int,
) -> Result:
    """H' = f(x W^T + h R^T + b)."""
    layer, size = _layer(x, lengths, direction, layout), r.shape[2]
    acts = _acts(activations, ("Tanh",), len(layer.reversals), activation_alpha, activation_beta)
    bound = _bound(clip)

    def cell(k: int) -> Cell:
        (f,), (bw, br) = acts.of(k, 1), _bias(b, k, 1)
        into, back = w[k].t(), r[k].t()
        return lambda at, states, _: [f(bound(at @ into + bw + states[0] @ back + br))]

    made, last = layer.run(cell, [_start(h, layer, size, layout)])
    return _result(made, last, layout, outputs)


@op("GRU", steer=(4,))
def gru(
    x: Tensor,
    w: Tensor,
    r: Tensor,
    b: Tensor | None = None,
    lengths: Tensor | None = None,
    h: Tensor | None = None,
    *,
    activation_alpha: Sequence[float] | None = None,
    activation_beta: Sequence[float] | None = None,
    activations: Sequence[str] | None = None,
    clip: float | None = None,
    direction: str = "forward",
    hidden_size: int | None = None,
    layout: int = 0,
    linear_before_reset: int = 0,
    outputs: int,
) -> Result:
    """Gates in the order z, r, h; h' = (1 - z) g + z h."""
    layer, size = _layer(x, lengths, direction, layout), r.shape[2]
    default = ("Sigmoid", "Tanh")
    acts = _acts(activations, default, len(layer.reversals), activation_alpha, activation_beta)
    bound = _bound(clip)

    def cell(k: int) -> Cell:
        (f, g), (bw, br) = acts.of(k, 2), _bias(b, k, 3)
        into, back = w[k].t(), r[k].t()
        gates, own = back[:, : 2 * size], back[:, 2 * size :]
        low: Tensor | float = br if isinstance(br, float) else br[: 2 * size]
        high: Tensor | float = br if isinstance(br, float) else br[2 * size :]

        def step(at: Tensor, states: list[Tensor], _: int) -> list[Tensor]:
            (before,) = states
            made = at @ into + bw
            z, reset = f(bound(made[:, : 2 * size] + before @ gates + low)).chunk(2, 1)
            if linear_before_reset:
                new = made[:, 2 * size :] + reset * (before @ own + high)
            else:
                new = made[:, 2 * size :] + (reset * before) @ own + high
            return [(1 - z) * g(bound(new)) + z * before]

        return step

    made, last = layer.run(cell, [_start(h, layer, size, layout)])
    return _result(made, last, layout, outputs)


@op("LSTM", steer=(4,))
def lstm(
    x: Tensor,
    w: Tensor,
    r: Tensor,
    b: Tensor | None = None,
    lengths: Tensor | None = None,
    h: Tensor | None = None,
    c: Tensor | None = None,
    p: Tensor | None = None,
    reads: Callable[[Tensor], Tensor] | None = None,
    *,
    activation_alpha: Sequence[float] | None = None,
    activation_beta: Sequence[float] | None = None,
    activations: Sequence[str] | None = None,
    clip: float | None = None,
    direction: str = "forward",
    hidden_size: int | None = None,
    input_forget: int = 0,
    layout: int = 0,
    outputs: int,
) -> Result:
    """Gates in the order i, o, f, c, with peepholes i, o, f; by torch's kernel where it can be.

    No node gives `reads`: other operators do, to change a state before it is multiplied.
    """
    layer, size = _layer(x, lengths, direction, layout), r.shape[2]
    start = _start(h, layer, size, layout), _start(c, layer, size, layout)
    plain = activations is None or [a.lower() for a in activations] == [
        "sigmoid",
        "tanh",
        "tanh",
    ] * len(layer.reversals)
    plain = plain and p is None and clip is None and not input_forget and reads is None
    if plain and layer.lengths is None:
        made, last = _by_kernel(layer, w, r, b, start)
        return _result(made, last, layout, outputs)
    default = ("Sigmoid", "Tanh", "Tanh")
    acts = _acts(activations, default, len(layer.reversals), activation_alpha, activation_beta)
    bound = _bound(clip)

    def cell(k: int) -> Cell:
        (f, g, last), (bw, br) = acts.of(k, 3), _bias(b, k, 4)
        into, back = w[k].t(), r[k].t()
        pi, po, pf = (0.0, 0.0, 0.0) if p is None else p[k].chunk(3)

        def step(at: Tensor, states: list[Tensor], _: int) -> list[Tensor]:
            before, kept = states
            seen = before if reads is None else reads(before)
            i, o, forget, new = (at @ into + bw + seen @ back + br).chunk(4, 1)
            i = f(bound(i + pi * kept))
            forget = 1 - i if input_forget else f(bound(forget + pf * kept))
            cell_state = forget * kept + i * g(bound(new))
            return [f(bound(o + po * cell_state)) * last(cell_state), cell_state]

        return step

    made, ends = layer.run(cell, start)
    return _result(made, ends, layout, outputs)


def _by_kernel(
    layer: Layer, w: Tensor, r: Tensor, b: Tensor | None, start: tuple[Tensor, Tensor]
) -> tuple[Tensor, list[Tensor]]:
    """Torch's LSTM, whose gates come in the order i, f, c, o."""
    made, ends = [], []
    for k, back in enumerate(layer.reversals):
        weights = [_ordered(w[k]), _ordered(r[k])]
        if b is not None:
            weights += [_ordered(part) for part in b[k].chunk(2)]
        x = layer.x.flip(0) if back else layer.x
        state = [s[k : k + 1].contiguous() for s in start]
        y, h, c = torch.lstm(x, state, weights, b is not None, 1, 0.0, False, False, False)
        made.append(y.flip(0) if back else y)
        ends.append((h, c))
    return torch.stack(made, 1), [torch.cat([e[s] for e in ends]) for s in (0, 1)]


def _ordered(gates: Tensor) -> Tensor:
    """From i, o, f, c to i, f, c, o."""
    i, o, f, c = gates.chunk(4)
    return torch.cat([i, f, c, o])
