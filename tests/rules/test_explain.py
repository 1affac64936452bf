"""The line that says what a rule says."""

from __future__ import annotations

import numpy as np
import pytest

from spa import labels
from spa.labels import Image
from spa.rules.letters import Writer
from tests.corpus.build import case, noise, whole
from tests.rules.lines import explained

IMAGE = noise(2, 6, 5, 5)
ROWS = noise(2, 6, 4)


@pytest.mark.parametrize(
    ("node", "said"),
    [
        (
            case("Conv", 13, IMAGE, noise(8, 3, 3, 3), noise(8), group=2),
            "Conv: [*, (g=2 i=3), *] · [(g o=4), i, *] · [(g o)] -> [*, (g o), *]"
            "  reads g,i  makes g,o  scales g,o",
        ),
        (
            case("Conv", 13, IMAGE, noise(6, 1, 3, 3), group=6),
            "Conv: [*, g=6, *] · [g, *] -> [*, g, *]",
        ),
        (case("MatMul", 13, noise(3, 4), noise(4, 5)), "MatMul: [a=3, i=4] · [i, o=5] -> [a, o]"),
        (
            case("Reshape", 13, ROWS, whole(2, 2, 3, 4)),
            "Reshape: [a=2, (d=2 e=3), c=4] · [*] -> [a, d, e, c]",
        ),
        (case("Concat", 13, ROWS, noise(2, 3, 4), axis=1), "-> [j, (b + o), a]  makes o,j,a"),
        (case("Split", 13, ROWS, whole(2, 4), axis=1, outs=2), "-> [a, b[0:2], c], [a, b[2:6], c]"),
        (case("Pad", 13, ROWS, whole(0, 1, 0, 0, 2, 0)), "-> [a, (1 new + b + 2 new), c]"),
        (case("Tile", 13, ROWS, whole(1, 2, 1)), "-> [a, (2 b), c]"),
        (case("SpaceToDepth", 13, noise(1, 3, 4, 4), blocksize=2), "[*, a=3, *] -> [*, (4 a), *]"),
        (case("Transpose", 13, ROWS, perm=[2, 0, 1]), "[a=2, b=6, c=4] -> [c, a, b]"),
        (case("Slice", 13, ROWS, whole(-5), whole(99), whole(1)), "-> [a, b[1:6], c]"),
        (case("Gather", 13, ROWS, whole(5, 3, 1), axis=1), "-> [a, b[5::-2], c]"),
        (case("Softmax", 13, ROWS), "[a, b, c]  lossy: a softmax over channels"),
        (case("Size", 13, ROWS), "[*] -> []  frozen: its number of elements is used as a number"),
    ],
)
def test_line(node, said):
    assert said in explained(node)


def test_sequences_that_repeat_and_join():
    writer = Writer(np.arange(20))

    def said(*ids):
        return writer.image(Image((len(ids),), (labels.lay(np.array(ids), (0,), 1),)))

    assert said(1, 2, 3) == "[a=3]"
    assert said(1, 1, 2, 2, 3, 3) == "[(a 2)]"
    assert said(1, 2, 3, 1, 2, 3) == "[(2 a)]"
    assert said(3, 1) == "[a[2::-2]]"
    assert said(7, 1, 2, 3, 0, 0) == "[(1 new + a + 2 *)]"
