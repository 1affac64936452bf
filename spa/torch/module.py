"""The module: parameters under the names of the file, outputs as the file gives them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias, cast

import numpy as np
import torch
from torch import Tensor

from spa.errors import UsageError
from spa.graph.model import Source
from spa.graph.stored import Place
from spa.torch.program import Mode, Program, Value
from spa.torch.values import tensor_of

Feed: TypeAlias = "Tensor | np.ndarray | Sequence[Tensor] | None"


class Names(torch.nn.Module):
    """A part of the names of parameters, between two dots.

    A name may be both, `a` and `a.b`: as an attribute it is the module, which leads to the rest.
    """

    def __getattr__(self, name: str) -> Any:
        inner = self.__dict__.get("_modules", {}).get(name)
        return super().__getattr__(name) if inner is None else inner


@dataclass(frozen=True)
class Slot:
    """A parameter or buffer: the module that holds it, under which key, and where the file does."""

    owner: torch.nn.Module
    key: str
    place: Place
    stored: bool

    @property
    def value(self) -> Tensor:
        """The tensor that is held now."""
        found = self.owner._parameters.get(self.key)
        return cast("Tensor", self.owner._buffers[self.key] if found is None else found)


class OnnxModule(Names):
    """An ONNX file as a module; `spa.torch.load` makes it.

    Parameters have the names of the file's initializers: `named_parameters()` and `state_dict()`
    give them as they stand there, dots included.  Inputs and outputs are tensors of the shapes and
    types that the file says; axes that it leaves open may have any size at every call.

    Attributes:
        input_names: inputs that must be given, in the order of the file.
        option_names: inputs that may be given, as the file stores a default.
        output_names: in the order of the file.
        norms: how BatchNormalization is computed, see `spa.torch.load`.
    """

    def __init__(
        self,
        program: Program,
        mode: Mode,
        source: Source,
        inputs: Sequence[str],
        options: Sequence[str],
        outputs: Sequence[str],
    ) -> None:
        super().__init__()
        self._program, self._mode, self._source = program, mode, source
        self._slots: dict[str, Slot] = {}
        self.input_names, self.option_names = tuple(inputs), tuple(options)
        self.output_names = tuple(outputs)
        self._tensors = frozenset(program.places)
        super().train(False)

    @property
    def norms(self) -> str:
        """How BatchNormalization is computed: "frozen", "train" or "batch"."""
        return self._mode.norms

    def parameter(self, name: str) -> torch.nn.Parameter:
        """The parameter of an initializer.

        Raises:
            UsageError: no floating initializer that data flow through has that name.
        """
        slot = self._slots.get(name)
        found = slot.owner._parameters.get(slot.key) if slot is not None else None
        if found is None:
            raise UsageError(
                f"the module has no parameter '{name}'; named_parameters() lists those there are"
            )
        return found

    @property
    def source(self) -> Source:
        """Where the model came from."""
        return self._source

    def computed(self) -> list[str]:
        """Tensors that nodes of the main graph compute and do not only move, in their order."""
        names = {place: name for name, place in self._program.places.items()}
        steps = (step for step in self._program.steps if not step.operator.moves)
        return [names[place] for step in steps for place in step.outs if place in names]

    def slots(self) -> Iterator[tuple[str, Slot]]:
        """What a file stores of the module, by name: parameters, and what training may change."""
        for name, slot in self._slots.items():
            if slot.stored and slot.value.is_floating_point():
                yield name, slot

    def hold(self, name: str, tensor: Tensor, place: Place, stored: bool, trained: bool) -> Slot:
        """Keep a tensor under a name, as a parameter or as a buffer."""
        owner: torch.nn.Module = self
        head, *parts = name.split(".") if not name.startswith(".") else [name]
        path = [head, *parts]
        for part in path[:-1]:
            inner = owner._modules.get(part)
            if inner is None:
                inner = owner._modules[part] = Names()
                inner.training = False
            owner = inner
        key = path[-1]
        if trained:
            owner._parameters[key] = torch.nn.Parameter(tensor)
        else:
            owner._buffers[key] = tensor
        slot = self._slots[name] = Slot(owner, key, place, stored)
        return slot

    def train(self, mode: bool = True) -> OnnxModule:
        """As of every module; Dropout and norms follow what the file and `norms` say."""
        super().train(mode)
        self._mode.training = mode
        self._mode.seen.clear()
        return self

    def forward(self, *tensors: Feed, **by_name: Feed) -> Tensor | tuple[Tensor, ...]:
        """The outputs of the file: a tensor, or a tuple where there are several.

        Args:
            tensors: inputs in the order of `input_names`, then of `option_names`.
            by_name: inputs by name.

        Raises:
            UsageError: an input is missing, given twice or unknown.
            ReadError: a node cannot be computed on these inputs.
        """
        names = self.input_names + self.option_names
        if len(tensors) > len(names):
            raise UsageError(f"the model has {len(names)} inputs, {len(tensors)} were given")
        feeds = dict(zip(names, tensors, strict=False))
        twice = feeds.keys() & by_name.keys()
        if twice:
            raise UsageError(f"input '{min(twice)}' is given twice, by order and by name")
        feeds.update(by_name)
        found: Any = self._values(feeds, self.output_names)
        return found[0] if len(found) == 1 else tuple(found)

    def run(
        self, feeds: Mapping[str, Feed], want: Sequence[str] | None = None
    ) -> dict[str, Tensor]:
        """Any tensors of the graph by name; only what they need is computed.

        Args:
            feeds: inputs by name; a tensor inside the graph may be given, too, and then is not
                computed.
            want: names of tensors, outputs or not; by default the outputs.

        Raises:
            UsageError: an input is missing or a name is unknown.
            ReadError: a node cannot be computed on these inputs.
        """
        names = self.output_names if want is None else tuple(want)
        return cast("dict[str, Tensor]", dict(zip(names, self._values(feeds, names), strict=True)))

    def _values(self, feeds: Mapping[str, Feed], want: tuple[str, ...]) -> list[Value]:
        program = self._program
        for name in (*feeds, *want):
            if name not in self._tensors:
                raise UsageError(
                    f"the model has no tensor '{name}'; its inputs are "
                    f"{', '.join(self.input_names + self.option_names)}"
                )
        places = [program.places[name] for name in want]
        given = [(program.places[name], self._fed(value, name)) for name, value in feeds.items()]
        plan = program.plan(tuple(places), frozenset(place for place, _ in given))
        if plan.missing:
            raise UsageError(f"input '{plan.missing}' is missing; give it by order or by name")
        return program.run(given, plan)

    def _fed(self, value: Feed, name: str) -> Value:
        if isinstance(value, Tensor) or value is None:
            return value
        if isinstance(value, np.ndarray | np.generic):
            made = tensor_of(np.asarray(value), f"input '{name}'")
            return made.to(self.device)
        if isinstance(value, list | tuple):
            return [cast("Tensor", self._fed(each, name)) for each in value]
        raise UsageError(
            f"input '{name}' is a {type(value).__name__}; give a torch.Tensor or a numpy.ndarray"
        )

    @property
    def device(self) -> torch.device:
        """Where the parameters lie; the CPU where there are none."""
        for held in (self.parameters(), self.buffers()):
            for each in held:
                return each.device
        return torch.device("cpu")

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> OnnxModule:
        super()._apply(fn, recurse)
        self.refresh()
        return self

    def refresh(self) -> None:
        """Look again where the parameters lie, and in which precision they are."""
        self._program.set_careful(self.device.type != "cpu")

    def extra_repr(self) -> str:
        """What it takes and gives."""
        return f"inputs={list(self.input_names)}, outputs={list(self.output_names)}"
