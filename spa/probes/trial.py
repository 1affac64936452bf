"""Runs a model once on what was chosen, where it is not certain that the model takes it.

Sizes that differ from those of the analysis, and numbers that are indices, may be refused; what the
model refuses is replaced by what the analysis is known to work with.  States are filled by running
the model, and side inputs that it makes nothing of are searched for.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from spa import runtime
from spa.errors import ReadError
from spa.events import Counted, uncounted
from spa.graph.model import Graph
from spa.probes import search, states
from spa.probes.probe import Array, Draw, Lengths, Probe, Rows
from spa.probes.states import State
from spa.runtime import Session

LONGEST = (96, 64, 32)
"""Longest sequences that are tried; the first that the model takes is the limit."""


@dataclass(frozen=True)
class Doubts:
    """What only a run can tell: `states` that the model fills, and `side` inputs of few numbers."""

    states: Mapping[str, State]
    side: Sequence[str]


def accepted(
    graph: Graph,
    probe: Probe,
    doubts: Doubts,
    known: Mapping[str, Array],
    counted: Counted = uncounted,
) -> tuple[Probe, dict[str, str]]:
    """`probe`, or as much of it as the model takes; in words, what some inputs got instead.

    What is tried out is `counted`.
    """
    floats = all(stream.dtype.kind not in "iub" for stream in probe.streams)
    plain = probe.lengths is None and floats and len(probe.streams) == 1
    if plain and not doubts.states and _size(probe) != 1:
        return probe, {}  # a float of a size the analysis has seen
    try:
        loaded = runtime.session(
            graph.proto, optimize=False, threads=1, device="cpu", base_dir=graph.source.base_dir
        )
    except ReadError:
        note = "onnxruntime could not try them out"
        return replace(_still(probe), notes=(*probe.notes, note)), {}
    probe = _one_by_one(loaded, _lengths(loaded, probe))
    probe, filled = states.filled(loaded, probe, doubts.states, counted)
    words = dict.fromkeys(filled, "what the model put there in earlier runs")
    if plain:
        return probe, words
    if doubts.side and not search.serve(loaded, probe, doubts.side):
        probe, told, found = search.searched(loaded, probe, doubts.side, counted)
        if found:
            return probe, words | {n: f"{v:g}, found by trial" for n, v in told.items()}
        named = ", ".join(f"'{name}'" for name in doubts.side)
        note = f"no values of {named} were found for which outputs are finite and vary"
        probe = replace(probe, notes=(*probe.notes, f"{note}; give some with --calib"))
    if _takes(loaded, _run(probe, None)):
        return probe, words
    if not _takes(loaded, known):
        return replace(probe, notes=(*probe.notes, "no input gives finite numbers")), words
    return _replaced(loaded, probe, known), words


def _size(probe: Probe) -> int | None:
    """The rows in a run of the analysis, None where the model fixes them or has none."""
    if probe.rows is not None:
        return None
    return next((s.shape[s.axis] for s in probe.streams if s.axis is not None), None)


def _one_by_one(loaded: Session, probe: Probe) -> Probe:
    """`probe` with runs of one row where the model takes no more, whatever it declares."""
    size = _size(probe)
    if size is None:
        return probe
    still = replace(probe, lengths=None)
    if _takes(loaded, still.feeds(max(2, size)), finite=False):
        return probe
    if not _takes(loaded, still.feeds(1), finite=False):
        return probe
    note = "rows are run one by one, as the model takes no more at once"
    return replace(probe, rows=1, notes=(*probe.notes, note))


def _lengths(loaded: Session, probe: Probe) -> Probe:
    """The longest and the shortest sequences the model takes, or those of the analysis."""
    if probe.lengths is None:
        return probe
    fixed = probe.lengths.shortest == probe.lengths.longest
    for longest in (probe.lengths.longest,) if fixed else LONGEST:
        shortest = probe.lengths.shortest
        if all(_takes(loaded, _run(probe, length)) for length in {shortest, longest}):
            return replace(probe, lengths=Lengths(probe.lengths.seed, longest, shortest))
    return _still(probe)


def _still(probe: Probe) -> Probe:
    """Sequences of the one length that the analysis used."""
    if probe.lengths is None:
        return probe
    note = "all sequences have the length of the analysis, as the model takes no other"
    return replace(probe, lengths=None, notes=(*probe.notes, note))


def _replaced(loaded: Session, probe: Probe, known: Mapping[str, Array]) -> Probe:
    """With the fewest streams exchanged that make the model run: one, else all."""
    still = _still(probe) if probe.lengths is not None else probe
    options = [{stream.name} for stream in still.streams] + [set(known)]
    for names in options:
        draws = {s.name: _plain(known[s.name], s.axis) for s in still.streams if s.name in names}
        notes = tuple(
            f"input '{name}' gets random values: the model refused better ones"
            for name in known
            if name in names
        )
        tried = replace(still, notes=(*still.notes, *notes)).redrawn(draws)
        if _takes(loaded, _run(tried, None)):
            return tried
    return still


def _plain(array: Array, axis: int | None) -> Draw:
    """What is known to work, row after row."""
    rows = array[None] if axis is None else np.moveaxis(array, axis, 0)

    def draw(wanted: Rows, shape: tuple[int, ...]) -> Array:
        return np.asarray(rows[np.asarray(wanted) % len(rows)])

    return draw


def _run(probe: Probe, length: int | None) -> dict[str, Array]:
    """Inputs at the batch size of the analysis."""
    count = next((s.shape[s.axis] for s in probe.streams if s.axis is not None), 1)
    if length is None:
        return probe.feeds(1 if probe.rows == 1 else count)
    assert probe.lengths is not None
    return replace(probe, lengths=Lengths(probe.lengths.seed, length, length)).feeds(count)


def _takes(loaded: Session, feeds: Mapping[str, Array], finite: bool = True) -> bool:
    """Whether the model runs on `feeds`, and gives `finite` numbers where that is asked for."""
    try:
        outputs = runtime.run(loaded, feeds)
    except ReadError:
        return False
    return not finite or all(
        np.isfinite(value.astype(np.float64)).all()
        for value in outputs.values()
        if isinstance(value, np.ndarray) and value.dtype.kind == "f"
    )
