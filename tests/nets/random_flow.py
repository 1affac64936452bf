"""Steps of random nets with bodies: branches, loops and scans over what the pool holds."""

from __future__ import annotations

from collections.abc import Sequence

from tests.nets.bodies import choose, loop, positive, scan
from tests.nets.random_net import WIDTHS, Feature, Mixture

LEAST = 11


def captures(m: Mixture, opset: int = LEAST) -> bool:
    """Whether bodies may read from outside here.

    Where such a tensor comes from DequantizeLinear, onnxruntime's optimizer ends the process.
    """
    return m.net.opset >= opset and all(n.op_type != "DequantizeLinear" for n in m.net.nodes)


def inner(m: Mixture, x: Feature, depth: int = 0) -> Feature:
    """A few steps inside a body, of what is seen there and of what comes from outside."""
    from tests.nets import random_steps as steps

    known = [
        steps.layer, steps.activation, steps.add, steps.multiply, steps.scaled, steps.gated,
        steps.twice, steps.chunked, steps.where,
    ]  # fmt: skip
    for _ in range(m.pick(0, 1, 1, 2)):
        made = None
        if depth < 1 and m.chance(0.2):
            made = m.pick(branches, looped)(m, x, depth + 1)
        made = made or m.pick(*known)(m, x)
        x = made if isinstance(made, Feature) else x
    return x


def branches(m: Mixture, x: Feature, depth: int = 0) -> Feature | None:
    """Two ways from here to as many channels; now and then one of them is a layer of its own."""
    if not captures(m):
        return None
    size = m.pick(x.size, *WIDTHS)

    def side() -> Sequence[str]:
        made = inner(m, x, depth)
        if made.size != size or m.chance(0.3):
            made = m.mapped(made, size)
        return [m.net.Identity(made.name) if made is x else made.name]

    y = choose(m.net, positive(m.net, m.recent().name), side, side, inside=m.chance(0.5))
    return Feature(y, size, x.area)


def looped(m: Mixture, x: Feature, depth: int = 0) -> Feature | None:
    """A feature goes round a few times; the last, or the sum of all times, is handed on."""
    net = m.net
    if not captures(m, 13):
        return None
    stacked, first = m.chance(0.5), m.matched(x)

    def step(number: str, before: str) -> Sequence[str]:
        made = inner(m, Feature(before, x.size, x.area), depth)
        made = net.Tanh(net.Add(m.mapped(made, x.size).name, before if m.chance(0.5) else x.name))
        if not stacked:
            return [made]
        share = net.Cast(number, to=1)
        return [made, net.Mul(made, net.Add(share, net.scalar(1)))]

    outs = loop(net, m.pick(2, 3), step, [first.name], 1 + stacked, inside=m.chance(0.5))
    if stacked:
        outs = net.Add(outs[0], net.reduce("ReduceSum", outs[1], 0, keep=False))
    return Feature(outs, x.size, x.area)


def scanned(m: Mixture, x: Feature) -> Feature | None:
    """Tokens are walked along, to and fro, with one or two states."""
    net, size = m.net, m.pick(*WIDTHS)
    if net.opset < 13 or x.image:
        return None
    several, back = m.pick(1, 1, 2), int(m.chance(0.3))
    total = net.reduce("ReduceSum", x.name, 1, keep=False)
    states = [net.Tanh(net.linear(total, x.size, size)) for _ in range(several)]
    if m.chance(0.3):
        states[0] = net.Mul(states[0], net.scalar(0))
    gate = m.chance(0.4)

    def step(*given: str) -> Sequence[str]:
        *before, part = given
        new = []
        for state in before:
            mixed = net.Add(net.linear(part, x.size, size), net.linear(state, size, size))
            if gate:
                mixed = net.Mul(net.Sigmoid(mixed), net.Add(state, new[-1] if new else state))
            new.append(net.Tanh(mixed))
        return [*new, net.Neg(new[-1])]

    axes = {"scan_input_axes": [m.pick(1, -2)], "scan_output_axes": [1]}
    attrs = {**axes, "scan_input_directions": [back], "scan_output_directions": [back]}
    given = [(net.batch, size)] * several + [(net.batch, x.size)]
    made = scan(
        net, step, states, [x.name], several + 1, inside=m.chance(0.5), shapes=given, **attrs
    )
    return Feature(net.Add(made[-1], net.unsqueeze(made[0], 1)), size, x.area)


def weights_as_states(m: Mixture, x: Feature) -> Feature | None:
    """A weight goes round unchanged, as some exporters write it, beside a counter."""
    net = m.net
    if not captures(m, 13) or x.image:
        return None
    weight = net.weight(x.size, x.size, scale=x.size**-0.5)

    def step(_: str, before: str, kept: str) -> Sequence[str]:
        return [net.Tanh(net.MatMul(before, kept)), kept]

    outs = loop(net, 2, step, [x.name, weight], 2)
    return Feature(outs[0], x.size, x.area)
