"""Criteria of gradients beside plain PyTorch: the same net by hand, differentiated by hand."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

torch = pytest.importorskip("torch")

from torch.nn import functional  # noqa: E402

from spa.coupling import analyse  # noqa: E402
from spa.criteria import Context, criterion, score  # noqa: E402
from spa.errors import ReadError, UsageError  # noqa: E402
from spa.graph import read  # noqa: E402
from spa.probes import probe_for  # noqa: E402
from tests.carried import coupling_of  # noqa: E402

NAMES = ("snip", "grasp", "crop", "taylor", "fisher")
ROWS, CLASSES = 6, 3
RNG = np.random.default_rng(3)
KERNEL = RNG.standard_normal((4, 2, 3, 3)).astype(np.float32)
BIAS = RNG.standard_normal(4).astype(np.float32)
STORED = RNG.standard_normal((CLASSES, 4)).astype(np.float32)
RUNS = [RNG.standard_normal((n, 2, 5, 5)).astype(np.float32) for n in (4, 2)]
LABELS = [np.array([0, 1, 2, 1]), np.array([2, 0])]


def net(ends=(), extra=(), opset=17):
    """Convolution, Tanh, means over areas, and a product with a weight that is stored turned."""
    nodes = [
        helper.make_node("Conv", ["x", "kernel", "bias"], ["a"], pads=[1, 1, 1, 1]),
        *(extra or [helper.make_node("Identity", ["a"], ["n"])]),
        helper.make_node("Tanh", ["n"], ["b"]),
        helper.make_node("GlobalAveragePool", ["b"], ["c"]),
        helper.make_node("Flatten", ["c"], ["d"]),
        helper.make_node("Transpose", ["stored"], ["turned"], perm=[1, 0]),
        helper.make_node("MatMul", ["d", "turned"], ["e"]),
        *(ends or [helper.make_node("Identity", ["e"], ["y"])]),
    ]
    stored = {"kernel": KERNEL, "bias": BIAS, "stored": STORED}
    if extra:
        ones, zeros = np.ones(4, np.float32), np.zeros(4, np.float32)
        stored |= {"scale": ones * 1.5, "shift": ones * 0.1, "mean": zeros, "var": ones}
    whole = bool(ends) and ends[-1].op_type == "ArgMax"
    kind, shape = (TensorProto.INT64, ["N"]) if whole else (TensorProto.FLOAT, ["N", CLASSES])
    graph = helper.make_graph(
        nodes,
        "net",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", 2, 5, 5])],
        [helper.make_tensor_value_info("y", kind, shape)],
        [numpy_helper.from_array(v, k) for k, v in stored.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=9)
    onnx.checker.check_model(model)
    return model


def judged(name, model=None, labels=LABELS, runs=RUNS, **asked):
    """Scores of single weights by tensor, each in the shape of what is stored."""
    coupling = analyse(read(model or net()))
    feeds = [{"x": run} for run in runs]
    context = Context(coupling, feeds, labels=labels, batch_norm=False, device="cpu", **asked)
    weigh = criterion.get(name)(context)
    consts = coupling.graph.consts
    found = {n: weigh(n, np.asarray(consts[n])) for n in consts if consts[n].dtype.kind == "f"}
    return {n: s for n, s in found.items() if s is not None}


class Hand:
    """The net in plain PyTorch."""

    def __init__(self, norm=None):
        held = {"kernel": KERNEL, "bias": BIAS, "turned": STORED.T.copy()}
        self.w = {n: torch.tensor(v, requires_grad=True) for n, v in held.items()}
        self.norm = norm or (lambda a: a)

    def losses(self, x, labels, flat=None):
        w = self.w if flat is None else flat
        a = functional.conv2d(torch.tensor(x), w["kernel"], w["bias"], padding=1)
        z = torch.tanh(self.norm(a)).mean((2, 3)) @ w["turned"]
        return functional.cross_entropy(z, torch.tensor(labels), reduction="none")

    def mean(self, flat=None):
        parts = [self.losses(*pair, flat) for pair in zip(RUNS, LABELS, strict=True)]
        return torch.cat(parts).mean()

    def grads(self, loss):
        found = torch.autograd.grad(loss, list(self.w.values()), retain_graph=True)
        return dict(zip(self.w, found, strict=True))

    def hessian_times_gradient(self):
        """By the whole Hessian, element by element."""
        sizes = [w.numel() for w in self.w.values()]

        def loss(vector):
            parts = vector.split(sizes)
            pairs = zip(self.w.items(), parts, strict=True)
            return self.mean({n: part.reshape(w.shape) for (n, w), part in pairs})

        flat = torch.cat([w.detach().reshape(-1) for w in self.w.values()])
        gradient = torch.autograd.functional.jacobian(loss, flat)
        product = torch.autograd.functional.hessian(loss, flat) @ gradient
        return {
            n: part.reshape(w.shape)
            for (n, w), part in zip(self.w.items(), product.split(sizes), strict=True)
        }


def wanted(name):
    hand = Hand()
    w = {n: each.detach() for n, each in hand.w.items()}
    if name in ("grasp", "crop"):
        found = {n: w[n] * hg for n, hg in hand.hessian_times_gradient().items()}
        return found if name == "grasp" else {n: s.abs() for n, s in found.items()}
    if name == "snip":
        found = {n: (w[n] * g).abs() for n, g in hand.grads(hand.mean()).items()}
        whole = sum(s.sum() for s in found.values())
        return {n: s / whole for n, s in found.items()}
    total = {n: torch.zeros_like(each) for n, each in w.items()}
    for pair in zip(RUNS, LABELS, strict=True):
        losses = hand.losses(*pair)
        parts = [(losses.mean(), len(losses))] if name == "taylor" else [(e, 0.5) for e in losses]
        for loss, share in parts:
            for n, g in hand.grads(loss).items():
                total[n] += share / ROWS * (w[n] * g).square()
    return total


@pytest.mark.parametrize("name", NAMES)
def test_scores_are_those_of_plain_pytorch(name):
    found = judged(name)
    for tensor, own in wanted(name).items():
        own = own.numpy()
        np.testing.assert_allclose(found[tensor], own, rtol=2e-4, atol=2e-5 * np.abs(own).max())


@pytest.mark.parametrize("name", NAMES)
def test_channels_count_what_makes_them_their_bias_and_what_reads_them(name):
    coupling = analyse(read(net()))
    (group,) = coupling.groups
    feeds = [{"x": run} for run in RUNS]
    context = Context(coupling, feeds, labels=LABELS, batch_norm=False, device="cpu")
    scores = score(context, name)[group.cells].ravel()
    own = wanted(name)
    want = own["kernel"].sum((1, 2, 3)) + own["bias"] + own["turned"].sum(1)
    np.testing.assert_allclose(scores, want.numpy(), rtol=1e-3, atol=1e-5 * abs(scores).max())


@pytest.mark.parametrize("name", NAMES)
def test_without_labels_the_outputs_themselves_say_what_matters(name):
    found, again, other = (judged(name, labels=None, seed=seed) for seed in (0, 0, 1))
    for tensor, own in found.items():
        assert own.any()
        np.testing.assert_array_equal(own, again[tensor])
    assert any((own != other[tensor]).any() for tensor, own in found.items())


def test_without_labels_fisher_is_near_the_gauss_newton_matrix():
    runs = [RNG.standard_normal((300, 2, 5, 5)).astype(np.float32)]
    found = judged("fisher", labels=None, runs=runs)["turned"]
    hand = Hand()
    a = functional.conv2d(torch.tensor(runs[0]), hand.w["kernel"], hand.w["bias"], padding=1)
    means = torch.tanh(a).mean((2, 3)).detach()
    spread = (means @ hand.w["turned"].detach()).std(unbiased=False)
    # dz_k/dw_ik = means_i, and noise of variance 1 has passed through the mean over CLASSES
    want = (hand.w["turned"].detach().square() * means.square().mean(0)[:, None]).numpy()
    want = want / float(spread) ** 2 / CLASSES**2 / 2
    np.testing.assert_allclose(found, want, rtol=0.35)


def test_probabilities_are_not_made_probabilities_again():
    ended = judged("taylor", net([helper.make_node("Softmax", ["e"], ["y"], axis=1)]))
    for tensor, own in judged("taylor").items():
        np.testing.assert_allclose(ended[tensor], own, rtol=1e-3, atol=1e-6)


def test_an_untrained_norm_is_that_of_the_batch_and_gradients_pass_through_it():
    norm = helper.make_node("BatchNormalization", ["a", "scale", "shift", "mean", "var"], ["n"])
    found = judged("snip", net(extra=[norm]))

    def by_batch(a):
        centred = a - a.mean((0, 2, 3), keepdim=True)
        spread = a.var((0, 2, 3), unbiased=False, keepdim=True)
        return centred / torch.sqrt(spread + 1e-5) * 1.5 + 0.1

    hand = Hand(by_batch)
    grads = hand.grads(hand.mean())
    want = {n: (hand.w[n] * g).abs().detach().numpy() for n, g in grads.items()}
    share = found["kernel"] / found["kernel"].sum()
    np.testing.assert_allclose(share, want["kernel"] / want["kernel"].sum(), rtol=1e-3, atol=1e-6)
    assert found["bias"].max() < 1e-4 * found["kernel"].max()  # which the mean takes away
    assert "mean" not in found and "var" not in found


def test_integers_are_judged_as_the_floats_that_they_stand_for():
    scale = 0.05
    model = net()
    whole = np.clip(np.rint(KERNEL / scale), -127, 127).astype(np.int8)
    graph = model.graph
    (old,) = [t for t in graph.initializer if t.name == "kernel"]
    graph.initializer.remove(old)
    graph.initializer.extend(
        [
            numpy_helper.from_array(whole, "whole"),
            numpy_helper.from_array(np.float32(scale), "scale"),
        ]
    )
    graph.node.insert(0, helper.make_node("DequantizeLinear", ["whole", "scale"], ["kernel"]))
    coupling = analyse(read(model))
    context = Context(coupling, [{"x": r} for r in RUNS], labels=LABELS, device="cpu")
    weigh = criterion.get("snip")(context)
    plain = net()
    plain.graph.initializer[0].CopyFrom(
        numpy_helper.from_array(whole * np.float32(scale), "kernel")
    )
    own = weigh("whole", whole.astype(np.float32))
    np.testing.assert_allclose(own, judged("snip", plain)["kernel"], rtol=1e-3, atol=1e-7)


def test_what_no_gradient_reaches_is_an_error():
    model = net([helper.make_node("ArgMax", ["e"], ["y"], axis=1, keepdims=0)])
    with pytest.raises(ReadError, match="no gradient reaches the weights"):
        judged("snip", model, labels=None)
    with pytest.raises(UsageError, match="does not have a row of scores"):
        judged("snip", model)


def test_labels_are_classes_of_the_first_output():
    with pytest.raises(UsageError, match="go from 0 to 3, and output 'y' has 3 classes"):
        judged("taylor", labels=[np.array([0, 1, 2, 3]), np.array([0, 1])])


@pytest.mark.parametrize("name", ["bank_of_experts", "scan_both_ways", "attention_of_many_heads"])
def test_bodies_attention_and_computed_weights_have_second_derivatives(name):
    coupling = coupling_of(name)
    feeds = list(probe_for(coupling.graph, seed=0).batches(4, 4))
    for scorer in ("crop", "fisher"):
        scores = score(Context(coupling, feeds, device="cpu"), scorer)
        assert np.isfinite(scores).all()
        assert all(scores[group.cells].any() for group in coupling.groups)


def test_weights_without_gradients_count_by_their_size():
    """Integers that are multiplied as they are: their channels are not the first to go."""
    coupling = coupling_of("attention_of_bytes")
    feeds = list(probe_for(coupling.graph, seed=0).batches(4, 4))
    context = Context(coupling, feeds, device="cpu")
    weigh = criterion.get("taylor")(context)
    known = [weigh(n, np.asarray(w, np.float32)) for n, w in coupling.graph.consts.items()]
    scores = score(context, "taylor")
    assert all(scores[group.cells].any() for group in coupling.groups)
    assert any(s is None for s in known)
