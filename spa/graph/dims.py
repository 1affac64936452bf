"""Sizes for symbolic axes: chosen so that the whole graph agrees, and told apart where possible.

Nothing in a file says which sizes a model accepts, so candidates are tried: a walk over the graph
costs milliseconds and ends at the first contradiction.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

import onnx
from onnx import TypeProto

from spa.errors import ReadError
from spa.graph.facts import Engine, Facts, Program
from spa.graph.shapes import walk
from spa.graph.tensors import copied

ANONYMOUS = frozenset(("", "?", "-1", "None", "none", "unknown"))
"""Names that exporters give to axes they know nothing of: no two of them mean the same axis."""

LENGTHS = (7, 16, 32, 64, 128, 256, 512, 16000)
IMAGES = (64, 32, 96, 128, 224, 256, 320, 640)
GAPS = {"batch": 1, "image": 32, "length": 2}
"""How far the sizes of two symbols of one kind lie apart where they can be told apart."""

PLAN = (
    (2, 0, True), (2, 0, False), (1, 0, True), (2, 5, True), (2, 5, False),
    (2, 6, False), (1, 5, False), (2, 1, False), (2, 4, False), (2, 7, False),
    (1, 0, False), (1, 4, False), (1, 6, False), (1, 7, False),
)  # fmt: skip
"""Batch size, step of the ladders, whether symbols get sizes of their own: likely ones first."""

MOST_TRIES = 16

ELSEWHERE = (
    {"batch": (1, 1), "length": (5, 2), "image": (3, 0)},
    {"batch": (2, 1), "length": (1, 4), "image": (1, 32)},
    {"batch": (2, 0), "length": (2, 0), "image": (2, 0)},
    {"batch": (1, 1), "length": (1, -2), "image": (1, -32)},
    {"batch": (1, 1), "length": (4, 0), "image": (4, 0)},
)
"""Further sizes to look at, per kind: times the first number, plus the second."""

ENOUGH = 2  # walks at further sizes


@dataclass(frozen=True)
class Axes:
    """The symbols of every input and what kind of axis each of them is."""

    symbols: Mapping[str, tuple[str | None, ...]]
    kinds: Mapping[str, str]  # symbol -> "batch" | "image" | "length" | "either"


def axes_of(
    inputs: Sequence[onnx.ValueInfoProto],
    shapes: Mapping[str, Sequence[int]] | None = None,
    single: Collection[str] = (),
    caches: Collection[str] = (),
) -> Axes:
    """Name every open axis of `inputs`; `shapes` tells the rank of those that state none.

    Those named in `single` are pictures without a batch axis, those in `caches` are none for all
    their axes.
    """
    symbols: dict[str, tuple[str | None, ...]] = {}
    kinds: dict[str, str] = {}
    for info in inputs:
        kind = info.type.tensor_type
        if not kind.HasField("shape"):
            unknown = tuple(
                f"{info.name}_{axis}" for axis in range(len((shapes or {}).get(info.name, ())))
            )
            symbols[info.name] = unknown
            continue
        named = []
        for axis, dim in enumerate(kind.shape.dim):
            symbol = _symbol(info.name, axis, dim)
            named.append(symbol)
            if symbol is not None:
                nameless = dim.dim_param in ANONYMOUS
                if info.name in single:
                    kinds[symbol] = "image"
                else:
                    rank = len(kind.shape.dim)
                    _classify(kinds, symbol, axis, rank, nameless, info.name in caches)
        symbols[info.name] = tuple(named)
    return Axes(symbols, kinds)


def _symbol(name: str, axis: int, dim: onnx.TensorShapeProto.Dimension) -> str | None:
    if dim.HasField("dim_value") and dim.dim_value > 0:
        return None
    return f"{name}_{axis}" if dim.dim_param in ANONYMOUS else dim.dim_param


def _classify(
    kinds: dict[str, str], symbol: str, axis: int, rank: int, nameless: bool, cache: bool
) -> None:
    if axis == 0 and rank > 1:
        kinds[symbol] = "batch"
    elif cache:
        kinds.setdefault(symbol, "length")
    elif rank >= 4:
        kinds.setdefault(symbol, "image")
    elif nameless and rank == 3 and axis == 1:
        kinds.setdefault(symbol, "either")  # [layers, batch, features] or [batch, time, features]
    else:
        kinds.setdefault(symbol, "length")


def concrete(
    inputs: Sequence[onnx.ValueInfoProto], axes: Axes, sizes: Mapping[str, int]
) -> dict[str, TypeProto]:
    """The types of `inputs` with `sizes` put in for their symbols; others stay open."""
    types = {}
    for info in inputs:
        kind = copied(info.type)
        symbols = axes.symbols[info.name]
        if symbols and not kind.tensor_type.HasField("shape"):
            kind.tensor_type.shape.dim.extend(onnx.TensorShapeProto.Dimension() for _ in symbols)
        for symbol, dim in zip(symbols, kind.tensor_type.shape.dim, strict=True):
            if symbol is not None:
                dim.Clear()
                if symbol in sizes:
                    dim.dim_value = sizes[symbol]
                else:
                    dim.dim_param = symbol
        types[info.name] = kind
    return types


def hinted(
    inputs: Sequence[onnx.ValueInfoProto], axes: Axes, shapes: Mapping[str, Sequence[int]] | None
) -> dict[str, int]:
    """Sizes that the user's input shapes give to symbols."""
    sizes: dict[str, int] = {}
    declared = {info.name: info.type.tensor_type.shape.dim for info in inputs}
    types = {info.name: info.type.WhichOneof("value") for info in inputs}
    for name, shape in (shapes or {}).items():
        if name not in declared:
            raise ReadError(
                f"there is no input '{name}' to give a shape to; "
                f"the inputs are {', '.join(map(repr, declared)) or 'none'}"
            )
        if types[name] not in (None, "tensor_type"):
            raise ReadError(f"input '{name}' is no tensor; give no shape for it")
        symbols = axes.symbols[name]
        if len(shape) != len(symbols):
            raise ReadError(
                f"input '{name}' has {len(symbols)} axes, not {len(shape)}; "
                "give as many sizes as it has axes"
            )
        for axis, (symbol, size) in enumerate(zip(symbols, shape, strict=True)):
            fixed = declared[name][axis].dim_value if symbol is None else 0
            _agree(sizes, name, symbol, fixed, int(size))
    return sizes


