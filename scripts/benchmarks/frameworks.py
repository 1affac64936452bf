"""Prune, heal, train on: from each framework and back into it, with top-1 at every step.

    python scripts/benchmarks/frameworks.py [--only keras] [--ratios 0.5 0.75] [--seeds 3]

A small network of digits (scikit-learn's 1,797; 500 of them to test on, drawn by the seed) is
trained in the framework and exported; `spa prune` cuts the file with default options and no data;
`spa tune` heals it with the training pictures and no labels; the healed numbers go into the
framework's own network, narrower, which is trained on.  One thread.  A framework that is not
installed is left out, in a sentence.  Needs scikit-learn, torch (which heals) and, of Keras,
tensorflow and tf2onnx, of Flax, optax and jax2onnx.
"""

from __future__ import annotations

import argparse
import importlib
import json
import os
import statistics
import sys
import tempfile
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import onnxruntime
from sides import Data, Side

import spa

SIDES = {"torch": "PyTorch", "keras": "Keras", "flax": "Flax"}
TESTED = 500
STEPS = {
    "trained": "trained",
    "exported": "exported file",
    "pruned": "pruned file",
    "healed": "healed file",
    "back": "narrow, in the framework",
    "on": "trained on",
}
EPOCHS, MORE = 12, 6  # of training, and of training on


def digits(seed: int) -> Data:
    """1,297 pictures to train on and 500 to test on, split by the seed."""
    from sklearn.datasets import load_digits

    pixels, labels = load_digits(return_X_y=True)
    pictures = (pixels / 16).astype(np.float32).reshape(-1, 8, 8, 1)
    labels = labels.astype(np.int64)
    test, train = np.split(np.random.default_rng(seed).permutation(len(labels)), [TESTED])
    return Data(pictures[train], labels[train], pictures[test], labels[test])


def side_of(name: str) -> Side:
    """A framework.

    Raises:
        ImportError: it, or its exporter, is not installed.
    """
    return cast("Side", importlib.import_module(f"sides.in_{name}"))


def of_file(path: Path, images: np.ndarray) -> np.ndarray:
    """What a file says."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    return session.run(None, {session.get_inputs()[0].name: images})[0]


def chain(
    side: Side,
    data: Data,
    ratios: Sequence[float],
    *,
    folder: Path,
    seed: int,
    steps: int = 300,
    epochs: tuple[int, int] = (EPOCHS, MORE),
) -> list[dict[str, Any]]:
    """One row per ratio: top-1 (percent) at every step, and what was removed.

    Args:
        side: the framework.
        data: what is trained and tested on.
        ratios: of `spa prune`.
        folder: for files.
        seed: of weights, order and spa.
        steps: of healing.
        epochs: of training, and of training on.
    """

    def top1(logits: np.ndarray) -> float:
        return 100 * float((logits.argmax(1) == data.test_labels).mean())

    test, calib = side.fed(data.test), side.fed(data.train)
    model, slim, healed = (folder / f"{name}.onnx" for name in ("model", "slim", "healed"))
    net = side.train(side.build(seed), data, epochs[0], seed)
    side.export(net, model)
    start = {
        "trained": top1(side.logits(net, data.test)),
        "exported": top1(of_file(model, test)),
    }
    rows = []
    for ratio in ratios:
        pruned = spa.prune(model, ratio, seed=seed, tune="off", output=slim, force=True)
        spa.tune(model, slim, steps=steps, calib=calib, seed=seed, output=healed, force=True)
        small = side.back(net, model, healed)
        narrow, wanted = side.logits(small, data.test), of_file(healed, test)
        row = {"side": side.words, "seed": seed, "ratio": ratio, **start}
        row |= {f"less_{name}": pruned["reduction"][name] for name in ("macs", "params")}
        row |= {"pruned": top1(of_file(slim, test)), "healed": top1(wanted), "back": top1(narrow)}
        row["apart"] = float(np.abs(narrow - wanted).max() / wanted.std())
        row["on"] = top1(side.logits(side.train(small, data, epochs[1], seed + 1), data.test))
        rows.append(row)
    return rows


def table(rows: Sequence[dict[str, Any]]) -> str:
    """Markdown: means over seeds, and in brackets the smallest and the largest."""
    heads = ["framework", "`-r`", "MACs", *STEPS.values()]
    lines = [f"| {' | '.join(heads)} |", "|---" * len(heads) + "|"]
    for side, ratio in dict.fromkeys((row["side"], row["ratio"]) for row in rows):
        part = [row for row in rows if (row["side"], row["ratio"]) == (side, ratio)]
        macs = statistics.mean(row["less_macs"] for row in part)
        cells = [side, f"{ratio:g}", f"-{100 * macs:.0f} %"]
        for step in STEPS:
            values = [row[step] for row in part]
            spread = f" ({min(values):.1f} .. {max(values):.1f})" if len(values) > 1 else ""
            cells.append(f"{statistics.mean(values):.1f}{spread}")
        lines.append(f"| {' | '.join(cells)} |")
    apart = max((row["apart"] for row in rows), default=0.0)
    return "\n".join([*lines, "", f"Healed file and narrow network differ by {apart:.0e} at most."])


def main(arguments: Sequence[str] | None = None) -> None:
    """Run every framework that is there, and print the table."""
    parser = argparse.ArgumentParser(description="Prune, heal and train on, framework by framework")
    parser.add_argument("--only", nargs="+", choices=SIDES, default=list(SIDES))
    parser.add_argument("--ratios", nargs="+", type=float, default=[0.5, 0.75])
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=300, help="of healing")
    parser.add_argument("--json", type=Path, help="a file that every row is added to")
    asked = parser.parse_args(arguments)
    rows: list[dict[str, Any]] = []
    for name in asked.only:
        try:
            side = side_of(name)
        except ImportError as error:
            print(f"{SIDES[name]} is left out: {error}.", file=sys.stderr)
            continue
        for seed in range(asked.seeds):
            with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
                warnings.simplefilter("ignore")  # of exporters
                options = {"folder": Path(folder), "seed": seed, "steps": asked.steps}
                made = chain(side, digits(seed), asked.ratios, **options)
            rows += made
            for row in made:
                print(json.dumps(row), file=sys.stderr, flush=True)
            if asked.json is not None:
                with asked.json.open("a", encoding="utf-8") as file:
                    file.writelines(json.dumps(row) + "\n" for row in made)
    print(table(rows))


if __name__ == "__main__":
    main()
