"""An open axis of a cache or a mask is a length, whatever the number of axes."""

from __future__ import annotations

import numpy as np
import pytest

from spa.graph import read
from tests.nets.bodies import choose
from tests.nets.net import Net
from tests.probes.test_states import decoder


def grown(n: Net, past: str) -> str:
    """Transposed before something is put behind it."""
    new = n.Relu(n.input("new", 4, 1, 8))
    transposed = n.Transpose(past, perm=[0, 2, 1, 3])
    return n.Concat(transposed, n.Transpose(new, perm=[0, 2, 1, 3]), axis=1)


def multiplied(n: Net, past: str) -> str:
    """Keys of an encoder, which nothing is put behind."""
    queries = n.Relu(n.input("new", 4, 3, 8))
    return n.MatMul(queries, n.Transpose(past, perm=[0, 1, 3, 2]))


def masking(n: Net, past: str) -> str:
    scores = n.MatMul(n.Relu(n.input("new", 4, 1, 8)), n.Relu(n.input("other", 4, 8, "past")))
    return n.Softmax(n.Add(scores, n.Mul(n.Slice(past, n.ints(0), n.ints(1), n.ints(3)),
                                         n.const(np.float32(2)))), axis=-1)  # fmt: skip


def branching(n: Net, past: str) -> str:
    new, flag = n.Relu(n.input("new", 4, 1, 8)), n.input("flag", dtype=np.bool_, batched=False)

    def joined() -> list[str]:
        return [n.Concat(past, new, axis=-2)]

    return choose(n, flag, joined, lambda: [n.Identity(new)])


def windows(n: Net, past: str) -> str:
    return n.conv(past, 4, 8)


def beside(n: Net, past: str) -> str:
    """Channels put beside channels."""
    return n.conv(n.Concat(past, n.Relu(past), axis=1), 8, 8)


def into_patches(n: Net, past: str) -> str:
    return n.MatMul(past, n.weight(8, 8))


@pytest.mark.parametrize(
    ("make", "size"),
    (
        (grown, 7), (multiplied, 7), (masking, 7), (branching, 7),
        (windows, 64), (beside, 64), (into_patches, 64),
    ),
)  # fmt: skip
def test_what_is_done_along_an_axis_tells_what_it_is(make, size):
    n = Net(batch="N")
    graph = read(n.done(n.Relu(make(n, n.input("kept", 4, "past", 8)))))
    assert graph.dims["past"] == size


def test_a_cache_is_analysed_and_proved_at_sizes_of_tokens():
    graph = read(decoder())
    assert graph.dims["past"] < 32 and graph.dims["past"] != graph.dims["seq"]
