"""In the basis that is chosen, the first channels are the best there are."""

from __future__ import annotations

import numpy as np
import pytest

from spa import runtime
from spa.bases import free, mixed
from spa.coupling import analyse
from spa.graph import read
from spa.pipeline import prune
from spa.recipe import Recipe
from tests.nets import Net
from tests.nets.layers import multiplied, products

WIDTH, RANK, TOKENS = 8, 3, 6


def rows_of(graph, rows=200):
    rng = np.random.default_rng(2)
    mix = rng.standard_normal((10, 10)) * np.geomspace(1, 0.1, 10)
    shapes = {n: graph.shapes[n][1:] for n in graph.inputs}
    made = {n: rng.standard_normal((rows, *s)) @ mix for n, s in shapes.items()}
    return [{n: x.astype(np.float32) for n, x in made.items()}]


def values(seed=0):
    """A linear bottleneck, nothing but two matrices."""
    sizes = {"shape": (TOKENS,), "batch": "N", "seed": seed}
    return products(10, WIDTH, 7, between=lambda n, x: x, **sizes)


def scores_of(seed=0):
    """Queries times keys, without a softmax."""
    n = Net(opset=17, batch="N", seed=seed)
    x = n.input("x", TOKENS, 10)
    q, k = n.linear(x, 10, WIDTH), n.linear(x, 10, WIDTH)
    return n.done(n.MatMul(q, n.Transpose(k, perm=[0, 2, 1])))


def tensor(model, graph, name, feeds):
    """One tensor of a model."""
    from onnx import ModelProto, helper

    copy = ModelProto()
    copy.CopyFrom(model)
    copy.graph.output.append(helper.make_empty_tensor_value_info(name))
    return runtime.run(runtime.session(copy, optimize=False), feeds[0], [name])[name]


@pytest.mark.parametrize("seed", range(5))
def test_the_first_products_are_the_best_approximation(seed):
    graph = read(scores_of(seed))
    coupling, feeds = analyse(graph, strict=True), rows_of(graph)
    found = mixed(coupling, free(coupling), feeds)
    assert found is not None
    product = next(n for n in graph.nodes if n.op == "MatMul" and n.outputs[0] in graph.outputs)
    q, k = (tensor(found[0], graph, name, feeds).astype(float) for name in product.inputs)
    whole = q @ k
    missed = np.linalg.norm(whole - q[..., :RANK] @ k[:, :RANK])
    best = np.linalg.svd(
        np.linalg.qr(q.reshape(-1, WIDTH))[1] @ np.linalg.qr(
            k.swapaxes(1, 2).reshape(-1, WIDTH))[1].T, compute_uv=False)  # fmt: skip
    pairs = TOKENS * len(q)  # every query with every key of all samples, of which some are taken
    assert missed / np.sqrt(TOKENS) < 1.1 * np.linalg.norm(best[RANK:]) / np.sqrt(pairs) * np.sqrt(
        len(q)
    )


@pytest.mark.parametrize("seed", range(5))
def test_the_first_channels_tell_the_output_best(seed):
    graph = read(values(seed))
    coupling, feeds = analyse(graph, strict=True), rows_of(graph)
    found = mixed(coupling, free(coupling), feeds)
    assert found is not None
    (reader,) = free(coupling)[0].readers
    node = graph.nodes[reader.node]
    x = tensor(found[0], graph, node.inputs[0], feeds).astype(float).reshape(-1, WIDTH)
    y = tensor(found[0], graph, node.outputs[0], feeds).astype(float).reshape(len(x), -1)
    x, y = x - x.mean(0), y - y.mean(0)

    def missed(columns):
        return np.linalg.norm(y - columns @ np.linalg.lstsq(columns, y, rcond=None)[0])

    best = np.linalg.norm(np.linalg.svd(y, compute_uv=False)[RANK:])
    assert missed(x[:, :RANK]) < 1.02 * best + 1e-9


def test_pruning_in_a_free_basis_drifts_less():
    n = Net(opset=17, batch="N", seed=4)
    x = multiplied(n, n.input("x", TOKENS, 10), 10, 64, 24)
    model = n.done(multiplied(n, x, 24, 64, 5))
    options = {"ratio": 0.3, "round_to": 1, "samples": 256}
    drifts, plans = [], []
    for rotate in (True, False):
        done = prune(model, Recipe(rotate=rotate, **options))
        drifts.append(max(done.report["verify"]["drift"].values()))
        plans.append(done.plan)
    assert plans[0].rotated and not plans[1].rotated
    assert drifts[0] < drifts[1]
