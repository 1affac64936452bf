"""One contraction for MatMul, Gemm and Einsum: axes are letters, letters that vanish are summed."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from math import prod

import numpy as np

from spa import labels
from spa.labels import Image, IndexMap, Shape
from spa.trace import Op

Letters = tuple[str, ...]
Has = tuple[frozenset[str], frozenset[str]]


def letters_of(equation: str, ranks: Sequence[int]) -> tuple[tuple[Letters, ...], Letters]:
    """Parse an Einsum equation; an ellipsis becomes letters of its own."""
    left, _, right = equation.replace(" ", "").partition("->")
    terms = []
    widest = 0
    for term, rank in zip(left.split(","), ranks, strict=True):
        head, dots, tail = term.partition("...")
        more = rank - len(head) - len(tail) if dots else 0
        widest = max(widest, more)
        terms.append((head, tail, more))
    dotted = tuple(f".{n}" for n in range(widest))
    inputs = tuple((*h, *dotted[widest - m :], *t) for h, t, m in terms)
    if "->" in equation:
        head, dots, tail = right.partition("...")
        return inputs, (*head, *(dotted if dots else ()), *tail)
    flat = [c for t in inputs for c in t if not c.startswith(".")]
    return inputs, (*dotted, *sorted(c for c in set(flat) if flat.count(c) == 1))


def contract(op: Op, terms: Sequence[Letters], out: Letters) -> Image:
    """Images through `out[...] = sum(a[...] * b[...])`; a stored operand becomes a param."""
    shapes = [op.shape(i) for i in (0, 1)]
    sizes: dict[str, int] = {}
    for letters, shape in zip(terms, shapes, strict=True):
        for c, n in zip(letters, shape, strict=True):
            if sizes.setdefault(c, n) != n and 1 not in (sizes[c], n):
                raise ValueError(f"sizes {sizes[c]} and {n} are contracted")
            sizes[c] = max(sizes[c], n)
    if tuple(sizes[c] for c in out) != op.out():
        raise ValueError(f"{op.out()} is not the size of this product")
    # an axis of length 1 that is broadcast belongs to the other operand alone
    has = op.decide(lambda: (_own(terms[0], shapes[0], sizes), _own(terms[1], shapes[1], sizes)))
    fixed = [i for i in (0, 1) if op.is_const(i)]
    if len(fixed) == 1:
        return _with_weight(op, fixed[0], terms, out, has, sizes)
    return _between(op, terms, out, has, sizes)


def _own(letters: Letters, shape: Shape, sizes: dict[str, int]) -> frozenset[str]:
    """The letters along which an operand is not broadcast."""
    return frozenset(c for c, n in zip(letters, shape, strict=True) if n == sizes[c])


def _lay(p: IndexMap, letters: Letters, to: Sequence[str]) -> IndexMap:
    """An index map over `letters` as an index map over the axes of `to`."""
    return labels.lay(p.dense, [to.index(letters[a]) for a in p.axes], len(to))


def _with_weight(
    op: Op, w: int, terms: Sequence[Letters], out: Letters, has: Has, sizes: dict[str, int]
) -> Image:
    """Weight × activation: the weight reads the summed letters and makes the letters it brings."""
    lx, lw = terms[1 - w], terms[w]
    shared = has[0] & has[1]
    given: dict[str, IndexMap] = {}
    passed: list[IndexMap] = []
    for p in op.operand(1 - w).maps:
        q = _unsummed(op, p, lx, shared | set(out))
        if q is None or not {lx[a] for a in q.axes} & shared:
            passed += [] if q is None else [_lay(q, lx, out)]
            continue
        q = op.squash(q, [a for a in q.axes if lx[a] in shared], "mixed by a product")
        if q is not None:
            summed = {lx[a] for a in q.axes} - set(out)
            given[f"{'reads' if summed else 'scales'}{len(given)}"] = _lay(q, lx, lw)
            passed += [] if summed else [_lay(q, lx, out)]
    brought = [c for c in lw if c in has[w] and c in out and c not in has[1 - w]]
    batch = [c for c in lw if c in shared and c in out]
    wide = op.decide(lambda: tuple(a for a, n in enumerate(op.shape(w)) if n > 1))
    held = {lw[a] for role, p in given.items() if role[0] == "s" for a in p.axes}
    axes = tuple(a for a in wide if lw[a] in brought or (brought and lw[a] in {*batch} - held))
    times = float(prod(n for c, n in sizes.items() if c not in has[w]))
    alone = not any({out[a] for a in p.axes} - set(lw) for p in passed)
    makes = {"makes": axes} if any(lw[a] in brought for a in axes) else {}
    times = times if alone else 0.0
    factors = op.factors(w) if makes and not batch else None
    if factors is None:
        maps = op.param(w, op.shape(w), times=times, **given, **makes)
    else:
        maps = _factored(op, w, factors, given, axes, times)
    made = maps[len(given) :]
    read = next((p for role, p in zip(given, maps, strict=False) if role.startswith("reads")), None)
    if made:
        _cells(op, made[-1], read, lw, batch)
        over = {out.index(lw[a]) for p in made for a in p.axes}
        passed = [p for p in passed if not set(p.axes) & over]
    if not alone:  # other channels of the activation save work here, too
        every = tuple(sizes)
        both = [_lay(p, out, every) for p in passed] + [_lay(p, lw, every) for p in maps]
        op.work(tuple(sizes.values()), 1.0, *both)
    return Image(op.out(), (*passed, *[_lay(p, lw, out) for p in made]))


def _factored(
    op: Op,
    w: int,
    factors: Sequence[Shape],
    given: dict[str, IndexMap],
    axes: Sequence[int],
    times: float,
) -> list[IndexMap]:
    """The maps of a weight whose axes `axes` are made of several: each of these has its labels.

    They cross where the weight has one axis for all of them.
    """
    first = [sum(map(len, factors[:a])) for a in range(len(factors))]
    view = tuple(n for sizes in factors for n in sizes)
    fine = {r: labels.lay(p.dense, [first[a] for a in p.axes], len(view)) for r, p in given.items()}
    places = [(a, k) for a in axes for k in range(len(factors[a]))]
    places = op.decide(lambda: [(a, k) for a, k in places if factors[a][k] > 1])
    makes = {f"makes{n}": (first[a] + k,) for n, (a, k) in enumerate(places)}
    maps = op.param(w, view, times=times, **fine, **makes)
    made = []
    for (a, k), p in zip(places, maps[len(given) :], strict=True):
        beside = [n if j == k else 1 for j, n in enumerate(factors[a])]
        flat = np.broadcast_to(p.dense.reshape(beside), factors[a]).reshape(-1)
        made.append(labels.lay(flat, (a,), len(factors)))
    return [*given.values(), *made]


def _unsummed(op: Op, p: IndexMap, letters: Letters, left: Collection[str]) -> IndexMap | None:
    """The map along letters that are left; what is summed away adds nothing where it is cut."""
    keep = [a for a in p.axes if letters[a] in left]
    return op.squash(p, keep) if keep else None


def _cells(
    op: Op, make: IndexMap, read: IndexMap | None, letters: Letters, batch: Sequence[str]
) -> None:
    """Per batch letter, what is made stays with what is read."""
    rows = [a for a in make.axes if letters[a] in batch]
    if not rows or read is None or not set(rows) <= set(read.axes):
        return
    sides = []
    for p in (make, read):
        inner = [a for a in p.axes if a not in rows]
        flat = p.ids.transpose(rows + inner + [a for a in range(p.rank) if a not in rows + inner])
        sides.append(flat.reshape(prod(p.ids.shape[a] for a in rows), -1))
    op.cells(*sides)


def _between(
    op: Op, terms: Sequence[Letters], out: Letters, has: Has, sizes: dict[str, int]
) -> Image:
    """Activation × activation: contracted channels are the same on both sides; others pass."""
    everything: Letters = tuple(sizes)
    shared = has[0] & has[1]
    summed = shared - set(out)
    found = [
        [_unsummed(op, p, letters, shared | set(out)) for p in x.maps] if x is not None else []
        for x, letters in zip(op.x, terms, strict=False)
    ]
    inner: list[list[IndexMap]] = [[], []]
    batch: list[list[IndexMap]] = [[], []]
    outer: list[IndexMap] = []
    whole = op.decide(lambda: _whole(found, terms, summed, has, sizes))
    for side, letters in enumerate(terms):
        for p in filter(None, found[side]):
            keep = [a for a in p.axes if letters[a] not in whole]
            p = op.squash(p, keep) or p if keep else p  # what stays takes nothing along
            p = _narrow(op, p)
            over = {letters[a] for a in p.axes}
            each = [a for a in p.axes if letters[a] in shared - summed]
            if len(each) < len(p.axes):
                op.heads(p, *each)
            if over & summed:
                q = op.squash(p, [a for a in p.axes if letters[a] in shared], "mixed by a product")
                if q is not None:
                    inner[side].append(_lay(q, letters, everything))
            elif over <= shared:
                batch[side].append(_lay(p, letters, everything))
            else:
                outer.append(_lay(p, letters, everything))
    _pair(op, inner, "contracted with a tensor that cannot be cut")
    result = [*outer, *_pair(op, batch, "meets a tensor that cannot be cut")]
    op.work(tuple(sizes.values()), 1.0, *inner[0], *result)
    return Image(op.out(), tuple(_lay(p, everything, out) for p in result))


def _narrow(op: Op, p: IndexMap) -> IndexMap:
    """The index map without axes along which all is one channel; at least one axis stays."""
    if len(p.axes) == 1:
        return p
    keep = op.decide(lambda: labels.tighten(p).axes)
    return op.squash(p, keep) or p if keep else p


def _whole(
    found: Sequence[Sequence[IndexMap | None]],
    terms: Sequence[Letters],
    summed: frozenset[str],
    has: Has,
    sizes: dict[str, int],
) -> frozenset[str]:
    """The summed letters that stay whole, because one operand has no labels there.

    An map over what is summed and what passes can be cut along one of the two: the longer one.
    """
    over = [
        [frozenset(letters[a] for a in p.axes) for p in filter(None, maps)]
        for maps, letters in zip(found, terms, strict=True)
    ]
    whole = summed - (frozenset().union(*over[0]) & frozenset().union(*over[1]))
    for letters in (*over[0], *over[1]):
        passing = letters - (has[0] & has[1])
        if passing and prod(sizes[c] for c in passing) > prod(sizes[c] for c in letters & summed):
            whole |= letters & summed
    return whole


def _pair(op: Op, sides: Sequence[Sequence[IndexMap]], reason: str) -> list[IndexMap]:
    """Index maps of two operands over common axes are the same; one without a partner is frozen.

    Returns the left ones that have a partner.
    """
    left, right = sides
    partner: dict[int, IndexMap] = {}
    for p in left:
        free = (k for k, q in enumerate(right) if k not in partner and set(p.axes) & set(q.axes))
        k = next(free, None)
        if k is None:
            op.freeze(p, reason)
        else:
            op.same(p.ids, right[k].ids)
            partner[k] = p
    for k, q in enumerate(right):
        if k not in partner:
            op.freeze(q, reason)
    return list(partner.values())
