"""LSTMs of bytes against numpy, step by step: a cut is the original with units held at zero."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pytest
from numpy.typing import NDArray
from onnx import ModelProto, helper

from spa import runtime
from spa.coupling import analyse
from spa.graph import read
from spa.rewrite import rewrite
from spa.validate import verify
from spa.validate.runs import Runner
from tests import oracles
from tests.nets import MOTIFS, Net
from tests.nets.integer import MICROSOFT

READ, STATE, STEPS, GATES = 6, 8, 5, 4
STEP = 2e-2
"""Of the largest output: what a few numbers between two steps of a byte may change."""
Arrays = Mapping[str, np.ndarray]


def arrays(
    per_row: bool, dtype: type = np.int8, zero: int = 0, seed: int = 0
) -> dict[str, np.ndarray]:
    """All that one layer in two directions stores, gates as an axis of their own, and a head."""
    random = np.random.default_rng(seed)
    sizes = (2, GATES, STATE) if per_row else (2, 1, 1)

    def normal(*shape: int, size: float = 0.5) -> np.ndarray:
        return (random.standard_normal(shape) * size).astype(np.float32)

    def stored(rows: int) -> dict[str, np.ndarray]:
        shape = (2, rows, GATES, STATE)
        return {
            "": (random.integers(-60, 60, shape) + zero).astype(dtype),
            "_scale": ((random.random(sizes) + 0.5) / 100).astype(np.float32),
            "_zero": np.full(sizes, zero, dtype),
        }

    found = {k + part: a for k, n in (("w", READ), ("r", STATE)) for part, a in stored(n).items()}
    found |= {"b": normal(2, 2, GATES, STATE, size=0.1), "p": normal(2, 3, STATE)}
    found |= {"h": normal(2, 1, STATE), "c": normal(2, 1, STATE)}
    return found | {"head": normal(2 * STATE, 4)}


def net(a: Arrays) -> ModelProto:
    """The layer between its input and its head, its states stored."""
    n = Net(opset=17, batch=1)
    x = n.Transpose(n.input("x", STEPS, READ), perm=[1, 0, 2])
    flat = {k: n.const(a[k].reshape(2, *a[k].shape[1:-2], -1)) for k in ("w", "r")}
    rest = {k: n.const(a[k].reshape(2, -1)) for k in ("b", "p")}
    sizes = (2, -1) if a["w_scale"].size > 2 else (2,)
    beside = [
        n.const(a[k + part].reshape(sizes)) for k in ("w", "r") for part in ("_scale", "_zero")
    ]
    states = n.const(a["h"]), n.const(a["c"])
    given = flat["w"], flat["r"], rest["b"], "", *states, rest["p"], *beside
    y = n.DynamicQuantizeLSTM(x, *given, domain=MICROSOFT, hidden_size=STATE,
                              direction="bidirectional")  # fmt: skip
    y = n.Reshape(n.Transpose(y, perm=[2, 0, 1, 3]), n.ints(0, 0, 2 * STATE))
    return n.done(n.MatMul(y, n.const(a["head"])))


def bytes_of(value: np.ndarray) -> np.ndarray:
    """What is left of numbers that are quantised to their own range."""
    low, high = min(float(value.min()), 0.0), max(float(value.max()), 0.0)
    step = (high - low) / 255 or 1.0
    point = np.rint(-low / step)
    return (np.clip(np.rint(value / step) + point, 0, 255) - point) * step


def sigmoid(z: np.ndarray) -> np.ndarray:
    return np.asarray(1 / (1 + np.exp(-z)))


def by_hand(a: Arrays, x: np.ndarray, keep: NDArray[np.bool_]) -> np.ndarray:
    """The output for one sequence with the units outside `keep` held at zero."""
    shown = np.zeros((STEPS, 2, STATE))
    w, r = ((a[k].astype(float) - a[f"{k}_zero"][:, None]) * a[f"{k}_scale"][:, None] for k in "wr")
    for way, alive in enumerate(keep):
        h, c = (np.where(alive, a[k][way, 0], 0.0) for k in "hc")
        inside = np.einsum("ti,igh->tgh", bytes_of(x), w[way])
        pi, po, pf = a["p"][way]
        for t in range(STEPS)[:: -1 if way else 1]:
            z = inside[t] + np.einsum("k,kgh->gh", bytes_of(h), r[way]) + a["b"][way].sum(0)
            c = sigmoid(z[2] + pf * c) * c + sigmoid(z[0] + pi * c) * np.tanh(z[3])
            c = np.where(alive, c, 0.0)
            h = np.where(alive, sigmoid(z[1] + po * c) * np.tanh(c), 0.0)
            shown[t, way] = h
    return shown.reshape(STEPS, -1) @ a["head"]


def cut(model: ModelProto, keep: NDArray[np.bool_]):
    """The pruned model, proved, and what was cut from it."""
    coupling = analyse(read(model), strict=True)
    (group,) = coupling.groups
    alive = coupling.everything()
    alive[np.sort(group.cells, axis=0)[~keep]] = False  # labels are numbered as they are stored
    small = rewrite(coupling, alive)
    if keep.any(1).all():  # the scale of a whole direction is not promised to go with it
        oracles.cost(coupling, alive, small)
    verdict = verify(coupling, alive, small)
    assert verdict.proof == "complete" and verdict.equivalence < 1e-4
    return small


@pytest.mark.parametrize("kept", [(8, 8), (5, 5), (1, 1), (4, 0), (0, 3)])
@pytest.mark.parametrize(
    ("dtype", "zero", "per_row"),
    [(np.int8, 0, False), (np.int8, 5, False), (np.uint8, 128, False), (np.uint8, 121, False),
     (np.int8, 0, True), (np.uint8, 128, True)],
)  # fmt: skip
def test_a_cut_is_the_original_with_units_at_zero(dtype, zero, per_row, kept):
    a = arrays(per_row, dtype, zero)
    random = np.random.default_rng(1)
    keep = random.permuted(np.arange(STATE) < np.array(kept)[:, None], axis=1)
    small = cut(net(a), keep)
    x = random.standard_normal((1, STEPS, READ)).astype(np.float32)
    (got,) = runtime.run(runtime.session(small, optimize=False), {"x": x}).values()
    want = by_hand(a, x[0], keep)
    assert np.abs(got[0] - want).max() < STEP * np.abs(want).max()


@pytest.mark.parametrize(("activations", "sizes"), [(["Tanh"] * 3, "2x8"), (["Sigmoid"] * 3, "")])
def test_units_that_do_not_rest_at_zero_stay(activations, sizes):
    model = net(arrays(per_row=True))
    (node,) = (node for node in model.graph.node if node.domain)
    node.attribute.append(helper.make_attribute("activations", activations * 2))
    coupling = analyse(read(model), strict=True)
    assert oracles.groups_of(coupling) == sizes
    assert any("rest at 0" in f.reason.text for f in coupling.frozen) is not bool(sizes)


@pytest.mark.parametrize("place", [1, 2, 9, 10])
def test_layers_with_a_computed_weight_stay(place):
    model = net(arrays(per_row=True))
    (node,) = (node for node in model.graph.node if node.domain)
    (tensor,) = (t for t in model.graph.initializer if t.name == node.input[place])
    given = helper.make_tensor_value_info(tensor.name, tensor.data_type, tensor.dims)
    model.graph.input.append(given)
    model.graph.initializer.remove(tensor)
    assert not analyse(read(model), strict=True).groups


def test_checks_of_ranges_do_not_hang_on_threads():
    """Each thread measures the range of its own rows, and how many share them hangs on sizes."""
    for model, threads in ((net(arrays(per_row=True)), 1), (MOTIFS["recurrent_layers"].build(), 0)):
        loaded, _ = Runner(model, None, "cpu").load(False)
        assert loaded.get_session_options().intra_op_num_threads == threads
