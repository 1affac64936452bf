"""Flax on JAX: jax2onnx, and back by `spa apply` on the arrays."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import flax
import jax
import numpy as np
import optax
from flax import linen as nn
from flax.traverse_util import flatten_dict, unflatten_dict
from jax2onnx import to_onnx

from sides import CLASSES, RATE, WIDTHS, Data, batches
from spa.checkpoints.apply import apply

words = f"Flax {flax.__version__}, JAX {jax.__version__}"
LAYERS = ("Conv_0", "Conv_1", "Dense_0")


class Network(nn.Module):
    """The network of these widths."""

    first: int
    second: int
    hidden: int

    @nn.compact
    def __call__(self, x: Any, train: bool = False) -> Any:
        """Logits of pictures."""
        for wide, stride in ((self.first, 1), (self.second, 2)):
            x = nn.Conv(wide, (3, 3), stride, padding="VALID", use_bias=False)(x)
            x = nn.relu(nn.BatchNorm(use_running_average=not train, momentum=0.9)(x))
        x = nn.relu(nn.Dense(self.hidden)(x.reshape((x.shape[0], -1))))
        return nn.Dense(CLASSES)(x)


class Net(NamedTuple):
    """A network and its numbers."""

    module: Network
    variables: dict[str, Any]


def build(seed: int) -> Net:
    """As of all sides."""
    module = Network(*WIDTHS)
    start = np.zeros((1, 8, 8, 1), np.float32)
    return Net(module, module.init(jax.random.key(seed), start))


def fed(pictures: np.ndarray) -> np.ndarray:
    """As they are."""
    return pictures


def logits(net: Net, pictures: np.ndarray) -> np.ndarray:
    """As of all sides."""
    return np.asarray(net.module.apply(net.variables, pictures))


def train(net: Net, data: Data, epochs: int, seed: int) -> Net:
    """As of all sides."""
    optimizer = optax.adam(RATE)

    @jax.jit
    def step(values: Any, statistics: Any, state: Any, x: Any, y: Any) -> Any:
        def loss(values: Any) -> Any:
            both = {"params": values, "batch_stats": statistics}
            out, new = net.module.apply(both, x, True, mutable=["batch_stats"])
            each = optax.softmax_cross_entropy_with_integer_labels(out, y)
            return each.mean(), new["batch_stats"]

        gradients, moved = jax.grad(loss, has_aux=True)(values)
        updates, state = optimizer.update(gradients, state)
        return optax.apply_updates(values, updates), moved, state

    values, statistics = net.variables["params"], net.variables["batch_stats"]
    state = optimizer.init(values)
    for rows in batches(len(data.train), epochs, seed):
        x, y = data.train[rows], data.labels[rows]
        values, statistics, state = step(values, statistics, state, x, y)
    return Net(net.module, {"params": values, "batch_stats": statistics})


def export(net: Net, path: Path) -> None:
    """As of all sides."""
    to_onnx(
        lambda x: net.module.apply(net.variables, x),
        [("N", 8, 8, 1)],
        return_mode="file",
        output_path=str(path),
    )


def back(net: Net, export: Path, slim: Path) -> Net:
    """As of all sides."""
    whole, small = (str(export.with_name(f"{name}.npz")) for name in ("net", "small"))
    np.savez(whole, **flatten_dict(jax.tree.map(np.asarray, net.variables), sep="/"))
    apply(whole, str(slim), small, export=str(export), force=True)
    with np.load(small) as held:
        arrays = dict(held)
    wide = [arrays[f"params/{name}/kernel"].shape[-1] for name in LAYERS]
    return Net(Network(*wide), unflatten_dict(arrays, sep="/"))