def _agree(sizes: dict[str, int], name: str, symbol: str | None, fixed: int, size: int) -> None:
    if size <= 0:
        raise ReadError(f"input '{name}' cannot have a size of {size}; give sizes of 1 or more")
    if symbol is None and size != fixed:
        raise ReadError(
            f"an axis of input '{name}' is fixed to {fixed} and cannot be {size}; "
            "give it the size that the model declares"
        )
    if symbol is not None and sizes.setdefault(symbol, size) != size:
        raise ReadError(
            f"the shapes given make '{symbol}' both {sizes[symbol]} and {size}; "
            "give axes of one name one size"
        )


def candidates(kinds: Mapping[str, str], fixed: Mapping[str, int]) -> list[dict[str, int]]:
    """Assignments worth trying, likely and telling ones first."""
    free = {symbol: kind for symbol, kind in kinds.items() if symbol not in fixed}
    tries: list[dict[str, int]] = []
    for batch, level, apart in PLAN:
        for either in ("length", "batch") if "either" in free.values() else ("length",):
            resolved = {s: either if kind == "either" else kind for s, kind in free.items()}
            sizes = {**fixed, **_assignment(resolved, batch, level, apart)}
            if sizes not in tries:
                tries.append(sizes)
    return tries[:MOST_TRIES]


def _assignment(kinds: Mapping[str, str], batch: int, level: int, apart: bool) -> dict[str, int]:
    """Sizes by kind; `apart` gives every symbol a size of its own."""
    first = {"batch": batch, "image": IMAGES[level], "length": LENGTHS[level]}
    met = dict.fromkeys(first, 0)
    sizes = {}
    for symbol, kind in kinds.items():
        sizes[symbol] = first[kind] + (met[kind] * GAPS[kind] if apart else 0)
        met[kind] += 1
    return sizes


