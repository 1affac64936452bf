"""Cut a checkpoint as a plan says: which tensor is which, what is left of it, and what is told."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import prod
from typing import TypeAlias

import numpy as np

from spa.checkpoints.book import Book, siblings
from spa.checkpoints.cutter import Cutter
from spa.checkpoints.exported import Array, Arrays, Exported, is_float, same_numbers
from spa.checkpoints.places import Finder, Place, Way, bare, orders, permuted
from spa.checkpoints.told import Carried, How
from spa.checkpoints.unfold import unfold, unscale
from spa.errors import UsageError
from spa.plans import Plan

Choose: TypeAlias = Callable[[Book, str, list[Way]], list[Way]]


def carry(
    weights: Arrays,
    plan: Plan,
    export: Exported | None = None,
    slim: Exported | None = None,
) -> Carried:
    """Cut a checkpoint.

    Args:
        weights: the checkpoint's tensors by name.
        plan: what to keep of the file that it was exported to.
        export: that file, by whose numbers tensors are found that it calls something else.
        slim: the pruned model, whose numbers are taken: those that the refit has changed, too.

    Raises:
        UsageError: what the plan cuts is not found, or fits in two places, or cannot be cut in
            the checkpoint's layout; the sentence names it.
    """
    if plan.bypass:
        raise UsageError(
            f"the plan bypasses {plan.bypass[0]}, and a checkpoint has no graph that it could be "
            "taken out of; apply the plan to the ONNX file"
        )
    if plan.rotated and slim is None:
        raise UsageError(
            f"the plan counts positions of {plan.rotated[0]} after its channels were mixed, which "
            "a checkpoint knows nothing of; give the pruned model in place of the plan, or plan "
            "with --set rotate=false"
        )
    book = Book(weights, Cutter(plan, export, slim))
    _by_name(book)
    _by_value(book)
    unfold(book)
    unscale(book)
    changed = _by_name_alone(book)
    _place_biases(book)
    _demand_homes(book)
    for name, array in weights.items():
        if name not in book.rows:
            why = "the file holds nothing like it" if is_float(array) else "no weight"
            book.tell(name, "whole", array, why=why)
    return Carried(
        {name: np.asarray(book.new[name], order="C") for name in weights},
        tuple(book.rows[name] for name in weights),
        book.kept,
        book.biases,
        _notes(changed, slim is not None),
    )


# The steps


def _by_name(book: Book) -> None:
    """The same name, shape and, where the file is at hand, numbers."""
    export = book.cutter.export
    for name in book.open():
        own, array = book.called.get(name, ""), book.weights[name]
        shape = book.cutter.shape(own)
        if shape is None:
            continue
        if export is None:
            ways = [_plain(own, shape)] if shape == array.shape else _turned(own, shape, array)
            _settle(book, name, "name", ways)
        elif shape == array.shape and same_numbers(array, export.tensors[own]):
            _settle(book, name, "name", [_plain(own, shape)])


def _by_value(book: Book) -> None:
    """Another name or layout; first what can be one thing only, as that may settle the rest."""
    export = book.cutter.export
    if export is None:
        return
    finder = Finder(export.tensors)
    found = {name: finder.ways(book.weights[name]) for name in book.open()}
    steps: tuple[Choose, ...] = (_the_only, _unclaimed, _near)
    for choose in steps:
        for name, ways in found.items():
            if name not in book.rows and ways:
                _settle(book, name, "value", choose(book, name, ways), final=choose is _near)


def _by_name_alone(book: Book) -> list[str]:
    """The same name and shape, other numbers: the checkpoint was trained on since."""
    found: list[str] = []
    for name in book.open():
        own = book.called.get(name, "")
        shape = book.cutter.shape(own)
        if shape is not None and shape == book.weights[name].shape and own not in book.homes:
            found.append(name)
            _settle(book, name, "name", [_plain(own, shape)])
    return found


# Which of several ways


def _the_only(book: Book, name: str, ways: list[Way]) -> list[Way]:
    return ways if len(ways) == 1 else []


def _unclaimed(book: Book, name: str, ways: list[Way]) -> list[Way]:
    return [way for way in ways if not book.homes.keys() & set(way.tensors)]


def _near(book: Book, name: str, ways: list[Way]) -> list[Way]:
    """Those that stand, in the file, beside what stands beside the tensor in the checkpoint."""
    export = book.cutter.export
    assert export is not None
    free = _unclaimed(book, name, ways) or ways
    mine = {t for n in siblings(name, book.rows) for t in book.rows[n]["tensors"]}
    for links in (export.beside, export.next):
        beside = {n for t in mine for n in links.get(t, ())}
        close = [way for way in free if beside & set(way.tensors)]
        if close:
            return close
    return free


def _settle(book: Book, name: str, how: How, ways: list[Way], *, final: bool = True) -> None:
    """Cut a tensor in the one way that there is, or in any of several that come to the same."""
    array = book.weights[name]
    results = [(way, book.cutter.left(array, way)) for way in ways]
    made = [(way, left) for way, left in results if left is not None]
    if not made:
        if final and any(map(book.cutter.is_cut, ways[0].tensors if ways else ())):
            raise UsageError(
                f"{name} cannot be cut in the checkpoint's layout: of {ways[0].tensors[0]} every "
                "block keeps other positions; plan with --ignore for that tensor"
            )
        return
    way, left = made[0]
    mine = left.of(array)
    for other, more in made[1:]:
        theirs = more.of(array)
        if mine.shape != theirs.shape or not np.array_equal(mine, theirs):
            if not final:
                return
            raise UsageError(
                f"{name} may be {way.tensors[0]} or {other.tensors[0]}, which hold the same "
                "numbers and are cut differently; export with the checkpoint's own names, or after "
                "some training"
            )
    book.put(name, how, way.tensors, left)
    bias = book.cutter.added(way.tensors[0]) if len(way.places) == 1 else None
    if bias is not None:
        book.biases[name] = bias
        book.rows[name]["why"] = "the refit adds a bias, for which there is no tensor"


def _place_biases(book: Book) -> None:
    """Put a bias that the refit adds where the checkpoint adds or subtracts a vector anyway.

    That stands right behind the weight in the file: a bias that is a node of its own, or the mean
    of a norm.
    """
    export = book.cutter.export
    for name, bias in list(book.biases.items()) if export is not None else ():
        assert export is not None
        tensor = book.rows[name]["tensors"][0]
        for other in (*export.beside.get(tensor, ()), *export.next.get(tensor, ())):
            home = book.means.get(other, "") or next(iter(book.homes.get(other, ())), "")
            minus = other in export.subtracts or other in book.means
            fits = minus or other in export.adds
            if home and fits and book.new[home].size == bias.size:
                old = book.new[home]
                change = bias.reshape(old.shape).astype(np.float64)
                book.new[home] = (old - change if minus else old + change).astype(old.dtype)
                book.rows[home]["refitted"], book.rows[name]["why"] = True, ""
                del book.biases[name]
                break


# What is refused, and what is said


def _demand_homes(book: Book) -> None:
    """Everything that is cut must be somewhere in the checkpoint."""
    export = book.cutter.export
    lost = [n for n in book.cutter.plan.tensors if n not in book.homes]
    if export is not None:
        foreign = next((name for name in lost if name not in export.tensors), "")
        if foreign:
            raise UsageError(
                f"the exported file has no {foreign}, which the plan cuts; give with --export the "
                "file that the plan was made on"
            )
        known = {name: export.tensors[name] for name in lost}
        lost = [n for n, a in known.items() if (a != a.flat[0]).any()]  # else no weight: a state
    if lost:
        more = f" and {len(lost) - 1} more" if len(lost) > 1 else ""
        how = (
            "give the file that was exported from it with --export, to find what exporters renamed "
            "or transposed"
            if export is None
            else "give the checkpoint that this very file was exported from"
        )
        raise UsageError(
            f"the checkpoint has nothing that fits {lost[0]}{more}, which the plan cuts; {how}"
        )


def _notes(changed: Sequence[str], fresh: bool) -> tuple[str, ...]:
    if not changed:
        return ()
    return (
        f"{len(changed)} tensors (such as {changed[0]}) hold other numbers than the exported file, "
        "as after more training; they were matched by name"
        + (", and those of the pruned model are taken" if fresh else ""),
    )


def _plain(name: str, shape: Sequence[int]) -> Way:
    return Way(0, (Place(name, tuple(range(len(shape)))),))


def _turned(name: str, shape: tuple[int, ...], array: Array) -> list[Way]:
    """The order of axes that explains a shape, where there is only one."""
    if prod(shape) != array.size:
        return []
    fits = [o for o in orders(shape) if permuted(shape, o) == bare(array.shape)]
    return [Way(0, (Place(name, fits[0]),))] if len(fits) == 1 else []
