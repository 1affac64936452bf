"""Loading: a file, bytes, a model or a result becomes a module."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from typing import TypeAlias

import onnx

from spa.errors import UsageError
from spa.graph.load import Model, Opened, opened
from spa.graph.normalize import opsets_of, unused
from spa.graph.tensors import defaults_of
from spa.torch.build import Builder, Held, fold, is_narrow, settle
from spa.torch.module import OnnxModule
from spa.torch.program import Mode, Program
from spa.torch.soft import soften

NORMS = ("frozen", "train", "batch")
SMALL = 4096
"""Elements up to which integers stay on the CPU, as they may steer."""

Trainable: TypeAlias = "Iterable[str] | Callable[[str], bool] | None"


def load(
    model: Model | object,
    norms: str = "frozen",
    trainable: Trainable = None,
    *,
    base_dir: str | os.PathLike[str] | None = None,
) -> OnnxModule:
    """An ONNX model as a module that can be trained; it starts in `eval()`.

    Every initializer of floating point that data flow through is a parameter of its own, named
    as in the file and in its type; those that only steer (bounds of Clip, values of Pad, scales of
    Resize and of quantisers, exponents, stored statistics) are buffers, and so is what functions
    of the file keep to themselves, as it has no place to be written back to.

    Args:
        model: a path, bytes, a binary stream, a `ModelProto`, or a result of spa.
        norms: how BatchNormalization is computed. "frozen": on the stored statistics, always.
            "train": as in PyTorch, in `train()` on those of the batch, which the stored ones
            follow with the file's momentum. "batch": in `train()` on those of the batch, and the
            stored ones become the average over all batches since `train()` was called.
        trainable: names of parameters that get gradients, or a function of the name that tells.
            By default all but single numbers (rank 0), which are constants of formulas: an
            epsilon, one half.
        base_dir: the folder of external data, where `model` is no path.

    Raises:
        ReadError: the model is missing, damaged or hostile, or a node cannot be computed in torch;
            the sentence names it.
        UsageError: `norms` or `trainable` name what does not exist.
    """
    if norms not in NORMS:
        raise UsageError(f"norms is one of {', '.join(NORMS)}, not '{norms}'")
    found, folder = _model_of(model, base_dir)
    source = opened(found, base_dir=folder)
    graph = source.proto.graph
    mode = Mode(norms)
    builder = Builder(opsets_of(source.proto), source.source.base_dir, mode)
    program = builder.program(graph)
    narrow = is_narrow(builder.held, graph)
    settle(builder.held, program)
    soften(program)
    options = defaults_of(graph)
    module = OnnxModule(
        program,
        mode,
        source.source,
        [info.name for info in graph.input if info.name not in options],
        list(options),
        [info.name for info in graph.output],
    )
    _hold(module, builder.held, source)
    _choose(module, trainable)
    fold(program)
    _narrow(program, narrow)
    module.refresh()
    return module


def _model_of(
    model: Model | object, base_dir: str | os.PathLike[str] | None
) -> tuple[Model, str | os.PathLike[str] | None]:
    made = getattr(model, "model", None)
    if isinstance(made, onnx.ModelProto):
        return made, base_dir or getattr(model, "base_dir", None)
    if made is None and hasattr(model, "report"):
        raise UsageError("this result of spa holds no model; load one that prune or apply gives")
    return model, base_dir  # type: ignore[return-value]


def _hold(module: OnnxModule, held: list[Held], source: Opened) -> None:
    taken: set[str] = set()
    for each in held:
        name = unused(each.place[1], taken)
        taken.add(name)
        stored = each.place in source.stored
        trained = each.trained and stored
        slot = module.hold(name, each.tensor, each.place, stored, trained)
        program = each.program
        if not trained and _steers(each):
            program.base[each.slot] = each.tensor
        else:
            home = slot.owner._parameters if trained else slot.owner._buffers
            program.live.append((each.slot, home, slot.key))  # type: ignore[arg-type]


def _steers(held: Held) -> bool:
    """Whether a constant stays on the CPU: small integers, and what is only read as numbers."""
    if not held.tensor.is_floating_point():
        return held.tensor.numel() <= SMALL
    readers = [
        k in step.operator.host
        for step in held.program.steps
        for k, place in enumerate(step.ins)
        if place == held.slot
    ]
    return bool(readers) and all(readers)


def _choose(module: OnnxModule, trainable: Trainable) -> None:
    names = [name for name, slot in module._slots.items() if slot.key in slot.owner._parameters]
    if trainable is None:
        wanted = {name for name in names if module.parameter(name).dim() > 0}
    elif callable(trainable):
        wanted = {name for name in names if trainable(name)}
    else:
        wanted = {trainable} if isinstance(trainable, str) else set(trainable)
        unknown = wanted.difference(names)
        if unknown:
            raise UsageError(
                f"trainable names '{min(unknown)}', which is no parameter; leave it out to see "
                "all of them with named_parameters()"
            )
    for name in names:
        module.parameter(name).requires_grad_(name in wanted)


def _narrow(program: Program, narrow: bool) -> None:
    program.narrow = narrow
    for step in program.steps:
        for body in step.bodies:
            _narrow(body, narrow)
