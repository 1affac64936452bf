"""Nets with positions, masks and bounds that are computed from the length of the input."""

from __future__ import annotations

import pytest

from spa.coupling import analyse
from spa.graph import read
from tests.symbols.lengths import look
from tests.symbols.nets import NETS, ROWS, WIDTH, build


@pytest.mark.parametrize("name", NETS)
@pytest.mark.parametrize("seed", [0, 1])
def test_is_right_at_every_length(name, seed):
    look(name, seed)


@pytest.mark.parametrize("name", NETS)
def test_every_row_of_a_table_keeps_the_same(name):
    coupling = analyse(read(build(name)))
    tables = [p for p in coupling.notes.params.values() if p.view[-2:] == (ROWS, WIDTH)]
    for param in tables:
        for _, plane in param.planes:
            assert plane.axes == (len(param.view) - 1,)
