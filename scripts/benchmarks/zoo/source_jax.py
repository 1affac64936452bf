"""Networks of JAX and Flax (nnx) with random weights.  Needs jax, flax and jax2onnx."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx

# ruff: noqa: D102 - what calling does is what the class says


class Perceptron(nnx.Module):
    """Layers one after the other."""

    def __init__(self, rngs: nnx.Rngs) -> None:
        self.one, self.two = nnx.Linear(12, 48, rngs=rngs), nnx.Linear(48, 32, rngs=rngs)
        self.last = nnx.Linear(32, 4, rngs=rngs)

    def __call__(self, x: Any) -> Any:
        return self.last(nnx.relu(self.two(nnx.relu(self.one(x)))))


class Block(nnx.Module):
    """Two convolutions with BatchNorm beside a shortcut."""

    def __init__(self, i: int, o: int, stride: int, rngs: nnx.Rngs) -> None:
        def conv(a: int, b: int, k: int, s: int) -> nnx.Conv:
            return nnx.Conv(a, b, (k, k), strides=(s, s), use_bias=False, rngs=rngs)

        self.one, self.two = conv(i, o, 3, stride), conv(o, o, 3, 1)
        self.between = nnx.BatchNorm(o, rngs=rngs, use_running_average=True)
        self.after = nnx.BatchNorm(o, rngs=rngs, use_running_average=True)
        self.side = conv(i, o, 1, stride) if (i, stride) != (o, 1) else None

    def __call__(self, x: Any) -> Any:
        y = self.after(self.two(nnx.relu(self.between(self.one(x)))))
        return nnx.relu(y + (x if self.side is None else self.side(x)))


class ResNet(nnx.Module):
    """Three stages of residual blocks, channels last."""

    def __init__(self, rngs: nnx.Rngs) -> None:
        self.first = nnx.Conv(3, 16, (3, 3), rngs=rngs)
        widths = ((16, 16, 1), (16, 16, 1), (16, 32, 2), (32, 32, 1), (32, 64, 2))
        self.blocks = nnx.List([Block(*each, rngs) for each in widths])
        self.last = nnx.Linear(64, 10, rngs=rngs)

    def __call__(self, x: Any) -> Any:
        x = nnx.relu(self.first(x))
        for block in self.blocks:
            x = block(x)
        return self.last(x.mean((1, 2)))


class Transformer(nnx.Module):
    """Two layers of attention and products, norms first."""

    def __init__(self, rngs: nnx.Rngs) -> None:
        self.first = nnx.Linear(12, 48, rngs=rngs)
        self.attend = nnx.List(
            [nnx.MultiHeadAttention(4, 48, decode=False, rngs=rngs) for _ in range(2)]
        )
        self.norms = nnx.List([nnx.LayerNorm(48, rngs=rngs) for _ in range(4)])
        self.up = nnx.List([nnx.Linear(48, 96, rngs=rngs) for _ in range(2)])
        self.down = nnx.List([nnx.Linear(96, 48, rngs=rngs) for _ in range(2)])
        self.last = nnx.Linear(48, 5, rngs=rngs)

    def __call__(self, x: Any) -> Any:
        x = self.first(x)
        for k in range(2):
            x = x + self.attend[k](self.norms[2 * k](x))
            x = x + self.down[k](nnx.gelu(self.up[k](self.norms[2 * k + 1](x))))
        return self.last(x)


class Recurrent(nnx.Module):
    """A scan over a cell that begins with zeros."""

    def __init__(self, cell: Callable[..., Any], states: int, rngs: nnx.Rngs) -> None:
        self.core, self.states = cell(12, 32, rngs=rngs), states
        self.last = nnx.Linear(32, 5, rngs=rngs)

    def __call__(self, x: Any) -> Any:
        zeros = jnp.zeros((x.shape[0], 32), x.dtype)
        state = (zeros,) * self.states if self.states > 1 else zeros
        state, _ = jax.lax.scan(self.core, state, x.transpose(1, 0, 2))
        return self.last(state[-1] if self.states > 1 else state)


NETS: dict[str, tuple[Callable[[nnx.Rngs], Any], tuple[int, ...]]] = {
    "perceptron": (Perceptron, (2, 12)),
    "resnet": (ResNet, (1, 32, 32, 3)),
    "transformer": (Transformer, (1, 9, 12)),
    "lstm": (lambda rngs: Recurrent(nnx.OptimizedLSTMCell, 2, rngs), (1, 6, 12)),
    "gru": (lambda rngs: Recurrent(nnx.GRUCell, 1, rngs), (1, 6, 12)),
}


def export(name: str, size: int, exporter: str, path: Path) -> str:
    """Write a network as ONNX; what wrote it."""
    import importlib.metadata

    import onnx
    from jax2onnx import to_onnx

    make, shape = NETS[name]
    model = make(nnx.Rngs(0))
    key = jax.random.key(1)

    def moved(value: Any) -> Any:
        flat = value.ndim <= 1 and jnp.issubdtype(value.dtype, jnp.floating)
        return value + 0.1 * jax.random.uniform(key, value.shape) if flat else value

    nnx.update(model, jax.tree.map(moved, nnx.state(model, (nnx.Param, nnx.BatchStat))))
    model.eval()
    onnx.save(to_onnx(model, inputs=[shape]), path)
    return f"jax2onnx {importlib.metadata.version('jax2onnx')}"
