"""The page on training on: every line of it is run, from the export to the trained end."""

from __future__ import annotations

import os
import re
import shlex
import warnings
from pathlib import Path

import numpy as np
import onnxruntime
import pytest

import spa
import spa.torch
from spa.cli.main import run
from tests.carried import MODELS

PAGE = Path(__file__).parents[2] / "docs" / "howto" / "finetune.md"
TRAINED = 350
"""Of the 500 pictures of digits; the rest are looked at."""


@pytest.fixture
def digits(tmp_path, monkeypatch):
    """Pictures as `[500, 8, 8, 1]` and labels, in a folder of their own."""
    monkeypatch.chdir(tmp_path)
    data = np.load(MODELS / "digits_eval.npz")
    pictures = (data["images"] / data["scale"]).astype(np.float32)
    return pictures.transpose(0, 2, 3, 1), data["labels"].astype(np.int64)


def follow(section, **names):
    """Run what a section of the page says, with these names; what the names are afterwards."""
    text = PAGE.read_text(encoding="utf-8")
    (part,) = re.findall(rf"^## {section}$(.*?)(?=^## )", text, re.M | re.S)
    for language, block in re.findall(r"^```(\w+)\n(.*?)^```", part, re.M | re.S):
        if language == "sh":
            for line in block.splitlines():
                assert run([*shlex.split(line)[1:], "-q"]) == 0, line
        else:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # of exporters
                exec(compile(block, str(PAGE), "exec"), names)
    return names


