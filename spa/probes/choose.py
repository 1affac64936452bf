"""Chooses what every input of a model is fed, and says why."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from math import prod
from pathlib import Path

from spa.errors import UsageError
from spa.events import Counted, uncounted
from spa.graph.model import Graph
from spa.probes import files, roles, scale, search, uses
from spa.probes.given import from_data
from spa.probes.linear import closest
from spa.probes.pictures import Picture, picture_of
from spa.probes.plain import check_tensors, feeds
from spa.probes.probe import Array, Lengths, Probe, Rows, Stream
from spa.probes.roles import Role, noun_of, subject
from spa.probes.scale import Scale
from spa.probes.sizes import Sizes, sizes_of
from spa.probes.states import State, states_of
from spa.probes.trial import LONGEST, Doubts, accepted
from spa.recipe import Held
from spa.registry import INPUTS
from spa.rules import trait_of

WEIGHT = ("calib", "pictures", "tokens", "signals", "numbers")
"""Where inputs come from or what they are, those first that say most about a model."""
Numbers = float | Sequence[float] | None
Source = str | Path | files.Data | Held  # data by their path, or as they are


@dataclass(frozen=True)
class Request:
    """What was asked for, next to the model."""

    graph: Graph
    sizes: Sizes
    kind: str
    seed: int
    given: tuple[Sequence[float] | None, Numbers, Numbers]
    data: files.Data | Held | None
    states: Mapping[str, State]

    def row(self, name: str) -> tuple[int, ...]:
        """The shape of one row of an input."""
        axis = self.sizes.batch[name]
        shape = self.graph.shapes[name]
        return shape if axis is None else shape[:axis] + shape[axis + 1 :]


def probe_for(
    graph: Graph,
    *,
    kind: str = "auto",
    seed: int = 0,
    calib: Source | None = None,
    input_range: Sequence[float] | None = None,
    mean: Numbers = None,
    std: Numbers = None,
    batch: int | None = None,
    counted: Counted = uncounted,
) -> Probe:
    """Inputs for a model, from `calib` or made up; `counted` hears of what is tried out.

    `kind` is the name of a kind; for inputs it does not suit, one is chosen as with `auto`.  Pixels
    lie in `input_range` before `mean` is subtracted and `std` divides them, each one number or one
    per channel.  So many rows as `batch` run at once unless `Probe.batches` is told otherwise.

    Raises:
        UsageError: the options make no sense, or the data does not fit the model.
        ReadError: the data is damaged, or the model has inputs that nothing can feed.
    """
    if batch is not None and batch < 1:
        raise UsageError(f"a batch of {batch} holds nothing; give 1 or more")
    asked = _request(graph, kind, seed, calib, (input_range, mean, std))
    known = feeds(graph, seed)
    found = _roles(asked)
    probe, words = accepted(
        graph, _assemble(asked, found, batch or 32), _doubts(asked, found), known, counted
    )
    found |= {name: replace(found[name], words=words[name]) for name in words}
    return replace(probe, why=_why(asked, found))


def check_given(
    graph: Graph,
    kind: str,
    calib: Source,
    input_range: Sequence[float] | None = None,
    mean: Numbers = None,
    std: Numbers = None,
) -> files.Data | Held:
    """Look whether data fit a model, before anything is made of either; the data, read.

    Arguments and errors as for `probe_for`.
    """
    asked = _request(graph, kind, 0, calib, (input_range, mean, std))
    assert asked.data is not None
    from_data(graph, asked.sizes, asked.data, _pictures(asked), {})
    return asked.data


def _request(
    graph: Graph,
    kind: str,
    seed: int,
    calib: Source | None,
    given: tuple[Sequence[float] | None, Numbers, Numbers],
) -> Request:
    if not INPUTS.offers(kind):
        known = ", ".join(INPUTS.choices())
        raise UsageError(f"there are no inputs of kind {kind!r}; choose one of {known}")
    check_tensors(graph)
    data = files.load(calib) if isinstance(calib, (str, Path)) else calib
    states = states_of(graph) if subject(kind) != "numbers" else {}
    return Request(graph, sizes_of(graph), kind, seed, given, data, states)


def _doubts(asked: Request, found: dict[str, Role]) -> Doubts:
    """What is to be tried out: states, and small inputs beside others of which little is known."""
    own = {n: s for n, s in asked.states.items() if found[n].kind == "state"}
    small = [n for n in asked.graph.inputs if prod(asked.row(n)) <= search.LARGEST]
    guessed = [
        n for n in small if found[n].kind == "scalar" or _subject(asked, found[n]) == "numbers"
    ]
    return Doubts(own, guessed if len(small) < len(found) else ())


def _roles(asked: Request) -> dict[str, Role]:
    """A role for every input."""
    graph = asked.graph
    pictures = _pictures(asked)
    discrete = [n for n in graph.inputs if n not in pictures and _discrete(asked, n)]
    found = roles.integer_roles(graph, discrete, asked.seed)
    for name in graph.inputs:
        if name in pictures:
            found[name] = _picture(asked, name, *pictures[name])
        elif graph.dtypes[name].kind in "OSU":
            found[name] = roles.default(feeds(graph, asked.seed)[name])
        elif name in asked.states:
            words = "normal numbers, for want of an output that says what it holds"
            found[name] = roles.normal(asked.seed, name, "state", words)
        elif name not in found:
            row, kind = asked.row(name), asked.kind
            found[name] = roles.float_role(graph, name, row, asked.seed, kind)
    if asked.data is not None:
        found |= from_data(graph, asked.sizes, asked.data, pictures, found)
    return found


def _discrete(asked: Request, name: str) -> bool:
    """Whether an input holds whole numbers, or such in the guise of others."""
    whole = asked.graph.dtypes[name].kind in "iub"
    return whole or uses.numbered(asked.graph, name)


def _pictures(asked: Request) -> dict[str, tuple[Picture, Scale]]:
    """The inputs that are pictures, and the range their pixels are in."""
    graph, found = asked.graph, {}
    for name in graph.inputs:
        dtype = graph.dtypes[name]
        other = dtype.kind in "bOSU" or name in asked.states
        if other or subject(asked.kind) in ("numbers", "signals"):
            continue
        entered = uses.entry(graph, name)
        picture = picture_of(graph, asked.row(name), entered)
        if picture is None or (picture.flat and _discrete(asked, name)):
            continue
        wanted = scale.given(picture.channels, *asked.given)
        if wanted is None and dtype.kind in "iu":
            wanted = scale.BYTE
        if wanted is None:
            wanted = _expected(graph, entered, picture.channels)
        found[name] = picture, wanted
    return found


def _expected(graph: Graph, entered: uses.Entry, channels: int) -> Scale:
    """The scale of pictures that nobody described."""
    known = scale.told(graph, entered)
    if known is not None:
        return known
    first = entered.node
    if first is not None and trait_of(first).convolves and first.inputs[0] == entered.tensor:
        found = closest(graph, first, scale.SCALES)
        if found is not None:
            return scale.worded(found, "because linear outputs then have means near zero")
    return scale.infer(graph, entered, channels)


def _picture(asked: Request, name: str, picture: Picture, wanted: Scale) -> Role:
    """Synthetic pictures."""
    kind = asked.kind if subject(asked.kind) == "pictures" else "leaves"
    whole, make = asked.graph.dtypes[name].kind in "iu", INPUTS.get(kind)
    seed, size = asked.seed, (picture.channels, picture.height, picture.width)

    def draw(rows: Rows, shape: tuple[int, ...]) -> Array:
        scaled = wanted(make(rows, size, seed=seed, name=name), 1)
        return picture.arrange(scaled.clip(0, 255) if whole else scaled, shape)

    return Role(kind, f"{picture.layout}: {noun_of(kind)}, {wanted.words}", draw, picture=picture)


def is_pictured(kind: str) -> bool:
    """Whether inputs of a kind are made-up pictures."""
    return subject(kind) == "pictures"


def _subject(asked: Request, role: Role) -> str:
    """What `WEIGHT` calls the inputs of a role; empty for what says nothing of a model."""
    kind = role.kind
    if kind in WEIGHT:
        return kind
    return subject(kind) if kind in INPUTS.own or kind == asked.kind else ""


def _assemble(asked: Request, found: dict[str, Role], batch: int) -> Probe:
    """One probe of all streams, with a sentence on what each of them is."""
    graph, sizes = asked.graph, asked.sizes
    lengths = {
        size
        for name, role in found.items()
        if role.sequence and sizes.batch[name] is not None
        for size in sizes.open[name]
        if size is not None
    }
    fixed = next((role.length for role in found.values() if role.length is not None), None)
    streams = tuple(
        Stream(
            name, graph.dtypes[name], graph.shapes[name], sizes.batch[name], found[name].draw,
            tuple(axis for axis, size in enumerate(sizes.open[name]) if size in lengths),
            found[name].picture,
        )
        for name in graph.inputs
    )  # fmt: skip
    told = [(WEIGHT.index(s), r.kind) for r in found.values() if (s := _subject(asked, r))]
    kind = min(told, key=lambda each: each[0], default=(0, "vectors"))[1]
    span = Lengths(asked.seed, LONGEST[0]) if fixed is None else Lengths(asked.seed, fixed, fixed)
    have = [role.available for role in found.values() if role.available is not None]
    turns = [role.turns for role in found.values() if role.turns is not None]
    if turns and sizes.rows is not None and not have:
        have = [max(turns) * sizes.rows]
    notes = [f"input '{n}' {role.note}" for n, role in found.items() if role.note]
    return Probe(
        kind, "", tuple(notes), streams,
        sizes.rows, span if lengths else None, min(have) if have else None, batch,
    )  # fmt: skip


def _why(asked: Request, found: dict[str, Role]) -> str:
    """What each input is fed, as one sentence."""
    graph = asked.graph
    parts = []
    for name in graph.inputs:
        symbols = graph.dynamic.get(name) or (None,) * len(graph.shapes[name])
        axis = asked.sizes.batch[name]
        shape = ",".join(
            str(size) if symbol is None else "N" if k == axis else symbol
            for k, (size, symbol) in enumerate(zip(graph.shapes[name], symbols, strict=True))
        )
        role = found[name]
        mark = ", " if _subject(asked, role) == "pictures" else ": "
        parts.append(f"{name} [{shape}]{mark}{role.words}")
    return "; ".join(parts)
