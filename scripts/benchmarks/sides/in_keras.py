"""Keras on TensorFlow: its own export, and back by `spa apply` on its weights."""

from __future__ import annotations

import os
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("KERAS_BACKEND", "tensorflow")

import h5py
import keras
import numpy as np
import tensorflow
import tf2onnx  # noqa: F401 - the exporter's
from keras import layers

from sides import BATCH, CLASSES, RATE, WIDTHS, Data, batches
from spa.checkpoints.apply import apply

words = f"Keras {keras.__version__}, TensorFlow {tensorflow.__version__}"
tensorflow.config.threading.set_intra_op_parallelism_threads(1)
tensorflow.config.threading.set_inter_op_parallelism_threads(1)
LAYERS = ("conv2d", "conv2d_1", "dense")  # as its files of weights call them


def network(first: int, second: int, hidden: int) -> keras.Model:
    """The network of these widths."""
    norm = layers.BatchNormalization
    return keras.Sequential([
        keras.Input((8, 8, 1)),
        layers.Conv2D(first, 3, use_bias=False), norm(momentum=0.9), layers.ReLU(),
        layers.Conv2D(second, 3, strides=2), norm(momentum=0.9), layers.ReLU(),
        layers.Flatten(),
        layers.Dense(hidden, activation="relu"), layers.Dense(CLASSES),
    ])  # fmt: skip


def build(seed: int) -> keras.Model:
    """As of all sides."""
    keras.utils.set_random_seed(seed)
    return network(*WIDTHS)


def fed(pictures: np.ndarray) -> np.ndarray:
    """As they are."""
    return pictures


def logits(net: keras.Model, pictures: np.ndarray) -> np.ndarray:
    """As of all sides."""
    return net.predict(pictures, verbose=0)


def train(net: keras.Model, data: Data, epochs: int, seed: int) -> keras.Model:
    """As of all sides."""
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    net.compile(keras.optimizers.Adam(RATE), loss)
    rows = np.concatenate(batches(len(data.train), epochs, seed))
    net.fit(data.train[rows], data.labels[rows], BATCH, 1, shuffle=False, verbose=0)
    return net


def export(net: keras.Model, path: Path) -> None:
    """As of all sides."""
    net.export(str(path), format="onnx", verbose=False)


def back(net: keras.Model, export: Path, slim: Path) -> keras.Model:
    """As of all sides."""
    whole, small = (str(export.with_name(f"{name}.weights.h5")) for name in ("net", "small"))
    net.save_weights(whole)
    apply(whole, str(slim), small, export=str(export), force=True)
    with h5py.File(small) as file:
        wide = [file[f"layers/{name}/vars/0"].shape[-1] for name in LAYERS]
    made = network(*wide)
    made.load_weights(small)
    return made
