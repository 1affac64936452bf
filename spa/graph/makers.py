"""What makes the constants that folding stores, remembered where it takes fewer bytes than they do.

A folded tensor is what the analysis wants and a file does not: a table of a megabyte may be made by
three nodes.  Which nodes are worth keeping is decided for all tensors at once, as they share them.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from onnx import NodeProto, TensorProto

from spa.graph.evaluate import has_subgraph
from spa.graph.tensors import copied, external_bytes

LARGEST_FLOW = 1 << 30  # what a capacity may be; larger sizes are counted in larger units


@dataclass
class Makers:
    """Nodes that a model had and whose results folding stored, in an order in which they run.

    `tensors` are those that they read and that nobody else did; `names` are all results that were
    stored, also those whose nodes are not kept.
    """

    nodes: list[NodeProto] = field(default_factory=list)
    tensors: dict[str, TensorProto] = field(default_factory=dict)
    names: set[str] = field(default_factory=set)

    def remember(
        self,
        nodes: Sequence[NodeProto],
        tensors: Mapping[str, TensorProto],
        stored: Sequence[TensorProto],
        stay: Iterable[str],
    ) -> None:
        """Keep what takes fewer bytes than the tensors that are stored in its place.

        `nodes` are about to leave the graph, may read `tensors`, and others read their results in
        `stored`; tensors in `stay` are in the file in any case.
        """
        self.names.update(tensor.name for tensor in stored)
        stay = set(stay)
        costs = {n: 0 if n in stay else framed(tensor) for n, tensor in tensors.items()}
        chosen = cheapest({t.name: framed(t) for t in stored}, [*self.nodes, *nodes], costs)
        known = len(self.nodes)
        self.nodes += [copied(nodes[i - known]) for i in chosen.nodes if i >= known]
        for name in chosen.tensors - self.tensors.keys() - stay:
            self.tensors[name] = copied(tensors[name])


@dataclass(frozen=True)
class Chosen:
    """Results to compute, by name, with all that this takes: nodes by index, tensors by name."""

    results: frozenset[str]
    nodes: tuple[int, ...]
    tensors: frozenset[str]


def cheapest(
    stored: Mapping[str, int], nodes: Sequence[NodeProto], costs: Mapping[str, int]
) -> Chosen:
    """The results that take fewer bytes in sum as nodes than as tensors.

    A closure of largest weight, which is a cut of least capacity: a result that is computed saves
    its bytes and needs its node, which costs its own and needs what it reads.  `stored` is what a
    result takes as a tensor, `costs` what each tensor takes that the nodes may read.
    """
    needs = _Needs(nodes, costs)
    results = [name for name in stored if name in needs.maker and name in needs.ready]
    if not results:
        return Chosen(frozenset(), (), frozenset())
    taken = needs.closure({name: stored[name] for name in results})
    made = [i for i in range(len(nodes)) if i in taken]
    return Chosen(
        frozenset(name for name in results if needs.maker[name] in taken),
        tuple(made),
        frozenset(name for name in costs if name in taken),
    )


class _Needs:
    """What is needed to compute what: nodes by index, tensors by name."""

    def __init__(self, nodes: Sequence[NodeProto], costs: Mapping[str, int]) -> None:
        self.nodes, self.costs = nodes, costs
        self.maker = {name: i for i, node in enumerate(nodes) for name in node.output if name}
        self.ready: set[str] = set(costs) - self.maker.keys()
        for node in nodes:
            if not has_subgraph(node) and self.ready.issuperset(filter(None, node.input)):
                self.ready.update(filter(None, node.output))

    def of(self, item: int | str) -> Iterator[int | str]:
        """What an item needs itself."""
        if isinstance(item, int):
            for name in filter(None, self.nodes[item].input):
                yield self.maker.get(name, name)

    def cost(self, item: int | str) -> int:
        """The bytes that an item takes."""
        return framed(self.nodes[item]) if isinstance(item, int) else self.costs[item]

    def _below(self, items: Iterable[int | str]) -> dict[int | str, None]:
        """Items with all that they need."""
        found = dict.fromkeys(items)
        left = list(found)
        while left:
            for item in self.of(left.pop()):
                if item not in found:
                    found[item] = None
                    left.append(item)
        return found

    def closure(self, saved: Mapping[str, int]) -> set[int | str]:
        """The items of the cheapest choice."""
        from scipy.sparse import csr_array
        from scipy.sparse.csgraph import breadth_first_order, maximum_flow

        items = list(self._below(self.maker[name] for name in saved))
        at = {item: 2 + i for i, item in enumerate(items)}  # 0 is the source and 1 the sink
        first = 2 + len(items)
        unit = 1 + (sum(saved.values()) + sum(map(self.cost, items))) // LARGEST_FLOW
        edges = [(0, first + i, size // unit) for i, size in enumerate(saved.values())]
        edges += [(first + i, at[self.maker[n]], LARGEST_FLOW) for i, n in enumerate(saved)]
        edges += [(at[a], at[b], LARGEST_FLOW) for a in items for b in set(self.of(a))]
        edges += [(at[item], 1, -(-self.cost(item) // unit)) for item in items]
        rows, columns, sizes = np.array(edges, np.int32).T
        shape = (first + len(saved),) * 2
        capacity = csr_array((sizes, (rows, columns)), shape=shape, dtype=np.int32)
        residual = capacity - maximum_flow(capacity, 0, 1).flow
        residual.eliminate_zeros()
        reached = set(breadth_first_order(residual, 0, return_predecessors=False).tolist())
        return {item for item in items if at[item] in reached}


def framed(part: NodeProto | TensorProto) -> int:
    """The bytes that a node or a tensor takes in a model, data in other files included."""
    size: int = part.ByteSize()
    outside = external_bytes(part) if isinstance(part, TensorProto) else 0
    return 1 + length_of(size) + size + outside


def length_of(size: int) -> int:
    """The bytes that protobuf needs to say how many bytes follow."""
    return max(1, -(-size.bit_length() // 7))
