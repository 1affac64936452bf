"""Which mixtures of channels carry most: the basis in which a cut costs least.

What is read: with G the covariance of a cell's channels and W what reads them, G^½ Wᵀ = U s Vᵀ; the
first r columns of G^-½ U span the r channels from which W's output is told best, made orthonormal.

What is multiplied: with Gq and Gk of both factors, Gq^½ Gk^½ = U s Vᵀ, and Tq = Gq^-½ U s^½,
Tk = Gk^-½ V s^½ = Tq^-ᵀ: the first r products are the best approximation of rank r of all.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spa.bases.free import Free
from spa.coupling.model import Coupling
from spa.devices import Device
from spa.events import Counted, uncounted
from spa.executor.cells import Cells, where
from spa.executor.columns import places_for
from spa.executor.least_squares import Moments
from spa.executor.sinks import Ways, scaled
from spa.executor.sites import Site, sites_of
from spa.executor.stream import Batches, Stream
from spa.executor.survey import survey
from spa.graph.model import Graph, Node
from spa.rules import trait_of

ON_THE_WAY = ("reshapes", "adds", "subtracts", "scales", "divides")
LEAST = 1e-5  # of the mean variance: what varies less is treated as if it varied so much
Matrix = NDArray[np.float64]
Sides = tuple[Matrix, Matrix]
Feeds = Sequence[Mapping[str, NDArray[Any]]]
Users = Mapping[str, Sequence[tuple[Node, int]]]


def directions(
    coupling: Coupling,
    parts: Sequence[Free],
    feeds: Feeds,
    device: Device = "cpu",
    batch_norm: bool = True,
    counted: Counted = uncounted,
) -> list[Sides | None]:
    """For every part the matrices `[cells, n, n]` of both sides; one dense pass.

    None where a reader is no site, so that nothing is known of what it makes of its channels.
    """
    sites = {s.node.index: s for s in sites_of(coupling)}
    users = Ways(coupling.graph).users
    found: list[Sides | None] = [None] * len(parts)
    grams: dict[int, dict[int, Matrix]] = {}
    stops: dict[int, list[int]] = {}
    for k, part in enumerate(parts):
        nodes = [p.node for p in part.readers] if part.product is None else [part.product.index]
        if part.product is not None or all(n in sites for n in nodes):
            for n in nodes:
                stops.setdefault(n, []).append(k)

    done = counted(len(stops), "sites")

    def look(stop: int, stream: Stream) -> None:
        for k in stops[stop]:
            product = parts[k].product
            if product is not None:
                found[k] = _multiplied(coupling, parts[k], product, stream, users)
            else:
                own = grams.setdefault(k, {})
                own[stop] = _gram(coupling, parts[k], sites[stop].x, stream)
        done()

    looks = {stop: partial(look, stop) for stop in stops}
    seen = survey(coupling, feeds, batch_norm=batch_norm, device=device, looks=looks).statistics
    consts = {**coupling.graph.consts, **seen}
    for k, own in grams.items():
        read = [_read(coupling, parts[k], sites[n], gram, consts) for n, gram in own.items()]
        found[k] = _orthonormal(*(np.sum(m, axis=0) for m in zip(*read, strict=True)))
    return found


def _read(
    coupling: Coupling, part: Free, site: Site, gram: Matrix, consts: Mapping[str, NDArray[Any]]
) -> Sides:
    """(G, G^½ WᵀW G^½) `[cells, n, n]` of one reader, both as shares of their whole."""
    weight = scaled(site.weight(coupling), site.sink.gain(consts))
    at = where(site.units(coupling)[0], part.cells)
    assert at is not None  # a use of the part holds them all, equally often
    own = weight[0][:, at]  # rows, cells, n, times
    metric = np.einsum("rcit,rcjt->cij", own, own, optimize=True)
    root = _root(gram)[0]
    energy = root @ metric @ root
    whole = float(np.trace(energy, axis1=1, axis2=2).sum()) or 1.0
    spread = float(np.trace(gram, axis1=1, axis2=2).sum()) or 1.0
    return gram / spread, energy / whole


def _orthonormal(gram: Matrix, energy: Matrix) -> Sides:
    """The spanning columns, best first, made orthonormal: their own inverse transposed."""
    _, vectors = np.linalg.eigh(energy)
    spanning = _root(gram)[1] @ vectors[:, :, ::-1]
    q, _ = np.linalg.qr(spanning)
    return q, q


def _multiplied(
    coupling: Coupling, part: Free, product: Node, stream: Stream, users: Users
) -> Sides:
    """(Tq, Tk)."""
    deaf = _deaf(coupling.graph, product, users)
    grams = [_gram(coupling, part, product.inputs[i], stream, centred=deaf == i) for i in (0, 1)]
    roots = [_root(g) for g in grams]
    u, s, vt = np.linalg.svd(roots[0][0] @ roots[1][0])
    scale = np.sqrt(s)[:, None, :]
    return roots[0][1] @ u * scale, roots[1][1] @ vt.swapaxes(1, 2) * scale


def _deaf(graph: Graph, product: Node, users: Users) -> int | None:
    """The factor whose mean makes no difference, as a softmax follows; None: neither."""
    names, seen = [product.outputs[0]], set()
    rank = len(graph.shapes[product.outputs[0]])
    while names:
        name = names.pop()
        for node, _ in users.get(name, ()):
            if node.index in seen:
                continue
            seen.add(node.index)
            like = trait_of(node)
            if like.shiftless:
                axis = node.attrs.get("axis", -1) % rank
                return {rank - 1: 1, rank - 2: 0}.get(axis)
            if like.linear in ON_THE_WAY or like.casts or like.condition is not None:
                names.append(node.outputs[0])
    return None


def _gram(
    coupling: Coupling, part: Free, name: str, stream: Stream, centred: bool = True
) -> Matrix:
    """Mean of products of the channels of every cell, `[cells, n, n]`.

    Centred: about the mean of each sample's own positions for factors of a product, of all for
    what is read.
    """
    own = Cells(coupling.notes.images[name], coupling.root, part.cells)
    sums = Moments(len(part.cells), part.cells.shape[1], device=stream.device)
    batches: Batches = stream.values[name]
    for x in batches:
        columns = own.columns(x)
        if part.product is not None and centred:
            columns = columns - columns.mean(3, keepdims=True)
        flat = columns.reshape(*columns.shape[:2], -1)
        at = places_for(flat.shape[1], flat.shape[2], len(batches), 0)
        sums.add(np.asarray(flat if at is None else flat[..., at], np.float32))
    gram = sums.xx if part.product is not None else sums.centred()[0]
    return gram / max(sums.count, 1)


def _root(gram: Matrix) -> tuple[Matrix, Matrix]:
    """(G^½, G^-½)."""
    values, vectors = np.linalg.eigh(gram)
    values = np.maximum(values, LEAST * values.mean(1, keepdims=True) + 1e-30)
    half = np.sqrt(values)[:, None, :]
    flipped = vectors.swapaxes(1, 2)
    return vectors * half @ flipped, vectors / half @ flipped
