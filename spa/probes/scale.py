"""In which range a model expects its pixels.

In this order: what the user says; what the file documents; constants that the model subtracts and
divides by before its first layer; the mean of linear outputs, which the right range brings close
to zero (`linear`); statistics of the first BatchNormalization, which the right range reproduces
and the wrong ones do not; whether the first convolution answers with numbers of a usual size; else
a convention.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from spa.errors import UsageError
from spa.graph.model import Graph, Node
from spa.probes.leaves import leaves
from spa.probes.noise import MEAN, SPREAD
from spa.probes.uses import Entry
from spa.rules import trait_of

Floats = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Scale:
    """From pixels in 0..1 to what the model sees: `factor * pixel + shift`, per channel or one."""

    factor: Floats
    shift: Floats
    words: str

    def __call__(self, pixels: NDArray[np.float32], axis: int) -> NDArray[np.float32]:
        """Scale pixels whose channels lie along `axis`."""
        shape = [1] * pixels.ndim
        shape[axis] = -1
        factor, shift = (v.astype(np.float32).reshape(shape) for v in (self.factor, self.shift))
        return pixels * factor + shift


def _scale(factor: float, shift: float, words: str) -> Scale:
    return Scale(np.array([factor]), np.array([shift]), words)


UNIT = _scale(1, 0, "in 0..1")
BYTE = _scale(255, 0, "in 0..255")
SIGNED = _scale(2, -1, "in -1..1")
NORMAL = _scale(1 / SPREAD, -MEAN / SPREAD, "normalised as for ImageNet")
CENTRED = _scale(255, -255 * MEAN, "in 0..255 less their mean")
SCALES = (NORMAL, UNIT, SIGNED, BYTE, CENTRED)

FITTING = 1.2
"""How far answers may be from the statistics, in logarithms of the spread plus deviations."""
LOST = 1e-3  # of the largest spread: a channel of less was lost in training, and says nothing
FAINT = 0.05  # normalised pixels give answers of 0.2 to 3; where bytes are expected, less than 0.02

DOCUMENTED: Mapping[str, Scale] = {
    "Normalized_0_1": UNIT,
    "Normalized_1_1": SIGNED,
    "NominalRange_0_255": BYTE,
    "NominalRange_16_235": _scale(219, 16, "in 16..235"),
}
"""The values of the metadata key `Image.NominalPixelRange`, as ONNX documents them."""


def given(
    channels: int,
    input_range: Sequence[float] | None,
    mean: float | Sequence[float] | None,
    std: float | Sequence[float] | None,
) -> Scale | None:
    """The scale that a user describes: a range of pixels, then `(x - mean) / std` in that range."""
    if input_range is None and mean is None and std is None:
        return None
    low, high = (0.0, 1.0) if input_range is None else _pair(input_range)
    middle, spread = (
        _per_channel(value, usual, channels, what)
        for value, usual, what in ((mean, 0.0, "mean"), (std, 1.0, "std"))
    )
    if not np.all(spread > 0):
        raise UsageError("the std of an input must be above 0; give the one the model trained with")
    return Scale((high - low) / spread, (low - middle) / spread, "scaled as asked for")


def _pair(values: Sequence[float]) -> tuple[float, float]:
    if len(values) != 2 or not values[0] < values[1]:
        raise UsageError(
            f"an input range is two numbers, low and high, not {tuple(values)}; "
            "give for example 0 and 255"
        )
    return float(values[0]), float(values[1])


def _per_channel(
    value: float | Sequence[float] | None, usual: float, channels: int, what: str
) -> Floats:
    array = np.atleast_1d(np.asarray(usual if value is None else value, np.float64))
    if array.shape not in ((1,), (channels,)):
        raise UsageError(
            f"the {what} has {array.size} numbers but the input has {channels} channels; "
            "give one number, or one per channel"
        )
    return array


def told(graph: Graph, found: Entry) -> Scale | None:
    """The scale that the file states: in its metadata, in constants, in statistics of pixels."""
    for prop in graph.proto.metadata_props:
        if prop.key == "Image.NominalPixelRange" and prop.value in DOCUMENTED:
            return worded(DOCUMENTED[prop.value], "because the file's metadata says so")
    if found.scaled:
        return worded(_best_scaled(found), "because the model scales them itself")
    return None if found.node is None else _from_norm(graph, found.node)


def infer(graph: Graph, found: Entry, channels: int) -> Scale:
    """The scale of an image input about which the file states nothing."""
    if found.node is not None and trait_of(found.node).convolves:
        guess = _from_convolution(graph, found.node, channels)
        if guess is not None:
            return guess
    if channels == 3:
        return worded(NORMAL, "because the first layer reads the input directly")
    return worded(UNIT, "as is usual for one channel" if channels == 1 else "for want of a hint")


def worded(scale: Scale, why: str) -> Scale:
    """The same scale with a reason."""
    return Scale(scale.factor, scale.shift, f"{scale.words} {why}")


def _best_scaled(found: Entry) -> Scale:
    """The usual range that the model's own constants turn into about N(0, 1)."""

    def miss(scale: Scale) -> float:
        factor = found.factor * scale.factor
        middle = factor * MEAN + found.factor * scale.shift + found.shift
        return float(np.mean(np.abs(np.log(np.abs(factor) * SPREAD + 1e-12)) + np.abs(middle)))

    # Only what adds to its input takes some that is below 0.
    lifted = bool(np.all(found.shift > 0))
    return min((SIGNED, UNIT) if lifted else (UNIT, BYTE), key=miss)