def choose(
    program: Program,
    inputs: Sequence[onnx.ValueInfoProto],
    axes: Axes,
    fixed: Mapping[str, int],
    engine: Engine | None = None,
) -> tuple[dict[str, int], Facts]:
    """The first sizes under which the whole graph is consistent, and what holds under them."""
    engine = None if engine is None else _remembering(engine)
    best: tuple[tuple[bool, int, int], dict[str, int]] | None = None
    for sizes in candidates(axes.kinds, fixed):
        facts = walk(program, concrete(inputs, axes, sizes), engine=engine, stop=True, full=True)
        if not facts.errors and not facts.doubts:
            return sizes, facts
        rank = (bool(facts.errors), facts.doubts, -len(facts.types))
        if best is None or rank < best[0]:
            best = (rank, sizes)
    sizes = best[1] if best is not None else dict(fixed)
    return sizes, walk(program, concrete(inputs, axes, sizes), engine=engine, full=True)


def elsewhere(
    program: Program,
    inputs: Sequence[onnx.ValueInfoProto],
    axes: Axes,
    sizes: Mapping[str, int],
    engine: Engine | None = None,
) -> list[Facts]:
    """What holds at other sizes of every symbol: no axis that depends on one looks fixed there.

    A symbol that no other size was found for is left open in the last walk, so that nothing is
    known of what depends on it.
    """
    engine = None if engine is None else _remembering(engine)

    def at(other: Mapping[str, int], stop: bool = True) -> Facts:
        return walk(program, concrete(inputs, axes, other), engine=engine, stop=stop, full=True)

    found: list[Facts] = []
    tries = [_moved(axes.kinds, sizes, by) for by in ELSEWHERE] if sizes else []
    for other in [t for t in tries if min(t.values(), default=1) > 0]:
        facts = at(other)
        found += [] if facts.errors else [facts]
        if len(found) == ENOUGH:
            return found
    if found or not sizes:
        return found
    stuck = []
    for symbol in sizes:
        alone = [{**sizes, symbol: other[symbol]} for other in tries if other[symbol] > 0]
        moved = next((facts for facts in map(at, alone) if not facts.errors), None)
        if moved is None:
            stuck.append(symbol)
        else:
            found.append(moved)
    if stuck:
        found.append(at({s: n for s, n in sizes.items() if s not in stuck}, stop=False))
    return found


def _moved(
    kinds: Mapping[str, str], sizes: Mapping[str, int], by: Mapping[str, tuple[int, int]]
) -> dict[str, int]:
    factors = {symbol: by.get(kinds.get(symbol, "length"), by["length"]) for symbol in sizes}
    return {symbol: n * factors[symbol][0] + factors[symbol][1] for symbol, n in sizes.items()}


def is_complete(program: Program, facts: Facts) -> bool:
    """Whether a walk left nothing open that declarations or an engine could add to."""
    if facts.errors or facts.doubts or any(step.branches for step in program.steps):
        return False
    made = (name for step in program.steps for name in step.node.output if name)
    return all(facts.shape(name) is not None for name in made)


def _remembering(engine: Engine) -> Engine:
    """`engine`, asked only once about a node on inputs of the same types and values."""
    answers: dict[tuple[bytes, ...], Mapping[str, TypeProto] | None] = {}

    def ask(
        node: onnx.NodeProto,
        opsets: Mapping[str, int],
        types: Mapping[str, TypeProto],
        small: Mapping[str, onnx.TensorProto],
    ) -> Mapping[str, TypeProto] | None:
        kinds = (kind.SerializeToString() for kind in types.values())
        values = (tensor.SerializeToString() for tensor in small.values())
        key = (node.SerializeToString(deterministic=True), *kinds, *values)
        if key not in answers:
            answers[key] = engine(node, opsets, types, small)
        return answers[key]

    return ask
