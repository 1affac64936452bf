"""Whether onnxruntime computes from the input itself what it computes from its normalised copy.

All that follows works on the copy, in which functions are inlined and constants folded.  Were one
of these steps wrong, or did onnxruntime take a part of the file for something else, the pruned
model would agree with the copy and not with the file.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from onnx import ModelProto, NodeProto

from spa import runtime
from spa.devices import Device
from spa.errors import ReadError
from spa.events import Advance
from spa.graph import Graph
from spa.rules import is_known
from spa.runtime import Session
from spa.validate.borders import Border, borders, given_name, steered, watched
from spa.validate.gap import gap
from spa.validate.original import Original
from spa.validate.proof import LOOSEST, NOISE, tolerance
from spa.validate.runs import Arrays, Runner

OWN_RUNS = 2  # model runs of a check that finds nothing


def check_own(copy: Original) -> None:
    """Run the input as it was given, and the normalised `copy`.

    What changes from run to run of the input itself cannot be compared and is let pass.

    Raises:
        ReadError: onnxruntime refuses the input, or computes something else from the copy.
    """
    graph = copy.graph
    model = graph.source.model()
    if model is None:
        return
    own = _Own(model, graph, copy.device, copy.ran)
    feeds = copy.feeds()
    want, got = own(feeds, False), copy(feeds, False)
    shared = {name: value for name, value in want.items() if name in got}
    error, limit = gap(shared, got).error, tolerance(graph)
    if error <= limit or _is_unsteady(own, feeds, limit):
        return
    noise = NOISE * gap(want, own(feeds, True)).error
    found, hidden = _decisions(graph, own.model)
    limit = max(limit, noise if hidden else min(noise, LOOSEST))
    if error <= limit or _steered(graph, own, copy, feeds, found) <= limit:
        return
    functions = sorted({function.name for function in model.functions})
    why = f" (it has local functions named {', '.join(functions[:3])})" if functions else ""
    raise ReadError(
        f"onnxruntime computes something else from {_called(graph)} itself than from its "
        f"normalised copy, by {error:.1e}{why}; export it with plain operators of the standard only"
    )


class _Own(Runner):
    """Runs the input: the file or the bytes themselves, where onnxruntime knows all that is in."""

    def __init__(self, model: ModelProto, graph: Graph, device: Device, ran: Advance) -> None:
        super().__init__(model, graph.source.base_dir, device, ran)
        self.given = graph.source.given

    def load(self, optimize: bool) -> tuple[Session, tuple[NodeProto, ...]]:
        if self.given is None or self.given is self.model:
            return super().load(optimize)
        beside = isinstance(self.given, Path) and self.given.absolute().parent == self.base_dir
        folder = None if beside else self.base_dir
        try:
            loaded = runtime.session(
                self.given, optimize=optimize, device=self.device, base_dir=folder
            )
        except ReadError:
            if all(is_known(node.domain, node.op_type) for node in self.model.graph.node):
                raise
            return super().load(optimize)  # the part before what nobody knows
        return loaded, ()

    def of(self, model: ModelProto) -> Runner:
        return Runner(model, self.base_dir, self.device, self.ran)


def _is_unsteady(own: Runner, feeds: Arrays, limit: float) -> bool:
    """Whether the input itself gives other numbers when it is run again."""
    return gap(own(feeds, False), own({**feeds}, False)).error > limit


def _decisions(graph: Graph, own: ModelProto) -> tuple[list[Border], bool]:
    """The borders that both models have, and whether more are hidden in functions of the input."""
    made = {name for node in own.graph.node for name in node.output}
    every = borders(graph.proto, graph.dtypes)
    found = [b for b in every if made.issuperset((*b.compared, *b.given, *b.handed))]
    return found, len(found) < len(every)


def _steered(
    graph: Graph, own: Runner, copy: Runner, feeds: Arrays, found: Sequence[Border]
) -> float:
    """The difference where the copy goes on from what the input has at its decisions."""
    wanted = [n for b in found for n in (*b.compared, *b.handed)]
    known = own.of(watched(own.model, wanted))(feeds, False)
    steers = {given_name(n): known[n] for b in found for n in b.given}
    steers |= {n: known[n] for b in found for n in b.handed}
    got = copy.of(steered(graph.proto, found, graph.dtypes))({**feeds, **steers}, False)
    return gap({name: value for name, value in known.items() if name in got}, got).error


def _called(graph: Graph) -> str:
    return f"'{graph.source.path}'" if graph.source.path else "the model"
