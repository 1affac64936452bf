"""Files that are quantised already: the default scorer says so at once, others cut them."""

from __future__ import annotations

import pytest

import spa
from spa.coupling import analyse
from spa.coupling.quantised import integer_share
from spa.errors import ReadError
from spa.graph import read
from tests.nets import MOTIFS, Net
from tests.support import needs_runtime

QUANTISED = ("quantised_weights", "convolutions_of_bytes", "packed_in_bits")


@pytest.mark.parametrize("name", QUANTISED)
@pytest.mark.parametrize("run", [spa.prune, spa.plan])
def test_pruning_comes_before_quantising(name, run):
    with pytest.raises(ReadError, match=r"quantised already.*prune the model it was made from"):
        run(MOTIFS[name].build(), ratio=0.3)


@pytest.mark.parametrize("name", QUANTISED)
def test_who_asks_for_a_cut_gets_one(name):
    needs_runtime(MOTIFS[name].build())
    done = spa.prune(MOTIFS[name].build(), ratio=0.3, of="channels", scorer="l2", round_to=1)
    assert done.report["reduction"]["channels"] > 0


def test_ids_and_sizes_are_no_weights():
    n = Net(opset=17)
    y = n.Gather(n.weight(9, 8), n.ints(*range(5)))
    y = n.linear(n.Add(n.input("x", 5, 8), y), 8, 4)
    assert integer_share(analyse(read(n.done(y)))) == 0.0


def test_a_few_integers_do_not_stand_in_the_way():
    assert 0 < integer_share(analyse(read(MOTIFS["quantized_inside"].build()))) < 0.5
