"""Checks as users write them: a function, and a script that prints a score."""

from __future__ import annotations

import sys
from pathlib import Path

import onnx


def weights(path):
    """A score that pruning lowers: the parameters, in thousands."""
    model = onnx.load(path)
    return sum(_size(tensor.dims) for tensor in model.graph.initializer) / 1000


def loud(path):
    print("12345 on standard output is not the score")
    return weights(path)


def negative(path):
    return -weights(path)


def smaller_fails(path):
    if weights(path) < 20:
        raise ValueError(f"{Path(path).name} is too small to be any good")
    return 1.0


def always_fails(path):
    raise RuntimeError("the data set is gone")


def undefined(path):
    return float("nan")


class Judge:
    """A callable object, which no process can be handed."""

    def __init__(self):
        self.seen = []

    def __call__(self, path):
        self.seen.append(path)
        return weights(path)


no_function = 3


def _size(dims):
    total = 1
    for size in dims:
        total *= size
    return total


if __name__ == "__main__":
    sys.stderr.write("reading the data\n")
    print(f"score {globals()[sys.argv[1]](sys.argv[2]):.4f}, higher is better")
