"""From labels to groups: which units may be exchanged, and which must keep equal counts.

Units that occur in exactly the same images are of one *kind*.  Rows of one image whose kinds differ
(q, k and v of a fused projection) stay in *lockstep*.  Units that occur in the same rows form a
*cell*; every cell of a group keeps the same number of units, so that every image stays a box.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from spa import labels
from spa.labels import FROZEN, Ids, IndexMap
from spa.trace import Collect

FEW = 0.25  # share of a class that may be frozen to let the rest be cut


@dataclass(frozen=True, eq=False)
class Partition:
    """Cells `[cells, n]` per group, and what stands in the way of being one.

    `uneven` are rows to merge, because the units over them cannot keep equal counts; `coarse` are
    units `[units, run]` to merge along a run, because others in lockstep take as many positions;
    `odd` are the few units that keep cells from having equal sizes; `stuck` are units in lockstep
    with what is frozen.
    """

    cells: tuple[Ids, ...]
    uneven: tuple[Ids, ...]
    coarse: tuple[Ids, ...]
    odd: tuple[Ids, ...]
    stuck: tuple[Ids, ...]


def all_maps(notes: Collect) -> Iterable[IndexMap]:
    """Every index map of the notes once, activations first."""
    everything = [p for x in notes.images.values() for p in x.maps]
    everything += [p for q in notes.params.values() for _, p in q.maps]
    everything += [p for maps in notes.extra.values() for p in maps]
    return notes.couplings.distinct(everything)


def rooted(notes: Collect, root: Ids) -> list[Ids]:
    """The distinct index maps as rows of units, `[rows, n]`, constant axes dropped."""
    seen: dict[tuple[tuple[int, ...], bytes], Ids] = {}
    for p in all_maps(notes):
        rows = labels.tighten(IndexMap(root.take(p.ids), p.axes)).rows()
        seen.setdefault((rows.shape, rows.tobytes()), rows)
    return list(seen.values())


def partition(notes: Collect, root: Ids) -> Partition:
    """Find the groups among the units that some stored tensor holds."""
    maps = rooted(notes, root)
    several_words = sum(1 + len(rows) if len(rows) > 1 else 1 for rows in maps)
    words = np.random.default_rng(0).integers(1, 2**63, several_words, dtype=np.uint64)
    kind = np.zeros(notes.size, np.uint64)
    cell = np.zeros(notes.size, np.uint64)
    for rows in maps:
        kind[rows] ^= words[0]
        words = words[1:]
        if len(rows) > 1:
            per_row, words = words[: len(rows)], words[len(rows) :]
            np.add.at(cell, rows.ravel(), np.repeat(per_row, rows.shape[1]))
    several = [rows for rows in maps if len(rows) > 1]
    step = _lockstep(kind, several)
    units = _owned(notes, root)
    units = units[step[units].argsort(kind="stable")]
    steps = step[units]
    ends = [0, *(np.flatnonzero(steps[1:] != steps[:-1]) + 1).tolist(), len(units)]
    classes = [units[a:b] for a, b in pairwise(ends) if a < b]
    stuck = [group for group in classes if step[group[0]] == step[FROZEN]]
    loose = [group for group in classes if step[group[0]] != step[FROZEN]]
    return _cells(loose, cell, several, stuck)


def _cells(
    classes: list[Ids], cell: NDArray[np.uint64], several: list[Ids], stuck: list[Ids]
) -> Partition:
    """Cut classes in lockstep into cells, `cell` being a number by label for the rows it is in."""
    found: list[Ids] = []
    uneven: list[Ids] = []
    coarse: list[Ids] = []
    odd: list[Ids] = []
    for group in classes:
        own = cell[group]
        if (own == own[0]).all():
            if len(group) > 1:
                found.append(group.reshape(1, -1))
            continue
        _, where, counts = np.unique(own, return_inverse=True, return_counts=True)
        if len(counts) > 1 and (counts.min() != counts.max() or counts[0] == 1):
            few = _odd_ones(where, counts)
            runs = _coarser(several, group)
            if runs:
                coarse += runs
            elif few.any():
                odd.append(group[few])
            else:
                uneven.append(_fewest_rows(several, group))
        else:
            found.append(group[np.argsort(where, kind="stable")].reshape(len(counts), -1))
    found.sort(key=lambda c: int(c.min()))
    return Partition(tuple(found), tuple(uneven), tuple(coarse), tuple(odd), tuple(stuck))


def _odd_ones(where: NDArray[np.intp], counts: NDArray[np.intp]) -> NDArray[np.bool_]:
    """Units outside the cells of the usual size, if these hold nearly all; else none.

    34 channels per group shuffled over 4 groups leave 2 that belong to two groups at once.
    """
    sizes, number = np.unique(counts, return_counts=True)
    usual = int(sizes[np.argmax(sizes * number)])
    outside = counts[where] != usual
    few = usual > 1 and outside.sum() <= FEW * len(where)
    return outside if few else np.zeros(len(where), bool)


def _coarser(several: list[Ids], group: Ids) -> list[Ids]:
    """Runs of units to merge, so that units of all rows of one image take as many positions.

    A rotation turns queries and keys in pairs; values that lie beside them then go in pairs, too.
    """
    for rows in several:
        own = rows[np.isin(rows, group).all(1)]
        if len(own) < 2:
            continue
        ordered = np.sort(own, axis=1)
        kinds = 1 + (ordered[:, 1:] != ordered[:, :-1]).sum(1)
        fewest = int(kinds.min())
        if fewest == kinds.max() or fewest < 2 or (kinds % fewest).any():
            continue
        runs = []
        for row, several_kinds in zip(own, kinds.tolist(), strict=True):
            units, first, often = np.unique(row, return_index=True, return_counts=True)
            if (often != often[0]).any():
                break
            if several_kinds > fewest:
                runs.append(units[np.argsort(first)].reshape(fewest, -1))
        else:
            return runs
    return []


def _lockstep(kind: NDArray[np.uint64], several: list[Ids]) -> Ids:
    """A class per label: kinds, joined where rows of one image are made up differently."""
    if not several:
        return kind.view(np.int64)
    _, number = np.unique(kind, return_inverse=True)
    links = [np.zeros((2, 0), np.int64)]
    for rows in several:
        made_of = np.sort(number[rows], axis=1)
        if (made_of != made_of[:1]).any():
            fixed = (rows == FROZEN).sum(1)
            kinds = np.unique(made_of)
            if (fixed == fixed[0]).all():  # equally many frozen in every row binds nobody
                kinds = kinds[kinds != number[FROZEN]]
            links.append(np.stack([np.full(len(kinds), kinds[0]), kinds]))
    left, right = np.concatenate(links, axis=1)
    return labels.components(int(number.max()) + 1, left, right)[number]


def _owned(notes: Collect, root: Ids) -> Ids:
    """Units that lie in a stored tensor, but for what is frozen."""
    held = np.zeros(notes.size, bool)
    stored = [p for q in notes.weights for _, p in q.maps]
    held[root[notes.couplings.of(stored)]] = True
    held[FROZEN] = False
    return np.flatnonzero(held)


def _fewest_rows(several: list[Ids], group: Ids) -> Ids:
    """The smallest image that splits these units into rows."""
    return min((rows for rows in several if np.isin(rows, group).any()), key=len)
