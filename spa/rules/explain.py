"""What a rule says about one node, as one line in the style of einsum.

    Conv: [*, (g=2 i=3), *] · [(g o=4), i, *] · [(g o)] -> [*, (g o), *]  reads g,i  makes g,o

Nothing in it is written by hand: a graph of that node is swept with labels on every axis of its
inputs, and axes whose labels turn out to be the same share a letter.  `*` stays whole.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np

from spa.graph.model import Graph, Node
from spa.labels import Image
from spa.rules.letters import Writer
from spa.trace import Collect, Param

Layouts = Mapping[str, Iterable[tuple[int, ...]]]


class Labelled(Collect):
    """Notes on a graph whose inputs have channels of their own, and whose outputs are free."""

    def start(self, layouts: Layouts) -> Labelled:
        """Sweep, with index maps of new labels over the given axes of the inputs."""
        self.begin()
        for k, (name, layout) in enumerate(layouts.items()):
            view = self.graph.shapes[name]
            maps = tuple(self._make(axes, view, (-1, k, turn)) for turn, axes in enumerate(layout))
            self.images[name] = Image(view, maps)
            # as if a stored tensor made them
            self.params[-1, k] = Param(-1, k, name, view, tuple(("makes", p) for p in maps))
        self.run()
        return self


def line(graph: Graph) -> str:
    """The line for a graph of one node."""
    (node,) = graph.nodes
    moving = [n for n in dict.fromkeys(node.inputs) if n in graph.inputs and n in graph.shapes]
    wide = {n: [(a,) for a, k in enumerate(graph.shapes[n]) if k > 1] for n in moving}
    notes = Labelled(graph, strict=True).start(wide)
    roots = notes.roots()
    writer = Writer(roots.solid)
    stored = [p for (at, _), p in notes.params.items() if at == node.index and p.tensor]
    for param in stored:
        writer.name_axes(param)
    _sides(writer, notes, node)  # for the letters only: a later tensor may split an earlier axis
    writer.said.clear()
    told = [f"{node.op}: {_sides(writer, notes, node)}"]
    for role in ("reads", "makes", "scales", "follows"):
        letters = dict.fromkeys(c for p in stored for c in writer.role(p, role))
        told += [f"{role} {','.join(letters)}"] if letters else []
    told += [f"lossy: {text}" for text in dict.fromkeys(loss.text for loss in notes.losses)]
    if not writer.names:
        reasons = {roots.reasons[k].text for k in np.unique(roots.why[1:]) if k >= 0}
        told += [f"frozen: {text}" for text in sorted(reasons)]
    return "  ".join(told)


def _sides(writer: Writer, notes: Labelled, node: Node) -> str:
    inputs = [
        writer.param(notes.params[node.index, i], notes.graph.shapes[name])
        if (node.index, i) in notes.params
        else writer.image(notes.images[name])
        for i, name in enumerate(node.inputs)
        if name
    ]
    outputs = [writer.image(notes.images[o]) for o in node.outputs if o in notes.images]
    return f"{' · '.join(inputs)} -> {', '.join(outputs)}"
