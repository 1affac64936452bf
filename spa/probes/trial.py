"""Runs a model once on what was chosen, where it is not certain that the model takes it.

Sizes that differ from those of the analysis, and numbers that are indices, may be refused; what the
model refuses is replaced by what the analysis is known to work with.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from spa import runtime
from spa.errors import ReadError
from spa.graph.model import Graph
from spa.probes.probe import Array, Draw, Lengths, Probe, Rows, Stream
from spa.probes.sizes import Sizes

Session = Any
LONGEST = (96, 64, 32)
"""Longest sequences that are tried; the first that the model takes is the limit."""


def accepted(graph: Graph, probe: Probe, sizes: Sizes, known: Mapping[str, Array]) -> Probe:
    """`probe`, or as much of it as the model takes."""
    floats = all(stream.dtype.kind not in "iub" for stream in probe.streams)
    if probe.lengths is None and floats and len(probe.streams) == 1:
        return probe  # a float of a size the analysis has seen
    try:
        loaded = runtime.session(
            graph.proto, optimize=False, threads=1, device="cpu", base_dir=graph.source.base_dir
        )
    except ReadError:
        return replace(_still(probe), notes=(*probe.notes, "onnxruntime could not try them out"))
    probe = _lengths(loaded, probe)
    if _takes(loaded, _run(probe, None)):
        return probe
    if not _takes(loaded, known):
        return replace(probe, notes=(*probe.notes, "no input gives finite numbers"))
    return _replaced(loaded, probe, known)


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
        streams = tuple(_plain(s, known[s.name]) if s.name in names else s for s in still.streams)
        notes = tuple(
            f"input '{name}' gets random values: the model refused better ones"
            for name in known
            if name in names
        )
        tried = replace(still, streams=streams, notes=(*still.notes, *notes))
        if _takes(loaded, _run(tried, None)):
            return tried
    return still


def _plain(stream: Stream, array: Array) -> Stream:
    """What is known to work, row after row."""
    axis = stream.axis
    rows = array[None] if axis is None else np.moveaxis(array, axis, 0)

    def draw(wanted: Rows, shape: tuple[int, ...]) -> Array:
        return np.asarray(rows[np.asarray(wanted) % len(rows)])

    plain: Draw = draw
    return replace(stream, draw=plain)


def _run(probe: Probe, length: int | None) -> dict[str, Array]:
    """Inputs at the batch size of the analysis."""
    count = next((s.shape[s.axis] for s in probe.streams if s.axis is not None), 1)
    if length is None:
        return probe.feeds(count)
    assert probe.lengths is not None
    return replace(probe, lengths=Lengths(probe.lengths.seed, length, length)).feeds(count)


def _takes(loaded: Session, feeds: Mapping[str, Array]) -> bool:
    """Whether the model runs on `feeds` and gives finite numbers."""
    try:
        outputs = runtime.run(loaded, feeds)
    except ReadError:
        return False
    return all(
        np.isfinite(value.astype(np.float64)).all()
        for value in outputs.values()
        if isinstance(value, np.ndarray) and value.dtype.kind == "f"
    )
