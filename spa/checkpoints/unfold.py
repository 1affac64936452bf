"""Give a weight and its BatchNormalization back what the file has in one."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from spa.checkpoints.book import Book, parent, siblings
from spa.checkpoints.exported import Array, Exported
from spa.checkpoints.folds import Fold, Norm, Vector, folds, norms, twins
from spa.checkpoints.places import Place, Way, bare
from spa.errors import UsageError

TINY = 1e-6
"""Of the largest scale: channels whose numbers cannot be divided by theirs."""


def unfold(book: Book) -> None:
    """Settle weights that stand scaled in the file, with the norms that scaled them.

    Raises:
        UsageError: such a weight is cut, and its norm is not found.
    """
    export = book.cutter.export
    if export is None:
        return
    stored = [name for name in book.free() if export.tensors[name].ndim > 1]
    for name in book.open():
        fits = [
            (other, fold)
            for other in stored
            for fold in folds(book.weights[name], export.tensors[other])
        ]
        if len({other for other, _ in fits}) == 1:
            _weight(book, export, name, *fits[0])


def unscale(book: Book) -> None:
    """Settle norms that the file computes as a product and a sum, each with one vector."""
    export = book.cutter.export
    if export is None:
        return
    vectors = [n for n in book.free() if len(bare(export.tensors[n].shape)) == 1]
    for name in vectors:
        scale = np.asarray(export.tensors[name], np.float64).reshape(-1)
        if twins(book.weights, Fold((), 0, scale)):
            continue
        for bias in (*(b for b in _after(export, name) if b in vectors), None):
            found = _norms(book, Fold((), 0, scale), None if bias is None else export.tensors[bias])
            if len(found) == 1:
                _norm(book, export, name, bias, scale, found[0])
                break


def _weight(book: Book, export: Exported, name: str, tensor: str, fold: Fold) -> None:
    own = [n for n in siblings(name, book.weights) if book.weights[n].ndim == 1]
    same = twins(book.weights, fold)
    for bias in _after(export, tensor) if not same else ():
        found = _norms(book, fold, export.tensors[bias], own)
        if len(found) == 1:
            _folded(book, name, (tensor, bias), fold, found[0])
            return
    if book.cutter.is_cut(tensor):
        why = (
            f"cannot be told: {' and '.join(same)} hold the same numbers, as before training; "
            "train a little first, or export without folding"
            if same
            else "is not found, or not the only one that fits; export without folding"
        )
        raise UsageError(
            f"{name} stands scaled in the file, as {tensor}, and the BatchNormalization that was "
            f"worked into it {why} it (of PyTorch: torch.onnx.export(..., optimize=False))"
        )


def _after(export: Exported, name: str) -> Iterator[str]:
    yield from export.beside.get(name, ())
    yield from export.next.get(name, ())


def _norms(book: Book, fold: Fold, bias: Array | None, offsets: Sequence[str] = ()) -> list[Norm]:
    """The norms that fit; of several, those whose names say that they are one."""
    free = [n for n in book.open() if book.weights[n].ndim == 1]
    found = norms(book.weights, free, fold, bias, offsets)
    keys: tuple[Callable[[str], str], ...] = (parent, lambda n: parent(n).partition("/")[2])
    for key in keys if len(found) > 1 else ():
        alike = [norm for norm in found if len({key(each) for each in norm.own}) == 1]
        if alike:
            return alike
    return found


def _folded(book: Book, name: str, pair: tuple[str, str], fold: Fold, norm: Norm) -> None:
    """Cut a weight and its norm; the norm keeps its scale, and takes what is new in its shift."""
    tensor, bias = pair
    array = np.asarray(book.weights[name], np.float64)
    left = book.cutter.left(array, Way(0, (Place(tensor, fold.order),)))
    assert left is not None
    channels = np.unique(np.unravel_index(left.positions, array.shape)[fold.axis])
    vectors = _kept(book, norm, channels)
    scale = fold.scale[channels]
    weight = array.reshape(-1)[left.positions]
    shift = _fresh(book, bias, channels.size)
    refitted = left.fresh is not None and shift is not None
    if left.fresh is not None and shift is not None:
        flat = np.abs(scale) <= TINY * np.abs(fold.scale).max()
        scale = np.where(flat, 1.0, scale)
        spread = np.sqrt(vectors[norm.variance] + 1e-5)
        vectors[norm.scale] = np.where(flat, spread, vectors[norm.scale])
        weight = np.asarray(left.fresh, np.float64) / scale.reshape(
            [-1 if axis == fold.axis else 1 for axis in range(array.ndim)]
        )
        middle = vectors[norm.mean] - (vectors[norm.offset] if norm.offset else 0.0)
        vectors[norm.shift] = shift + middle * scale
    book.put(name, "folded", (tensor,), left)
    book.new[name] = weight.astype(book.weights[name].dtype)
    book.rows[name]["refitted"], book.rows[name]["why"] = refitted, ""
    _tell(book, vectors, channels, (tensor, bias), norm.shift if refitted else "")


def _norm(
    book: Book, export: Exported, name: str, bias: str | None, scale: Vector, norm: Norm
) -> None:
    """Cut a norm of its own."""
    channels = book.cutter.kept(name).reshape(-1)
    vectors = _kept(book, norm, channels)
    fresh = _fresh(book, name, channels.size)
    if fresh is not None:
        old = scale[channels]
        same = np.abs(old) <= TINY * np.abs(scale).max()
        vectors[norm.scale] *= np.where(same, 1.0, fresh / np.where(same, 1.0, old))
        shift = None if bias is None else _fresh(book, bias, channels.size)
        if shift is not None:
            vectors[norm.shift] = shift + vectors[norm.mean] * fresh
    if norm.mean:
        book.means[name] = norm.mean
    names = (name,) if bias is None else (name, bias)
    _tell(book, vectors, channels, names, norm.shift if fresh is not None else "")


def _kept(book: Book, norm: Norm, channels: NDArray[np.int64]) -> dict[str, Vector]:
    return {n: np.asarray(book.weights[n], np.float64)[channels] for n in norm.names}


def _fresh(book: Book, name: str, size: int) -> Vector | None:
    """A vector of the pruned model, where it holds it."""
    slim = book.cutter.slim
    found = None if slim is None else slim.tensors.get(name)
    if found is None or found.size != size:
        return None
    return np.asarray(found, np.float64).reshape(-1)


def _tell(
    book: Book,
    vectors: dict[str, Vector],
    channels: NDArray[np.int64],
    tensors: tuple[str, ...],
    changed: str,
) -> None:
    for name, values in vectors.items():
        old = book.weights[name]
        book.tell(name, "folded", values.astype(old.dtype), tensors, refitted=name == changed)
        if channels.size < old.size:
            book.kept[name] = {0: tuple(channels.tolist())}
