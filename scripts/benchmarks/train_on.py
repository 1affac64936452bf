"""Prune and train on: spa next to Torch-Pruning, the same parameters, epochs, data and seeds.

    python scripts/benchmarks/train_on.py digits residual            (minutes, one thread)
    python scripts/benchmarks/train_on.py fashion plain --left 0.25 --seeds 3

Three orders of work, by the same SGD on the same batches in the same order: train, prune, train on;
train with group sparsity, prune, train on; prune what is not trained yet, train.  What is printed
is top-1 of test images, mean and standard deviation over seeds; with `--split validation`, of
images that choices may be made on.  Torch-Pruning prunes the module; spa prunes its export, and
`spa.torch.cut` narrows the module.

Needs torch, torch-pruning and scikit-learn; Fashion-MNIST is read as train_sample.py does (on Debian
and Ubuntu from the package dataset-fashion-mnist), 16 x 16 and 3,000 training images of it.
"""

from __future__ import annotations

import argparse
import copy
import gzip
import json
import logging
import statistics
import tempfile
import time
import warnings
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path

import numpy as np
import torch
import torch_pruning
from torch import Tensor, nn
from torch.nn import functional

import spa
import spa.torch

# --- data -----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Split:
    """Images, N x 1 x H x W, and classes."""

    images: Tensor
    labels: Tensor


def digits() -> list[Split]:
    """Training, validation and test images: 797, 500, 500 of scikit-learn's."""
    from sklearn.datasets import load_digits

    pixels, labels = load_digits(return_X_y=True)
    order = np.random.default_rng(0).permutation(len(labels))
    images = torch.tensor(pixels.reshape(-1, 1, 8, 8) / 8 - 0.6, dtype=torch.float32)
    return [Split(images[at], torch.tensor(labels[at])) for at in np.split(order, [797, 1297])]


def fashion(folder: Path) -> list[Split]:
    """3,000 training and 5,000 validation images of the 60,000, and all 10,000 for testing."""

    def idx(name: str, header: int) -> np.ndarray:
        raw = gzip.decompress((folder / name).read_bytes())
        return np.frombuffer(raw, np.uint8, offset=header)

    found = []
    for part in ("train", "t10k"):
        pixels = idx(f"{part}-images-idx3-ubyte.gz", 16).reshape(-1, 1, 28, 28)[:10000]
        whole = functional.pad(torch.tensor(pixels / 128, dtype=torch.float32), (2, 2, 2, 2))
        images = functional.avg_pool2d(whole, 2) - 0.45
        found.append(Split(images, torch.tensor(idx(f"{part}-labels-idx1-ubyte.gz", 8)[:10000]).long()))
    train, test = found
    cuts = slice(0, 3000), slice(3000, 8000)
    return [*(Split(train.images[at], train.labels[at]) for at in cuts), test]


# --- networks -------------------------------------------------------------------------------------


def conv(reads: int, makes: int, stride: int = 1) -> nn.Sequential:
    """A 3 x 3 convolution and its norm."""
    return nn.Sequential(
        nn.Conv2d(reads, makes, 3, stride, 1, bias=False), nn.BatchNorm2d(makes)
    )


class Residual(nn.Module):
    """Two convolutions beside a shortcut, which is projected."""

    def __init__(self, reads: int, makes: int, stride: int) -> None:
        super().__init__()
        self.first, self.second = conv(reads, makes, stride), conv(makes, makes)
        self.shortcut = nn.Sequential(
            nn.Conv2d(reads, makes, 1, stride, bias=False), nn.BatchNorm2d(makes)
        )

    def forward(self, x: Tensor) -> Tensor:
        """As of any module."""
        return torch.relu(self.second(torch.relu(self.first(x))) + self.shortcut(x))


def residual() -> nn.Module:
    """43,000 parameters."""
    return nn.Sequential(
        conv(1, 12), nn.ReLU(), Residual(12, 12, 1), Residual(12, 24, 2), Residual(24, 48, 2),
        nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(48, 10),
    )  # fmt: skip


