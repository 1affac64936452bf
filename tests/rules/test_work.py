"""Multiplications are counted where channels stay whole, too."""

from __future__ import annotations

import pytest

from spa.coupling.products import untold
from spa.graph import read
from spa.rules.explain import Labelled
from tests.corpus.build import case, noise, quantised
from tests.corpus.cases import variants

IMAGE = noise(2, 6, 5, 5)


def macs(node, moving: int) -> float:
    """MACs of the params of one node, its first `moving` inputs being activations."""
    names = list(node.arrays)[:moving]
    (variant,) = [v for v in variants(node) if list(v.feeds) == names]
    graph = read(variant.model)
    notes = Labelled(graph, strict=True).start({})
    found = sum(p.times * _size(p.view) for p in notes.params.values())
    assert untold(graph, ()) == found  # as where no rule has a say
    return found


def _size(view) -> int:
    size = 1
    for n in view:
        size *= n
    return size


@pytest.mark.parametrize("moving", [1, 2], ids=["stored", "computed"])
@pytest.mark.parametrize(
    ("node", "count"),
    [
        (case("Conv", 13, IMAGE, noise(8, 3, 3, 3), group=2), 2 * 3 * 3 * 8 * 27),
        (case("ConvTranspose", 13, IMAGE, noise(6, 2, 3, 3), group=2), 2 * 25 * 6 * 2 * 9),
        (case("MatMul", 13, noise(2, 3, 4), noise(4, 5)), 2 * 3 * 4 * 5),
        (case("Gemm", 13, noise(3, 4), noise(4, 5)), 60),
        (case("Einsum", 13, noise(2, 3, 4), noise(2, 4, 5), equation="bij,bjk->bik"), 120),
    ],
)  # fmt: skip
def test_products(node, count, moving):
    assert macs(node, moving) == count


def test_recurrent_layers_count_both_weights_at_every_step():
    x, w, r = noise(3, 2, 4), noise(1, 20, 4), noise(1, 20, 5)
    assert macs(case("LSTM", 14, x, w, r, hidden_size=5), 1) == 3 * 2 * (20 * 4 + 20 * 5)


def test_products_of_integers():
    (a, b) = quantised(3, 4)[0], quantised(4, 5)[0]
    assert macs(case("MatMulInteger", 10, a, b), 1) == 60
    assert macs(
        case("ConvInteger", 10, (IMAGE * 9).astype("uint8"), quantised(8, 6, 3, 3)[0]), 1
    ) == (2 * 9 * 8 * 6 * 9)


def test_fused_attention():
    q, k, v = noise(2, 3, 4, 5), noise(2, 3, 6, 5), noise(2, 3, 6, 7)
    assert macs(case("Attention", 23, q, k, v), 3) == 2 * 3 * 4 * 6 * (5 + 7)
