"""Run the rules, solve their notes, and try the groups out until every balanced choice fits."""

from __future__ import annotations

import gc
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np

from spa import labels
from spa.coupling.crossed import factors
from spa.coupling.describe import frozen_of, groups_of, lone_of
from spa.coupling.heads import alike, tie, wide
from spa.coupling.model import Coupling, KeptUnits
from spa.coupling.partition import Partition, partition, rooted
from spa.coupling.shared import tie_shared
from spa.graph.model import Graph, Node
from spa.labels import Ids, IndexMap
from spa.recipe import Heads
from spa.rules import REFITS, SILENT
from spa.trace import EVEN, TIED, Collect, Kept, MisplacedError, Reason, Roots
from spa.trace.check import check

TRIALS = (0.5, 0.0, 0.25, 0.75)  # shares of every cell to drop, but at least one channel
ROUNDS = 200


def analyse(graph: Graph, *, strict: bool = False, heads: Heads = "free") -> Coupling:
    """Find the groups of coupled channels of a graph; `heads` says how finely attention is cut.

    `strict` lets an error inside a rule through instead of freezing its node (for tests).
    """
    with _all_kept():
        notes = Collect(graph, strict).sweep()
        made_of = factors(notes)
        if made_of:
            notes = Collect(graph, strict, made_of=made_of).sweep()
        if heads == "tied":
            tie(notes)
        elif heads == "whole" and notes.headed:
            notes = Collect(graph, strict, alike(notes), made_of).sweep()
        tie_shared(notes)
        return settle(notes, heads)


@contextmanager
def _all_kept() -> Iterator[None]:
    """No search for cycles of garbage: of the many small objects made here nearly all stay."""
    searches = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if searches:
            gc.enable()


def settle(notes: Collect, heads: Heads = "free") -> Coupling:
    """Solve the notes; merge or freeze what cannot be placed, until random choices fit."""
    for _ in range(ROUNDS):
        roots = notes.roots()
        parts = partition(notes, roots.solid)
        if _even_out(notes, parts):
            continue
        errors, steady = _try_out(notes, roots, parts)
        if not errors:
            groups = groups_of(notes, roots, parts.cells)
            return Coupling(
                notes.graph,
                notes,
                roots,
                wide(notes, roots.solid, groups) if heads == "whole" else groups,
                (*frozen_of(notes, roots), *lone_of(notes, roots, parts.cells)),
                steady,
                heads,
            )
        for error in errors:
            resolve(notes, roots.solid, error)
    for cells in partition(notes, notes.roots().solid).cells:
        notes.hold(cells, Reason("no placement was found", "", ""))
    return settle(notes, heads)


def _even_out(notes: Collect, parts: Partition) -> bool:
    """Merge rows that cannot keep equal counts, freeze what is in lockstep with what is frozen."""
    for units in parts.stuck:
        notes.hold(units, Reason("as many are needed as in a row that cannot be cut", "", ""))
    for units in parts.odd:
        notes.hold(units, Reason("its rows do not divide evenly into equal cells", "", ""))
    for runs in parts.coarse:
        notes.tie(runs[:, :1], runs)
    for rows in {id(r): r for r in parts.uneven}.values():
        notes.tie(rows[:1], rows)
    return bool(parts.stuck or parts.odd or parts.coarse or parts.uneven)


def _try_out(
    notes: Collect, roots: Roots, parts: Partition
) -> tuple[list[MisplacedError], frozenset[int]]:
    """Check random balanced choices, the later ones where other numbers may matter.

    Returns what does not fit, or else the nodes that will fit whatever is chosen.
    """
    passed: frozenset[int] = frozenset()
    by_length: dict[int, list[Ids]] = defaultdict(list)
    for cells in parts.cells:
        by_length[cells.shape[1]].append(cells)
    alike = [np.concatenate(cells) for cells in by_length.values()]
    for seed, share in enumerate(TRIALS if alike else ()):
        rng = np.random.default_rng(seed)
        kept = np.ones(notes.size, bool)
        for cells in alike:
            drop = max(1, int(share * cells.shape[1]))
            kept[rng.permuted(cells, axis=1)[:, :drop]] = False
        errors = check(Kept(notes, roots.solid, kept), notes.graph.order, passed)
        if errors:
            return errors, frozenset()
        if not passed:
            passed = indifferent(notes, roots.solid)
    return [], passed


def indifferent(notes: Collect, root: Ids) -> frozenset[int]:
    """The nodes that fit all cuts if they fit one: they only hand on, or compare, the same rows.

    Equal rows stay equal whatever is taken out of them, unless nothing is left, and so do equal
    boxes.  Numbers matter where rows lie side by side or over each other, and where the node says
    something about sizes (a convolution of one group does not).
    """
    boxes: dict[int, tuple[tuple[int, ...], bytes]] = {}

    def box(p: IndexMap) -> tuple[tuple[int, ...], bytes]:
        if id(p.ids) not in boxes:
            shape = tuple(n for n in p.ids.shape if n > 1)
            boxes[id(p.ids)] = (shape, root[p.ids].tobytes())
        return boxes[id(p.ids)]

    def fits_all(node: Node) -> bool:
        key = (node.domain, node.op)
        if node.index in notes.created or (key in REFITS and not SILENT[key](node)):
            return False
        for maps in notes.couplings.stacks(node):
            if len(maps) > 1:  # one index map alone has each of its axes once
                wide = [a for p in maps for a in p.axes if p.ids.shape[a] > 1]
                if len(set(wide)) < len(wide):
                    return False
        return len({box(p) for p in notes.couplings.boxes(node)}) < 2

    return frozenset(node.index for node in notes.graph.order if fits_all(node))


def resolve(notes: Collect, root: Ids, error: MisplacedError) -> None:
    """Give up some freedom at the node where what is kept does not fit: merge rows, else freeze."""
    met = [labels.tighten(labels.IndexMap(root[p.ids], p.axes)).rows() for p in error.maps]
    units = np.unique(np.concatenate([r.ravel() for r in met] or [np.zeros(0, np.int64)]))
    units = units[units != labels.FROZEN]
    several = [r for r in met if len(r) > 1 and r.any()]
    if not several:
        several = [r for r in rooted(notes, root) if len(r) > 1 and np.isin(r, units).any()]
    if several:
        rows = min(several, key=len)
        at = error.node
        notes.tie(rows[:1], rows, Reason(TIED, at.op, at.name) if at else EVEN)
    else:
        node = error.node
        reason = Reason(
            f"cannot be placed: {error}", node.op if node else "", node.name if node else ""
        )
        notes.hold(units, reason)


def misplaced(coupling: Coupling, kept: KeptUnits) -> list[MisplacedError]:
    """What does not fit if only `kept` (bool `[labels]`, by unit) is kept; empty when all does."""
    left = Kept(coupling.notes, coupling.root, kept)
    return check(left, coupling.graph.order, coupling.steady)


def refine(coupling: Coupling, errors: list[MisplacedError]) -> Coupling:
    """A coupling with less freedom where a chosen cut did not fit; the given one stays as it is."""
    notes = coupling.notes.copy()
    for error in errors:
        resolve(notes, coupling.root, error)
    return settle(notes, coupling.heads)
