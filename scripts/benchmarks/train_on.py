"""Prune and train on: spa next to Torch-Pruning, with the same parameters, epochs, data and seeds.

    train_on.py digits residual                                  (minutes, one thread)
    train_on.py fashion plain --left 0.25 --parts after before

Three orders of work, with the same SGD on the same batches in the same order: train, prune, train
on ("after"); train with group sparsity, prune, train on ("sparse"); prune what is not trained yet,
train ("before").  Torch-Pruning prunes the module; spa prunes its export, and `spa.torch.cut`
narrows the module.  What is printed is top-1 of test images, mean and standard deviation over
seeds; with `--split validation`, of images that choices may be made by.

Needs torch, torch-pruning and scikit-learn; Fashion-MNIST is read from the .gz files of its authors
(on Debian and Ubuntu `apt-get install dataset-fashion-mnist`).
"""

from __future__ import annotations

import argparse
import json
import logging
import time
import warnings
from collections.abc import Iterator
from fnmatch import fnmatch
from pathlib import Path
from statistics import mean, stdev

import torch
from torch import nn
from versus.tasks import NETS, TASKS, Split, Task, accuracy, count, made, train
from versus.tools import Prune, own, tp, train_sparse

RATE, RATE_MORE = 0.1, 0.05
FLAT = {"allocation": "uniform", "repair": "none"}
AFTER: dict[str, Prune] = {
    "TP norm, uniform": tp("norm", False),
    "TP norm, global": tp("norm", True),
    "TP Taylor, uniform": tp("taylor", False),
    "TP Taylor, global": tp("taylor", True),
    "spa": own(),
    "spa, folded export": own(folded=True),
    "spa taylor, uniform": own(scorer="taylor", **FLAT),
    "spa taylor": own(scorer="taylor"),
    "spa l2, uniform": own(scorer="l2", **FLAT),
    "spa l2": own(scorer="l2"),
}
SPARSE = ("TP norm, uniform", "TP norm, global", "spa", "spa l2, uniform", "spa l2")
BEFORE: dict[str, Prune] = {
    "TP norm, uniform": tp("norm", False, fresh=True),
    "TP norm, global": tp("norm", True, fresh=True),
    "TP Taylor, uniform": tp("taylor", False, fresh=True),
    "TP Taylor, global": tp("taylor", True, fresh=True),
    **{
        f"spa {scorer}, uniform": own(scorer=scorer, **FLAT)
        for scorer in ("random", "l2", "snip", "crop", "grasp")
    },
    **{f"spa {scorer}": own(scorer=scorer, repair="none") for scorer in ("snip", "crop", "grasp")},
}


class Bench:
    """One network on one task with one seed.

    Attributes:
        learn: what is trained on.
        judge: what is reported.
        budget: the parameters that every tool leaves.
    """

    def __init__(self, options: argparse.Namespace, task: Task, seed: int) -> None:
        self.options, self.task, self.seed = options, task, seed
        self.learn: Split = task.learn
        self.judge: Split = task.validation if options.split == "validation" else task.test
        self.budget = round(options.left * count(made(options.net, seed)))

    def rows(self) -> Iterator[dict[str, object]]:
        """Every figure, as it comes."""
        for part in self.options.parts:
            yield from {"after": self.after, "sparse": self.sparse, "before": self.before}[part]()

    def after(self) -> Iterator[dict[str, object]]:
        """Train, prune, train on."""
        net = made(self.options.net, self.seed)
        train(net, self.learn, self.task.epochs, RATE, self.seed)
        for name in self.wanted(AFTER):
            yield self.row("after", name, net, AFTER[name], self.task.more, RATE_MORE)

    def sparse(self) -> Iterator[dict[str, object]]:
        """Train with group sparsity, prune, train on."""
        for tool in ("TP", "spa"):
            names = [name for name in self.wanted(SPARSE) if name.startswith(tool)]
            for by in self.options.reg if names else ():
                net = made(self.options.net, self.seed)
                train_sparse(net, self.learn, self.task.epochs, RATE, self.seed, tool, by)
                for name in names:
                    row = self.row("sparse", name, net, AFTER[name], self.task.more, RATE_MORE)
                    yield {**row, "reg": by}

    def before(self) -> Iterator[dict[str, object]]:
        """Prune what is not trained yet, train."""
        for name in self.wanted(BEFORE):
            net = made(self.options.net, self.seed)
            yield self.row("before", name, net, BEFORE[name], self.task.epochs, RATE)

    def wanted(self, names: dict[str, Prune] | tuple[str, ...]) -> list[str]:
        """Names that `--only` asks for."""
        return [n for n in names if any(fnmatch(n, glob) for glob in self.options.only)]

    def row(
        self, part: str, name: str, net: nn.Module, prune: Prune, epochs: int, rate: float
    ) -> dict[str, object]:
        """Prune, judge, train, judge."""
        start = time.process_time()
        small = prune(net, self.learn, self.budget)
        seconds = time.process_time() - start
        cut = accuracy(small, self.judge)
        train(small, self.learn, epochs, rate, self.seed)
        return {
            "data": self.options.data, "net": self.options.net, "split": self.options.split,
            "seed": self.seed, "part": part, "name": name, "seconds": round(seconds, 2),
            "left": count(small) / count(net), "dense": accuracy(net, self.judge), "cut": cut,
            "trained": accuracy(small, self.judge),
            "widths": [m.out_channels for m in small.modules() if isinstance(m, nn.Conv2d)],
        }  # fmt: skip


def table(rows: list[dict]) -> str:
    """A line per order of work and tool."""
    lines = ["| | | whole | cut | trained | parameters left |", "|---|---|---|---|---|---|"]
    keys = dict.fromkeys((r["part"], r["name"], r.get("reg", "")) for r in rows)
    for part, name, by in keys:
        own = [r for r in rows if (r["part"], r["name"], r.get("reg", "")) == (part, name, by)]
        trained = [r["trained"] for r in own]
        spread = stdev(trained) if len(trained) > 1 else 0.0
        whole, cut, left = (mean(r[key] for r in own) for key in ("dense", "cut", "left"))
        lines.append(
            f"| {part} {by} | {name} | {whole:.1f} | {cut:.1f} | {mean(trained):.1f} ± "
            f"{spread:.1f} | {100 * left:.1f} % |"
        )
    return "\n".join(lines)


def main() -> None:
    """Run, keep every figure, print the table."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("data", choices=sorted(TASKS))
    parser.add_argument("net", choices=sorted(NETS))
    parser.add_argument("--left", type=float, default=0.15, help="share of the parameters")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--first", type=int, default=0, help="the first seed")
    parser.add_argument("--parts", nargs="+", default=["after", "sparse", "before"])
    parser.add_argument("--only", nargs="+", default=["*"], help="names of rows, as globs")
    parser.add_argument("--reg", type=float, nargs="+", default=[5e-4], help="of group sparsity")
    parser.add_argument("--split", choices=("test", "validation"), default="test")
    parser.add_argument("--json", type=Path, help="every figure is added to this file, a line each")
    parser.add_argument("--folder", type=Path, default="/usr/share/datasets/fashion-mnist")
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)
    torch.set_num_threads(1)
    task, found = TASKS[options.data](options.folder), []
    for seed in range(options.first, options.first + options.seeds):
        for row in Bench(options, task, seed).rows():
            found.append(row)
            if options.json:
                with options.json.open("a") as file:
                    file.write(json.dumps(row) + "\n")
    print(table(found))


if __name__ == "__main__":
    main()