def plain() -> nn.Module:
    """Convolutions, pooling, and a head with dropout."""
    return nn.Sequential(
        conv(1, 16), nn.ReLU(), conv(16, 24), nn.ReLU(), nn.MaxPool2d(2),
        conv(24, 32), nn.ReLU(), conv(32, 48), nn.ReLU(), nn.AdaptiveAvgPool2d(2),
        nn.Flatten(), nn.Linear(192, 64), nn.ReLU(), nn.Dropout(0.3), nn.Linear(64, 10),
    )  # fmt: skip


NETS = {"residual": residual, "plain": plain}


def count(net: nn.Module) -> int:
    """Parameters of a module."""
    return sum(p.numel() for p in net.parameters())


# --- training -------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Plan:
    """How a network is trained; `epochs` from nothing, `more` after pruning."""

    epochs: int
    more: int
    batch: int = 64
    rate: float = 0.1
    rate_more: float = 0.05


PLANS = {"digits": Plan(20, 10), "fashion": Plan(10, 5)}
Prune = Callable[[nn.Module, Split, int], nn.Module]


def train(
    net: nn.Module, data: Split, epochs: int, rate: float, batch: int, seed: int,
    penalty: Callable[[], Tensor] | None = None, after: Callable[[], None] | None = None,
) -> None:  # fmt: skip
    """SGD with one cycle of the rate; batches, shifts and dropout hang on the seed alone."""
    torch.manual_seed(seed)
    draw = torch.Generator().manual_seed(seed)
    steps = len(data.images) // batch
    sgd = torch.optim.SGD(net.parameters(), rate, 0.9, weight_decay=5e-4, nesterov=True)
    cycle = torch.optim.lr_scheduler.OneCycleLR(sgd, rate, epochs * steps)
    height, width = data.images.shape[2:]
    padded = functional.pad(data.images, (1, 1, 1, 1), value=float(data.images.min()))
    net.train()
    for _ in range(epochs):
        order = torch.randperm(len(data.images), generator=draw)
        for at in order[: steps * batch].split(batch):
            y, x = torch.randint(3, (2,), generator=draw).tolist()
            images = padded[at, :, y : y + height, x : x + width]
            loss = functional.cross_entropy(net(images), data.labels[at])
            if penalty is not None:
                loss = loss + penalty()
            sgd.zero_grad()
            loss.backward()
            if after is not None:
                after()
            sgd.step()
            cycle.step()
    net.eval()


@torch.no_grad()
def accuracy(net: nn.Module, data: Split) -> float:
    """Top-1 in %."""
    net.eval()
    right = sum(
        int((net(x).argmax(1) == y).sum())
        for x, y in zip(data.images.split(500), data.labels.split(500), strict=True)
    )
    return 100 * right / len(data.labels)


# --- Torch-Pruning --------------------------------------------------------------------------------


def tp(kind: str, everywhere: bool, fresh: bool = False) -> Prune:
    """Torch-Pruning: the same share of every layer, or the least scores `everywhere`."""

    def prune(net: nn.Module, data: Split, budget: int) -> nn.Module:
        """Cut to the number of parameters nearest to the budget, by bisection of the ratio."""
        best, low, high = net, 0.0, 0.9
        for _ in range(12):
            middle, trial = (low + high) / 2, copy.deepcopy(net)
            trial.train(fresh)  # norms that have seen nothing yet take those of the batch
            few = slice(0, SEEN)
            functional.cross_entropy(trial(data.images[few]), data.labels[few]).backward()
            pruner(trial.eval(), data, kind, everywhere, middle).step()
            if abs(count(trial) - budget) < abs(count(best) - budget):
                best = trial
            low, high = (middle, high) if count(trial) > budget else (low, middle)
        best.zero_grad()
        return best

    return prune


