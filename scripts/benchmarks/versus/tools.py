"""Torch-Pruning, which prunes the module, and spa, which prunes its export: to one budget."""

from __future__ import annotations

import copy
import tempfile
from collections.abc import Callable
from pathlib import Path

import torch
import torch_pruning
from torch import Tensor, nn
from torch.nn import functional

import spa
import spa.torch
from versus.tasks import Split, count, train

Prune = Callable[[nn.Module, Split, int], nn.Module]
"""From a network, what it learns from and a number of parameters to the small network."""
SEEN = 256
"""Training images that criteria look at."""
GRADIENTS = ("taylor", "snip", "crop", "grasp", "fisher")


def tp(kind: str, everywhere: bool, fresh: bool = False) -> Prune:
    """Torch-Pruning: the same share of every layer, or the least scores `everywhere`."""

    def prune(net: nn.Module, data: Split, budget: int) -> nn.Module:
        """Cut to the number of parameters nearest to the budget, by bisection of the ratio."""
        best, low, high = net, 0.0, 0.9
        for _ in range(12):
            middle, trial = (low + high) / 2, copy.deepcopy(net)
            trial.train(fresh)  # norms that have seen nothing yet take the statistics of the batch
            few = data.part(0, SEEN)
            functional.cross_entropy(trial(few.images), few.labels).backward()
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
    importance = {
        "norm": torch_pruning.importance.GroupMagnitudeImportance,
        "taylor": torch_pruning.importance.GroupTaylorImportance,
    }[kind]()
    classifier = [m for m in net.modules() if isinstance(m, nn.Linear)][-1]
    return torch_pruning.pruner.GroupNormPruner(
        net, data.images[:1], importance=importance, global_pruning=everywhere,
        pruning_ratio=ratio, max_pruning_ratio=0.9, ignored_layers=[classifier],
    )  # fmt: skip


def own(folded: bool = False, **options: object) -> Prune:
    """spa: export, prune, narrow the module."""
    options = {"of": "params", "round_to": 1, "threads": 1, "tune": "off", **options}

    def prune(net: nn.Module, data: Split, budget: int) -> nn.Module:
        """The ratio is corrected for what the file and the module count differently."""
        few = data.part(0, SEEN)
        if options.get("scorer", "auto") not in ("l1", "l2", "random"):
            options["calib"] = few.images.numpy()
        if options.get("scorer") in GRADIENTS:
            options["labels"] = few.labels.numpy()
        with tempfile.TemporaryDirectory() as folder:
            path = exported(net, data, Path(folder), folded)
            ratio = 1 - budget / count(net)
            for _ in range(3):
                small = spa.torch.cut(net, spa.prune(path, ratio, **options))
                if abs(count(small) - budget) < 0.01 * budget:
                    break
                ratio += (count(small) - budget) / count(net)
        return small

    return prune


def exported(net: nn.Module, data: Split, folder: Path, folded: bool = False) -> str:
    """The file of a network; unless `folded`, norms stay nodes and equal weights stay apart."""
    path, mode = str(folder / "model.onnx"), torch.onnx.TrainingMode
    torch.onnx.export(
        copy.deepcopy(net).eval(), (data.images[:2],), path, dynamo=False,
        input_names=["images"], dynamic_axes={"images": {0: "N"}}, do_constant_folding=folded,
        training=mode.EVAL if folded else mode.PRESERVE, keep_initializers_as_inputs=not folded,
    )  # fmt: skip
    return path


def train_sparse(
    net: nn.Module, data: Split, epochs: int, rate: float, seed: int, tool: str, by: float
) -> None:
    """Train with the group sparsity of one of the tools; both add by * gamma * w to gradients."""
    if tool == "TP":
        theirs = pruner(net, data)
        theirs.reg = by
        train(net, data, epochs, rate, seed, after=lambda: theirs.regularize(net))
        return
    with tempfile.TemporaryDirectory() as folder:
        ours = spa.torch.GroupSparsity(exported(net, data, Path(folder)), net)

    def penalty() -> Tensor:
        return by / 2 * ours()

    train(net, data, epochs, rate, seed, penalty)
