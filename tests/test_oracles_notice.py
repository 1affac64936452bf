"""The oracles themselves: each raises on a net that is wrong in the way it is there for."""

from __future__ import annotations

import numpy as np
import pytest
from onnx import ModelProto, numpy_helper

from spa.coupling import Coupling, analyse
from spa.errors import ReadError
from spa.graph import read
from spa.rewrite import rewrite
from tests import oracles
from tests.nets import BATCH, MOTIFS


@pytest.fixture
def coupling() -> Coupling:
    graph = read(MOTIFS["attention_separate"].build(batch=BATCH, sizes="zero"))
    return analyse(graph, strict=True)


@pytest.fixture
def alive(coupling: Coupling) -> oracles.Alive:
    return oracles.scattered(0.5, 0)(coupling)


@pytest.fixture
def small(coupling: Coupling, alive: oracles.Alive) -> ModelProto:
    return rewrite(coupling, alive)


def biases(model: ModelProto) -> list:
    """Stored vectors of floats."""
    return [t for t in model.graph.initializer if len(t.dims) == 1 and t.data_type == 1]


def test_all_are_content_with_what_is_right(
    coupling: Coupling, alive: oracles.Alive, small: ModelProto
) -> None:
    assert oracles.masked(coupling, alive, small) < 1e-5
    oracles.works(coupling, alive, small)
    oracles.cost(coupling, alive, small)


def test_masked_notices_channels_in_another_order(
    coupling: Coupling, alive: oracles.Alive, small: ModelProto
) -> None:
    bias = biases(small)[0]
    flipped = numpy_helper.to_array(bias)[::-1]
    bias.CopyFrom(numpy_helper.from_array(flipped.copy(), bias.name))
    with pytest.raises(AssertionError, match="differs"):
        oracles.masked(coupling, alive, small)


def test_masked_notices_other_channels(coupling: Coupling, small: ModelProto) -> None:
    with pytest.raises(AssertionError, match="differs"):
        oracles.masked(coupling, oracles.scattered(0.5, 1)(coupling), small)


def test_works_notices_a_batch_written_down(
    coupling: Coupling, alive: oracles.Alive, small: ModelProto
) -> None:
    targets = {n.input[1] for n in small.graph.node if n.op_type == "Reshape"}
    for tensor in small.graph.initializer:
        if tensor.name in targets:
            sizes = np.array(numpy_helper.to_array(tensor))
            sizes[0] = coupling.graph.dims[BATCH]
            tensor.CopyFrom(numpy_helper.from_array(sizes, tensor.name))
    oracles.masked(coupling, alive, small)
    with pytest.raises(ReadError):
        oracles.works(coupling, alive, small)


def test_cost_notices_what_stayed(
    coupling: Coupling, alive: oracles.Alive, small: ModelProto
) -> None:
    extra = numpy_helper.from_array(np.zeros(3, np.float32), "left_over")
    small.graph.initializer.append(extra)
    small.graph.node.add(op_type="Neg", input=["left_over"], output=["unused"])
    small.graph.output.add().CopyFrom(small.graph.output[0])
    small.graph.output[-1].name = "unused"
    with pytest.raises(AssertionError):
        oracles.cost(coupling, alive, small)


def test_cost_notices_another_choice(coupling: Coupling, small: ModelProto) -> None:
    with pytest.raises(AssertionError, match="were promised"):
        oracles.cost(coupling, coupling.everything(), small)


def test_identity_notices_a_change(coupling: Coupling, monkeypatch: pytest.MonkeyPatch) -> None:
    def meddling(coupling: Coupling, alive: oracles.Alive) -> ModelProto:
        model = rewrite(coupling, alive)
        model.graph.node[0].name = "renamed"
        return model

    oracles.identity(coupling)
    monkeypatch.setattr(oracles, "rewrite", meddling)
    with pytest.raises(AssertionError):
        oracles.identity(coupling)


def test_a_choice_is_made_again_or_refused(coupling: Coupling) -> None:
    """A choice that empties a cell fits nowhere."""

    def empty(coupling: Coupling) -> oracles.Alive:
        alive = coupling.everything()
        alive[coupling.groups[0].cells] = False
        return alive

    group = coupling.groups[0]
    fits, alive, refusals = oracles.fitted(coupling, oracles.scattered(0.5, 0))
    assert fits is coupling
    assert not refusals
    assert not alive[group.cells].all()
    with pytest.raises((oracles.Refused, IndexError)):
        oracles.fitted(coupling, empty)
