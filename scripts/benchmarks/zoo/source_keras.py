"""Networks of Keras with random weights, by tf2onnx.  Needs tensorflow and tf2onnx."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
from keras import layers


def chain(shape: tuple[int, ...], *parts: Any) -> Any:
    """Layers one after the other."""
    x = inputs = keras.Input(shape, batch_size=1)
    for part in parts:
        x = part(x)
    return keras.Model(inputs, x)


def resnet() -> Any:
    """Residual stages, channels last."""
    x = inputs = keras.Input((32, 32, 3), batch_size=1)
    x = layers.Conv2D(16, 3, padding="same")(x)
    for width, stride in ((16, 1), (16, 1), (32, 2), (32, 1), (64, 2)):
        y = layers.Conv2D(width, 3, strides=stride, padding="same", use_bias=False)(x)
        y = layers.ReLU()(layers.BatchNormalization()(y))
        y = layers.BatchNormalization()(layers.Conv2D(width, 3, padding="same")(y))
        if (x.shape[-1], stride) != (width, 1):
            x = layers.Conv2D(width, 1, strides=stride)(x)
        x = layers.ReLU()(layers.add([x, y]))
    return keras.Model(inputs, layers.Dense(10)(layers.GlobalAveragePooling2D()(x)))


def transformer() -> Any:
    """Two layers of attention and products."""
    x = inputs = keras.Input((9, 12), batch_size=1)
    x = layers.Dense(48)(x)
    for _ in range(2):
        y = layers.LayerNormalization()(x)
        x = layers.add([x, layers.MultiHeadAttention(4, 12)(y, y)])
        y = layers.Dense(96, activation="silu")(layers.LayerNormalization()(x))
        x = layers.add([x, layers.Dense(48)(y)])
    return keras.Model(inputs, layers.Dense(5)(x))


def unet() -> Any:
    """Down and up again, joined."""
    x = inputs = keras.Input((32, 32, 3), batch_size=1)
    one = layers.Conv2D(16, 3, padding="same", activation="relu")(x)
    low = layers.Conv2D(32, 3, padding="same", activation="relu")(layers.MaxPooling2D()(one))
    up = layers.Conv2DTranspose(16, 2, strides=2)(low)
    x = layers.Conv2D(16, 3, padding="same", activation="relu")(layers.concatenate([up, one]))
    return keras.Model(inputs, layers.Conv2D(2, 1)(x))


def recurrent(kind: Any, both: bool) -> Any:
    """A recurrent layer and a class."""
    core = kind(32, return_sequences=both)
    core = layers.Bidirectional(core) if both else core
    return chain((9, 12), core, layers.Dense(5))


def application(name: str) -> Any:
    """A network of keras.applications, for small pictures."""
    return getattr(keras.applications, name)(weights=None, input_shape=(64, 64, 3), classes=10)


NETS: dict[str, Callable[[], Any]] = {
    "perceptron": lambda: chain(
        (12,), layers.Dense(48, "relu"), layers.Dense(32, "relu"), layers.Dense(4)
    ),
    "resnet": resnet,
    "unet": unet,
    "transformer": transformer,
    "lstm": lambda: recurrent(layers.LSTM, True),
    "gru": lambda: recurrent(layers.GRU, False),
    "simple rnn": lambda: recurrent(layers.SimpleRNN, False),
    "MobileNetV2": lambda: application("MobileNetV2"),
    "EfficientNetB0": lambda: application("EfficientNetB0"),
    "DenseNet121": lambda: application("DenseNet121"),
    "Xception": lambda: keras.applications.Xception(
        weights=None, input_shape=(96, 96, 3), classes=10
    ),
}


def export(name: str, size: int, exporter: str, path: Path) -> str:
    """Write a network as ONNX; what wrote it."""
    import numpy as np
    import tensorflow as tf
    import tf2onnx

    keras.utils.set_random_seed(0)
    model = NETS[name]()
    rng = np.random.default_rng(0)
    for each in model.weights:
        if len(each.shape) <= 1 and "float" in str(each.dtype):
            moved = each.numpy() + 0.1 * rng.random(each.shape)
            each.assign(moved + (0.1 if "variance" in each.path else 0.0))
    spec = [tf.TensorSpec((1, *model.inputs[0].shape[1:]), tf.float32, name="x")]
    called = tf.function(lambda x: model(x, training=False), input_signature=spec)
    tf2onnx.convert.from_function(called, spec, opset=17, output_path=str(path))
    return f"tf2onnx {tf2onnx.__version__}, Keras {keras.__version__}"