def of_file(pictures):
    """What the pruned file gives."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession("slim.onnx", options)
    return session.run(None, {session.get_inputs()[0].name: pictures})[0]


def right(outputs, labels):
    """Top-1 of the pictures that nothing was trained on."""
    return float((np.asarray(outputs)[TRAINED:].argmax(1) == labels[TRAINED:]).mean())


def judge(before, after, pictures, labels):
    """The narrow network began as the file, and ended no worse."""
    wanted = of_file(pictures)
    np.testing.assert_allclose(before, wanted, atol=1e-4 * wanted.std())
    assert np.abs(after - before).max() > 1e-3 * wanted.std()
    assert right(after, labels) > max(0.6, right(before, labels) - 0.05)


def stepped(torch, module, images, classes, rate, epochs):
    """Steps of Adam, 25 pictures each."""
    optimizer = torch.optim.Adam(module.parameters(), rate)
    for _ in range(epochs):
        for rows in torch.randperm(TRAINED).split(25):
            optimizer.zero_grad()
            torch.nn.functional.cross_entropy(module(images[rows]), classes[rows]).backward()
            optimizer.step()


def test_pytorch(digits):
    torch = pytest.importorskip("torch")
    pytest.importorskip("onnxscript")
    nn, seen = torch.nn, {}
    torch.set_num_threads(1)
    torch.manual_seed(0)
    pictures, labels = digits
    pictures = np.ascontiguousarray(pictures.transpose(0, 3, 1, 2))
    images, classes = torch.from_numpy(pictures), torch.from_numpy(labels)
    net = nn.Sequential(
        nn.Conv2d(1, 16, 3, bias=False), nn.BatchNorm2d(16), nn.ReLU(),
        nn.Conv2d(16, 24, 3, stride=2, bias=False), nn.BatchNorm2d(24), nn.ReLU(),
        nn.Flatten(), nn.Linear(96, 32), nn.ReLU(), nn.Linear(32, 10),
    )  # fmt: skip

    def outputs(module):
        with torch.no_grad():
            return module.eval()(images).numpy()

    def train(module, epochs=4):
        seen["before"] = outputs(module)
        module.train()
        stepped(torch, module, images, classes, 1e-3, epochs)

    train(net, 15)
    made = follow("PyTorch", torch=torch, net=net, images=images[:128], train=train)
    numbers = [sum(p.numel() for p in each.parameters()) for each in (net, made["small"])]
    assert numbers[1] < 0.8 * numbers[0]
    judge(seen["before"], outputs(made["small"]), pictures, labels)


def test_before_any_training(digits):
    torch = pytest.importorskip("torch")
    nn, seen = torch.nn, {}
    torch.set_num_threads(1)
    torch.manual_seed(0)
    pictures, labels = digits
    images = torch.from_numpy(np.ascontiguousarray(pictures.transpose(0, 3, 1, 2)))
    classes = torch.from_numpy(labels)
    net = nn.Sequential(
        nn.Conv2d(1, 16, 3, bias=False), nn.BatchNorm2d(16), nn.ReLU(),
        nn.Conv2d(16, 16, 3, stride=2, bias=False), nn.BatchNorm2d(16), nn.ReLU(),
        nn.Flatten(), nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 10),
    )  # fmt: skip

    def train(module):
        stepped(torch, module.train(), images, classes, 1e-2, epochs=8)
        with torch.no_grad():
            seen["after"] = module.eval()(images)

    names = {"net": net, "images": images[:128], "classes": classes[:128], "train": train}
    made = follow("Before any training", torch=torch, spa=spa, **names)
    numbers = [sum(p.numel() for p in each.parameters()) for each in (net, made["small"])]
    assert 0.15 * numbers[0] < numbers[1] < 0.3 * numbers[0]
    widths = [m.num_features for m in made["small"] if isinstance(m, nn.BatchNorm2d)]
    assert len(set(widths)) == 2, "the two norms, equal before training, keep what is their own"
    assert right(seen["after"], labels) > 0.6


def test_keras(digits):
    os.environ.setdefault("KERAS_BACKEND", "tensorflow")
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    try:
        import tensorflow  # noqa: F401
    except ImportError:  # also one that is there and does not load
        pytest.skip("TensorFlow cannot be imported")
    pytest.importorskip("tf2onnx")
    pytest.importorskip("h5py")
    keras = pytest.importorskip("keras")
    if keras.backend.backend() != "tensorflow":
        pytest.skip("Keras runs on another backend here")
    layers, seen = keras.layers, {}
    keras.utils.set_random_seed(0)
    pictures, labels = digits
    np.save("calib.npy", pictures[:128])

    norm = layers.BatchNormalization

    def build(first, second, third):
        return keras.Sequential([
            keras.Input((8, 8, 1)),
            layers.Conv2D(first, 3, use_bias=False), norm(momentum=0.9), layers.ReLU(),
            layers.Conv2D(second, 3, strides=2), norm(momentum=0.9), layers.ReLU(),
            layers.Flatten(), layers.Dense(third, activation="relu"), layers.Dense(10),
        ])  # fmt: skip

    def train(model, epochs=4):
        seen["before"] = model.predict(pictures, verbose=0)
        loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
        model.compile(keras.optimizers.Adam(1e-3), loss)
        model.fit(pictures[:TRAINED], labels[:TRAINED], 25, epochs, verbose=0)

    net = build(16, 24, 32)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        train(net, 20)
        made = follow("Keras", net=net, build=build, train=train)
        after = made["small"].predict(pictures, verbose=0)
    assert sum(made["wide"]) < 72
    judge(seen["before"], after, pictures, labels)


def test_flax(digits):
    jax = pytest.importorskip("jax")
    optax = pytest.importorskip("optax")
    nn = pytest.importorskip("flax.linen")
    pytest.importorskip("jax2onnx")
    pictures, labels = digits
    np.save("calib.npy", pictures[:128])
    seen = {}

    class Net(nn.Module):
        first: int
        second: int
        third: int

        @nn.compact
        def __call__(self, x, train=False):
            for wide, stride in ((self.first, 1), (self.second, 2)):
                x = nn.Conv(wide, (3, 3), stride)(x)
                x = nn.relu(nn.BatchNorm(use_running_average=not train, momentum=0.9)(x))
            x = nn.relu(nn.Dense(self.third)(x.reshape((x.shape[0], -1))))
            return nn.Dense(10)(x)

    def train(model, variables, epochs=4):
        seen["before"] = np.asarray(model.apply(variables, pictures))
        optimizer = optax.adam(1e-3)

        @jax.jit
        def step(values, statistics, state, x, y):
            def loss(values):
                both = {"params": values, "batch_stats": statistics}
                out, new = model.apply(both, x, True, mutable=["batch_stats"])
                found = optax.softmax_cross_entropy_with_integer_labels(out, y).mean()
                return found, new["batch_stats"]

            gradients, statistics_ = jax.grad(loss, has_aux=True)(values)
            updates, state = optimizer.update(gradients, state)
            return optax.apply_updates(values, updates), statistics_, state

        values, statistics = variables["params"], variables["batch_stats"]
        state, random = optimizer.init(values), np.random.default_rng(0)
        for _ in range(epochs):
            for rows in random.permutation(TRAINED).reshape(-1, 25):
                values, statistics, state = step(
                    values, statistics, state, pictures[rows], labels[rows]
                )
        seen["trained"] = {"params": values, "batch_stats": statistics}

    net = Net(16, 24, 32)
    train(net, net.init(jax.random.key(0), pictures[:1]), 15)
    made = follow("Flax, and JAX", Net=Net, net=net, variables=seen["trained"], train=train)
    assert sum(made["wide"]) < 72
    after = np.asarray(made["small"].apply(seen["trained"], pictures))
    judge(seen["before"], after, pictures, labels)