def pruner(
    net: nn.Module, data: Split, kind: str = "norm", everywhere: bool = False, ratio: float = 0.5
) -> torch_pruning.pruner.GroupNormPruner:
    """Torch-Pruning's pruner, for all layers but the classifier."""
    importance = torch_pruning.importance
    return torch_pruning.pruner.GroupNormPruner(
        net, data.images[:1], importance={"norm": importance.GroupMagnitudeImportance,
        "taylor": importance.GroupTaylorImportance}[kind](), global_pruning=everywhere,
        pruning_ratio=ratio, max_pruning_ratio=0.9,
        ignored_layers=[[m for m in net.modules() if isinstance(m, nn.Linear)][-1]],
    )  # fmt: skip


# --- spa ------------------------------------------------------------------------------------------


def exported(net: nn.Module, data: Split, path: Path, folded: bool = False) -> None:
    """Inference mode; unless `folded`, norms stay nodes and equal weights stay apart."""
    mode = torch.onnx.TrainingMode
    torch.onnx.export(
        copy.deepcopy(net).eval(), (data.images[:2],), str(path), dynamo=False,
        input_names=["images"], dynamic_axes={"images": {0: "N"}}, do_constant_folding=folded,
        training=mode.EVAL if folded else mode.PRESERVE, keep_initializers_as_inputs=not folded,
    )  # fmt: skip


def own(folded: bool = False, **options: object) -> Prune:
    """spa: export, prune, narrow the module."""
    options = {"of": "params", "round_to": 1, "threads": 1, **options}

    def prune(net: nn.Module, data: Split, budget: int) -> nn.Module:
        """The ratio is corrected for what the file and the module count differently."""
        if options.get("scorer", "auto") not in ("l1", "l2", "random"):
            options["calib"] = data.images[:SEEN].numpy()
        if options.get("scorer") in GRADIENTS:
            options["labels"] = data.labels[:SEEN].numpy()
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "model.onnx"
            exported(net, data, path, folded)
            ratio = 1 - budget / count(net)
            for _ in range(3):
                small = spa.torch.cut(net, spa.prune(str(path), ratio, **options))
                if abs(count(small) - budget) < 0.01 * budget:
                    break
                ratio += (count(small) - budget) / count(net)
        return small

    return prune


# --- what is compared -----------------------------------------------------------------------------

SEEN = 256  # training images that criteria look at
GRADIENTS = ("taylor", "snip", "crop", "grasp", "fisher")
NO = {"repair": "none"}
FLAT = {"allocation": "uniform", **NO}
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
BEFORE: dict[str, Prune] = {
    "TP norm, uniform": tp("norm", False, fresh=True),
    "TP norm, global": tp("norm", True, fresh=True),
    "TP Taylor, uniform": tp("taylor", False, fresh=True),
    "TP Taylor, global": tp("taylor", True, fresh=True),
    **{f"spa {s}, uniform": own(scorer=s, **FLAT) for s in ("l2", "random", "snip", "crop", "grasp")},
    **{f"spa {s}, greedy": own(scorer=s, allocation="greedy", **NO) for s in ("l2", "snip", "crop")},
    **{f"spa {s}": own(scorer=s, **NO) for s in ("snip", "crop", "grasp")},
}
SPARSE = ("TP norm, uniform", "TP norm, global", "spa", "spa l2, uniform", "spa l2")


def dense(name: str, kind: str, seed: int, data: Split) -> nn.Module:
    """A network that is trained."""
    plan, net = PLANS[name], made(kind, seed)
    train(net, data, plan.epochs, plan.rate, plan.batch, seed)
    return net


def made(kind: str, seed: int) -> nn.Module:
    """A network that is not trained yet."""
    torch.manual_seed(seed)
    return NETS[kind]()


def sparse(name: str, kind: str, seed: int, data: Split, tool: str, reg: float) -> nn.Module:
    """A network that is trained with the group sparsity of one of the tools."""
    plan, net = PLANS[name], made(kind, seed)
    penalty = after = None
    if tool == "TP":
        theirs = pruner(net, data)
        theirs.reg = reg

        def after() -> None:
            theirs.regularize(net)
    else:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "model.onnx"
            exported(net, data, path)
            ours = spa.torch.GroupSparsity(str(path), net)

        def penalty() -> Tensor:
            return reg / 2 * ours()  # whose gradient is the other tool's

    train(net, data, plan.epochs, plan.rate, plan.batch, seed, penalty, after)
    return net