def _from_norm(graph: Graph, node: Node) -> Scale | None:
    """A BatchNormalization on the input itself knows mean and spread of every channel."""
    known = _statistics(graph, node)
    if known is None:
        return None
    mean, spread = known
    factor, shift = spread / SPREAD, mean - spread / SPREAD * MEAN
    return Scale(factor, shift, "with the statistics of the BatchNormalization that reads them")


def _from_convolution(graph: Graph, node: Node, channels: int) -> Scale | None:
    """Compare what the first convolution makes of each range with what it was trained on."""
    weight = graph.consts.get(node.inputs[1])
    small = weight is not None and weight.ndim == 4 and weight[0].size <= 4096
    if weight is None or not small or weight.shape[1] != channels:
        return None
    bias = graph.consts.get(node.inputs[2]) if len(node.inputs) > 2 else None
    if bias is not None and bias.shape != (len(weight),):
        return None
    w = weight.astype(np.float64)
    b = np.zeros(len(w)) if bias is None else bias.astype(np.float64)
    moments = _answers(w, b)
    readers = graph.readers.get(node.outputs[0], ())
    norm = _statistics(graph, readers[0]) if len(readers) == 1 else None
    if norm is not None:
        heard = norm[1] > LOST * norm[1].max()
        mean, spread = (side[heard] for side in norm)
        apart = (
            (np.abs(np.log(s[heard] / spread)), np.abs(m[heard] - mean) / spread)
            for m, s in moments
        )
        misses = [float(np.median(spreads) + np.median(means)) for spreads, means in apart]
        best = int(np.argmin(misses))
        if misses[best] > FITTING:
            return None
        return worded(SCALES[best], "because the first BatchNormalization was trained on that")
    if float(np.median(moments[0][1])) < FAINT:
        return worded(BYTE, "because the weights of the first convolution are that small")
    return None


def _statistics(graph: Graph, node: Node) -> tuple[Floats, Floats] | None:
    """Mean and spread that a node has stored to normalise with, per channel."""
    at = trait_of(node).statistics
    if at is None:
        return None
    mean, variance = (graph.consts.get(node.inputs[i]) for i in (at.mean, at.variance))
    if mean is None or variance is None or not np.all(variance > 0):
        return None
    return mean.astype(np.float64), np.sqrt(variance.astype(np.float64))


def _answers(w: Floats, b: Floats) -> list[tuple[Floats, Floats]]:
    """Mean and spread of what a convolution gives on pictures, for each of `SCALES`."""
    channels, tall, wide = w.shape[1:]
    side = max(32, tall, wide)
    pictures = leaves(range(24), (channels, side, side), seed=0, name="scale")
    windows = np.lib.stride_tricks.sliding_window_view(pictures, (tall, wide), (2, 3))
    windows = windows[:, :, ::4, ::4].transpose(0, 2, 3, 1, 4, 5)
    patches = windows.reshape(-1, channels * tall * wide).astype(np.float64)
    flat = w.reshape(len(w), -1)
    answers = patches @ flat.T
    middle, spread = answers.mean(0), answers.std(0) + 1e-12
    return [
        (float(s.factor[0]) * middle + float(s.shift[0]) * flat.sum(1) + b,
         abs(float(s.factor[0])) * spread)
        for s in SCALES
    ]  # fmt: skip
