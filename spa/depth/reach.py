"""What lies before what in a graph: who computes a tensor, and what only one reader needs."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from heapq import heappop, heappush

from spa.graph.model import Graph, Node
from spa.rules import trait_of

FIRST_ONLY = frozenset(("reshapes", "permutes", "moves", "pads", "averages"))
ALONE = frozenset(("scales", "divides", "multiplies"))
EVERY = frozenset(("adds", "subtracts", "joins"))


class Reach:
    """Answers for one graph; bodies count as the operation that carries them.

    Sets of nodes are whole numbers with a bit per node: a deep model asks for thousands of them.
    """

    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self.carrier = {node.index: node.index for node in graph.nodes}
        for node in graph.nodes:
            self.carrier |= {inner.index: node.index for inner in within(node)}
        self.maker = {name: node.index for node in graph.nodes for name in node.outputs if name}
        self._inputs = {name: len(graph.nodes) + k for k, name in enumerate(graph.inputs)}
        self._before: list[int] = []
        for node in graph.nodes:
            self._before.append(1 << node.index)
            for name in self.reads(node):
                self._before[node.index] |= self.before(name)

    def reads(self, node: Node) -> list[str]:
        """The computed tensors and inputs of the model that a node, or a body of it, reads."""
        names = dict.fromkeys((*node.inputs, *node.captured))
        return [name for name in names if name in self.maker or name in self._inputs]

    def before(self, name: str) -> int:
        """The nodes, and inputs of the model, that a tensor is computed by."""
        if name in self._inputs:
            return 1 << self._inputs[name]
        return self._before[self.maker[name]] if name in self.maker else 0

    def is_of(self, later: str, earlier: str) -> bool:
        """Whether one tensor is computed of another."""
        own = self.maker.get(earlier, self._inputs.get(earlier))
        return own is not None and later != earlier and bool(self.before(later) >> own & 1)

    def order(self, name: str) -> int:
        """When a tensor is made; those that are given come first."""
        return self.maker.get(name, -1)

    def made_with(self, name: str) -> set[str]:
        """A tensor, and where it is a sum that an operator begins with, what that makes of it."""
        maker = self.graph.nodes[self.maker[name]] if name in self.maker else None
        if maker is None or total_of(maker) != name:
            return {name}
        return set(filter(None, maker.outputs))

    def between(self, firsts: Collection[str], last: str) -> list[Node]:
        """The nodes on the ways from any of some tensors to another, in the order they run."""
        reached, found = set(firsts), []
        end = self.before(last)
        begin = min(map(self.order, firsts)) + 1
        for node in self.graph.nodes[begin : self.order(last) + 1]:
            if end >> node.index & 1 and not reached.isdisjoint(self.reads(node)):
                reached.update(node.outputs)
                found.append(node)
        return found

    def linear(self, name: str) -> Iterator[str]:
        """The tensors that a tensor is a linear map of, itself first."""
        seen, todo = {name}, [name]
        while todo:
            tensor = todo.pop()
            yield tensor
            node = self.maker.get(tensor)
            carried = self._carried(self.graph.nodes[node], tensor) if node is not None else ()
            for source in carried:
                if source not in seen:
                    seen.add(source)
                    todo.append(source)

    def _carried(self, node: Node, tensor: str) -> list[str]:
        """The inputs of which what a node makes is linear, all others being stored."""
        like, reads = trait_of(node), self.reads(node)
        if like.begins is not None:
            whole = tensor == total_of(node)
            return [n for n in summands(node) if n in reads] if whole else []
        if like.linear in EVERY:
            return reads
        first = reads[:1] if node.inputs[:1] == tuple(reads[:1]) else []
        exact = like.casts or like.quantizes or like.dequantizes or like.resamples
        if like.linear in FIRST_ONLY or exact or like.statistics is not None:
            return first
        if like.linear in ALONE or like.contracts is not None:
            return reads if len(reads) == 1 else []
        return []

    def only_for(
        self, name: str, reader: Node | None, instead: str | None = None
    ) -> frozenset[int]:
        """The nodes that nobody needs once `reader` no longer reads `name`, by number.

        Without a reader nobody does, and all read `instead`.
        """
        gone: set[int] = set()
        todo = [-self.maker[name]] if name in self.maker else []
        while todo:  # later nodes first: all readers of a node come before it
            index = -heappop(todo)
            node = self.graph.nodes[index]
            unread = self._unread(node, gone, name, reader)
            if index in gone or instead in node.outputs or not unread:
                continue
            gone.add(index)
            for source in self.reads(node):
                if source in self.maker:
                    heappush(todo, -self.maker[source])
        return frozenset(gone)

    def _unread(self, node: Node, gone: set[int], name: str, reader: Node | None) -> bool:
        for made in filter(None, node.outputs):
            if made == name and reader is None:
                continue
            users = self.users(made)
            left = users - gone - ({reader.index} if reader and made == name else set())
            if left or made in self.graph.outputs:
                return False
        return True

    def users(self, name: str) -> set[int]:
        """The nodes that read a tensor, or whose bodies do, by number."""
        return {self.carrier[user.index] for user in self.graph.readers.get(name, ())}

    def outside(self, nodes: Iterable[Node], inside: frozenset[int]) -> str:
        """Who else reads what one of these nodes makes, in words; `inside` does not count."""
        for node in nodes:
            for made in filter(None, node.outputs):
                if made in self.graph.outputs:
                    return f"{made} is an output of the model"
                for user in self.graph.readers.get(made, ()):
                    if self.carrier[user.index] not in inside:
                        return f"{user} reads {made}"
        return "it cannot be told by whom"


def summands(node: Node) -> tuple[str, ...]:
    """The two inputs that a node adds; nothing where it is no sum of two."""
    like = trait_of(node)
    if like.begins is None:
        return node.inputs if like.linear == "adds" and len(node.inputs) == 2 else ()
    places = like.begins.operands
    whole = all(like.begins.rest(node, place) is not None for place in places)
    return tuple(node.inputs[place] for place in places) if whole else ()


def total_of(node: Node) -> str | None:
    """The output that is the sum which a node begins with."""
    like = trait_of(node).begins
    if like is None or like.total is None:
        return None
    return (*node.outputs, *[""] * (like.total + 1))[like.total] or None


def within(node: Node) -> Iterator[Node]:
    """All nodes in the bodies of a node, and at their borders."""
    for part in (node.before, node.after, *node.bodies.values()):
        for inner in part:
            yield inner
            yield from within(inner)