def run(options: argparse.Namespace) -> Iterator[dict[str, object]]:
    """All rows of all seeds, as they come."""
    data = digits() if options.data == "digits" else fashion(options.folder)
    learn, judge = data[0], data[1 if options.split == "validation" else 2]
    plan = PLANS[options.data]
    for seed in range(options.first, options.first + options.seeds):
        nets: dict[str, nn.Module] = {}
        budget = round(options.left * count(made(options.net, seed)))

        def row(
            part: str, name: str, net: nn.Module, prune: Prune, epochs: int, rate: float
        ) -> dict[str, object]:
            start = time.process_time()
            small = prune(net, learn, budget)
            middle = time.process_time()
            before = accuracy(small, judge)
            train(small, learn, epochs, rate, plan.batch, seed)
            return {
                "data": options.data, "net": options.net, "seed": seed, "part": part, "name": name,
                "split": options.split, "left": count(small) / count(net), "dense": accuracy(net, judge), "before": before,
                "after": accuracy(small, judge), "prune_s": middle - start, "rate": rate,
                "widths": [m.out_channels for m in small.modules() if isinstance(m, nn.Conv2d)],
            }  # fmt: skip

        def wanted(names: Iterable[str]) -> list[str]:
            return [n for n in names if any(fnmatch(n, glob) for glob in options.only)]

        if "after" in options.parts:
            net = dense(options.data, options.net, seed, learn)
            for rate in options.rates or [plan.rate_more]:
                for name in wanted(AFTER):
                    yield row("after", name, net, AFTER[name], plan.more, rate)
        if "sparse" in options.parts:
            for reg in options.reg:
                for name in wanted(SPARSE):
                    tool = name[:3].strip()
                    if tool not in nets:
                        nets[tool] = sparse(options.data, options.net, seed, learn, tool, reg)
                    found = row("sparse", name, nets[tool], AFTER[name], plan.more, plan.rate_more)
                    yield {**found, "reg": reg}
                nets.clear()
        if "before" in options.parts:
            for name in wanted(BEFORE):
                net = made(options.net, seed)
                yield row("before", name, net, BEFORE[name], plan.epochs, plan.rate)


def main() -> None:
    """Run, keep every figure, print the table."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("data", choices=sorted(PLANS))
    parser.add_argument("net", choices=sorted(NETS))
    parser.add_argument("--left", type=float, default=0.25, help="share of the parameters")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--first", type=int, default=0, help="the first seed")
    parser.add_argument("--parts", nargs="+", default=["after", "sparse", "before"])
    parser.add_argument("--only", nargs="+", default=["*"], help="names of rows, as globs")
    parser.add_argument("--rates", type=float, nargs="+", default=[], help="of training on")
    parser.add_argument("--reg", type=float, nargs="+", default=[5e-4], help="of group sparsity")
    parser.add_argument("--split", choices=("test", "validation"), default="test")
    parser.add_argument("--json", type=Path, default="train_on.jsonl", help="lines are added here")
    parser.add_argument("--folder", type=Path, default="/usr/share/datasets/fashion-mnist")
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)
    torch.set_num_threads(1)
    found: dict[tuple[object, ...], list[dict[str, object]]] = {}
    for each in run(options):
        with options.json.open("a") as file:
            file.write(json.dumps(each) + "\n")
        key = each["part"], each["name"], each["rate"], each.get("reg")
        found.setdefault(key, []).append(each)
    for (part, name, rate, reg), rows in found.items():
        after = [float(r["after"]) for r in rows]
        spread = statistics.stdev(after) if len(after) > 1 else 0.0
        middle = [statistics.mean(float(r[k]) for r in rows) for k in ("dense", "before", "left")]
        print(f"| {part} | {name} | {rate} {reg or ''} | {middle[0]:.1f} | {middle[1]:.1f} | {statistics.mean(after):.2f} ± {spread:.2f} | {middle[2]:.3f} |")


if __name__ == "__main__":
    main()
