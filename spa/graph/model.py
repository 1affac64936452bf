"""The frozen data of a model: `Graph`, its `Node`s and the `Source` it came from."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from spa.errors import ReadError

if TYPE_CHECKING:
    import onnx

    from spa.graph.makers import Makers


FLOW = "spa.flow"  # the domain of what happens at the borders of bodies; no file has such nodes


Attributes: TypeAlias = Mapping[str, Any]
"""Of a node, by name: numbers, text, lists, arrays or graphs, as the operator wants them."""
Given: TypeAlias = "Path | bytes | onnx.ModelProto | None"
Contents: TypeAlias = "bytes | None"


@dataclass(frozen=True)
class Source:
    """Where a model came from; `sha256` is of the model file, `bytes` counts external data too.

    `given` is what was read: a path, the bytes or the caller's own model.  `unlisted` counts the
    weights of a file of IR 4 or newer that left its list of inputs.  `ops` counts the nodes of the
    file by op.
    """

    path: Path | None
    sha256: str
    bytes: int
    opset: int
    producer: str
    external: bool
    base_dir: Path | None = None  # the folder that external locations are relative to
    given: Given = field(default=None, repr=False, compare=False)
    unlisted: int = 0
    ops: Mapping[str, int] = field(default_factory=dict, repr=False, compare=False)

    def model(self) -> onnx.ModelProto | None:
        """The model as it was given, without external data; None where that is gone."""
        import onnx

        if isinstance(self.given, Path):
            return onnx.load(self.given, load_external_data=False)
        if self.given is None or isinstance(self.given, onnx.ModelProto):
            return self.given
        return onnx.load_from_string(self.given)

    def original(self) -> tuple[onnx.ModelProto, Contents]:
        """The model as it was given, to be changed, and its bytes; None of a model in memory.

        Raises:
            ReadError: the file is gone, or is not what was read.
        """
        import onnx

        from spa.graph.tensors import copied

        if isinstance(self.given, onnx.ModelProto):
            return copied(self.given), None
        try:
            contents = self.given.read_bytes() if isinstance(self.given, Path) else self.given
        except OSError as error:
            raise self._gone() from error
        if contents is None or hashlib.sha256(contents).hexdigest() != self.sha256:
            raise self._gone()
        return onnx.load_from_string(contents), contents

    def _gone(self) -> ReadError:
        label = "the model" if self.path is None else f"'{self.path}'"
        return ReadError(
            f"{label} is gone or was changed since it was read, and writing needs all of it that "
            "does not change; put it back as it was"
        )


@dataclass(frozen=True, eq=False)
class Node:
    """One operation; tensors are names, `""` is an absent optional one.

    The bodies of an If, Loop or Scan that can be followed are in `bodies`, by attribute.  What
    crosses their borders are nodes of their own (domain `FLOW`), in `before` and `after` the
    bodies; `slots` says which input of the operation each of their inputs is (-1: none).  `times`
    is how often one inference runs the node.
    """

    index: int
    op: str
    domain: str
    version: int
    name: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    attrs: Attributes
    captured: tuple[str, ...] = ()
    bodies: Mapping[str, tuple[Node, ...]] = field(default_factory=dict)
    before: tuple[Node, ...] = ()
    after: tuple[Node, ...] = ()
    slots: tuple[int, ...] = ()
    times: float = 1.0

    def __str__(self) -> str:
        """What an error message calls this node."""
        return f"{self.op} node '{self.name}'"


@dataclass(frozen=True, eq=False)
class Graph:
    """A normalised model: functions inlined, constants folded, nodes sorted, sizes chosen.

    `shapes`, `dtypes` and `values` hold for the sizes in `dims`; a tensor whose shape nobody
    could tell is absent from `shapes`.  `symbolic` says of which values which elements are others
    at other sizes; all that it does not name holds at every size.  `stretched` are axes of results
    that keep their length, as an axis is repeated along them that has one place in the analysis
    only.  `proto` must not be changed:
    copy it first.  `inner` are the nodes inside bodies and at their borders, numbered after
    `nodes`; `order` is all of them as they run, each body once, in the place of the operation that
    carries it.  `options` are further inputs, which have a default that is used where a caller
    leaves them out; `proto` stores it, but it is no constant.  `makers` are nodes that a file may
    have in the place of larger constants.  `elsewhere` tells shapes at other sizes, walked when
    they are asked for.
    """

    proto: onnx.ModelProto
    nodes: tuple[Node, ...]
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    shapes: Mapping[str, tuple[int, ...]]
    dtypes: Mapping[str, np.dtype]
    consts: Mapping[str, np.ndarray]
    values: Mapping[str, np.ndarray]
    symbolic: Mapping[str, np.ndarray]
    stretched: Mapping[str, frozenset[int]]
    dims: Mapping[str, int]
    dynamic: Mapping[str, tuple[str | None, ...]]
    source: Source
    inner: tuple[Node, ...]
    order: tuple[Node, ...]
    options: tuple[str, ...] = ()
    makers: Makers | None = None
    elsewhere: Callable[[], Sequence[Mapping[str, tuple[int, ...]]]] = lambda: ()

    def alike(self, *names: str) -> bool:
        """Whether tensors have one shape here and at other sizes of every symbol."""
        here = {self.shapes.get(name) for name in names}
        if len(here) > 1 or None in here or any(name in self.stretched for name in names):
            return False
        found = [{shapes.get(name) for name in names} for shapes in self.elsewhere()]
        return all(len(each) == 1 and None not in each for each in found)

    @cached_property
    def readers(self) -> Mapping[str, Sequence[Node]]:
        """By tensor, the nodes that read it, those in the bodies of others included."""
        readers: dict[str, list[Node]] = {}
        for node in self.order:
            for name in dict.fromkeys((*node.inputs, *node.captured)):
                readers.setdefault(name, []).append(node)
        return readers

    @cached_property
    def made_by(self) -> Mapping[str, Node]:
        """By tensor, the node that makes it."""
        return {name: node for node in self.order for name in node.outputs if name}

    def at(self, index: int) -> Node:
        """The node of a number, inside a body or not."""
        several = len(self.nodes)
        return self.nodes[index] if index < several else self.inner[index - several]

    def weight(self, name: str) -> np.ndarray:
        """A constant to go through once: without a copy where that can be, perhaps unaligned."""
        in_place = getattr(self.consts, "in_place", self.consts.__getitem__)
        array: np.ndarray = in_place(name)
        return array
