"""Gradient steps: Adam with a warm-up and one cosine to zero, on the distance to the original."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, cast

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from spa.errors import ReadError
from spa.torch.module import OnnxModule
from spa.torch.tuning.match import Matched
from spa.torch.tuning.rows import Chunk, Order, Pool, chunks, pieces
from spa.torch.tuning.teacher import Teacher, on
from spa.torch.values import HALF

BETAS = (0.9, 0.99)
WARM = 20
"""Steps in which the rate rises, of a run that is long enough."""
LEAST_SIZE = 1e-3
"""Root mean square of a tensor that a relative rate is taken of, at least."""


NOTHING = (
    "no weight that the model stores in floating point has a say in what is compared, so nothing "
    "can be tuned; tune the model before it is quantised"
)


@dataclass(frozen=True)
class Rate:
    """How large steps are: for all weights alike, or `relative` to the size of each tensor."""

    value: float
    relative: bool = False

    def __str__(self) -> str:
        return f"{self.value:g}{' of each tensor' if self.relative else ''}"


RATES = (Rate(1e-3), Rate(1e-2, relative=True), Rate(3e-4))
"""What is tried, those first that bring more in the long run; see `spa.torch.tuning.tuner`."""


@dataclass(frozen=True, eq=False)
class Work:
    """The model that is changed, what it is held against, and on which rows.

    A step has `batch` rows, of which `at_once` run together; gradients are added up.
    """

    small: OnnxModule
    pools: Sequence[Pool]
    matched: Matched
    teacher: Teacher
    batch: int
    seed: int
    at_once: int = 1 << 30

    def loss(self, part: Sequence[Chunk]) -> float:
        """Add up the gradients of the loss on some chunks; the loss."""
        rows, total = sum(chunk.rows for chunk in part), 0.0
        small = (p for chunk in part for p in pieces(chunk, self.pools[chunk.pool], self.at_once))
        for chunk in small:
            loss = self._loss(chunk) * (chunk.rows / rows)
            if not loss.requires_grad:
                raise ReadError(NOTHING)
            loss.backward()  # type: ignore[no-untyped-call]
            total += float(loss.detach())
        return total

    def _loss(self, chunk: Chunk) -> Tensor:
        pool, names = self.pools[chunk.pool], self.matched.names
        labels = pool.labels
        first = self.small.output_names[0]
        want = names if labels is None else tuple(dict.fromkeys((*names, first)))
        found = self.small.run(on(pool.taken(chunk.index), self.small.device), want)
        targets = self.teacher.targets(chunk)
        parts = [
            (found[name].float() - target).square().mean() * scale
            for name, target, scale in zip(names, targets, self.teacher.scales, strict=True)
        ]
        features = len(self.matched.features)
        loss = torch.zeros((), device=self.small.device)
        for group in (parts[:features], parts[features:]):
            if group:
                loss = loss + torch.stack(group).mean()
        return loss + self.labelled(chunk, found[first]) if labels is not None else loss

    def labelled(self, chunk: Chunk, scores: Tensor) -> Tensor:
        """The cross-entropy of the labels of a chunk; 0 where there are none."""
        labels = self.pools[chunk.pool].labels
        if labels is None:
            return torch.zeros((), device=scores.device)
        own = labels if chunk.index is None else labels[chunk.index]
        return cross_entropy(scores.float(), own.to(scores.device))

    def order(self) -> Order:
        """The rows of all steps of a run."""
        return Order(self.pools, self.batch, self.seed)


class Fit:
    """One run of so many steps, that can be stopped, kept and gone on with.

    Args:
        work: what is done.
        rate: how large steps are.
        total: how many steps there will be.
    """

    def __init__(self, work: Work, rate: Rate, total: int) -> None:
        self.work, self.rate, self.total, self.done = work, rate, total, 0
        self._order = work.order()
        self._own = [p for p in work.small.parameters() if p.requires_grad]
        if not self._own:
            raise ReadError(NOTHING)
        # Adam's steps are far below what half precision can tell apart.
        self._master = [
            torch.nn.Parameter(p.detach().float().clone()) if p.dtype in HALF else p
            for p in self._own
        ]
        groups = [{"params": [p], "lr": 0.0, "base": self._base(p)} for p in self._master]
        self._adam = torch.optim.Adam(groups, betas=BETAS)

    def _base(self, parameter: Tensor) -> float:
        if not self.rate.relative or not parameter.numel():
            return self.rate.value
        size = float(parameter.detach().square().mean().sqrt())
        return self.rate.value * max(size, LEAST_SIZE)

    def step(self) -> float:
        """Take the next step; the loss before it."""
        warm = min(WARM, max(1, self.total // 2))
        share = 0.5 * (1 + math.cos(math.pi * self.done / self.total))
        for group in self._adam.param_groups:
            group["lr"] = group["base"] * share * min(1.0, (self.done + 1) / warm)
        self.work.small.zero_grad(set_to_none=True)
        loss = self.work.loss(self._order.step())
        self._adam_step()
        self.done += 1
        return loss

    def _adam_step(self) -> None:
        pairs = [(m, p) for m, p in zip(self._master, self._own, strict=True) if m is not p]
        for master, own in pairs:
            master.grad = None if own.grad is None else own.grad.float()
        self._adam.step()
        with torch.no_grad():
            for master, own in pairs:
                own.copy_(master)

    def state(self) -> dict[str, Any]:
        """All that going on needs, on the CPU or not, as tensors and numbers."""
        return {
            "done": self.done,
            "adam": self._adam.state_dict(),
            "weights": [p.detach() for p in self._master],
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go on from a state of a run of the same length, rate and seed."""
        self.done = int(state["done"])
        with torch.no_grad():
            for master, own, held in zip(self._master, self._own, state["weights"], strict=True):
                master.copy_(held)
                if master is not own:
                    own.copy_(master)
        self._adam.load_state_dict(cast("dict[str, Any]", state["adam"]))
        self._order.skip(self.done)


def weights_of(small: OnnxModule) -> list[Tensor]:
    """A copy of all weights that may change."""
    return [p.detach().clone() for p in small.parameters() if p.requires_grad]


def put(small: OnnxModule, weights: Sequence[Tensor]) -> None:
    """Put a copy back."""
    own = [p for p in small.parameters() if p.requires_grad]
    with torch.no_grad():
        for parameter, held in zip(own, weights, strict=True):
            parameter.copy_(held)


class Score(NamedTuple):
    """What weights are worth on rows that nothing is fitted on, the lower the better.

    `total` is what decides; `drift` is the squared error of the outputs over their variance,
    averaged over the outputs (over the features where no output can be compared): NRMSE, squared.
    They differ by the cross-entropy of labels where there are any.
    """

    total: float
    drift: float


class Judge:
    """Scores the small model as it is on rows that nothing is fitted on."""

    def __init__(self, work: Work) -> None:
        matched = work.matched
        self._work = work
        self._first = len(matched.features) if matched.outputs else 0
        self._names = matched.names[self._first :]

    def __call__(self) -> Score:
        """The score of the weights as they are; infinite where it is no number."""
        work, first = self._work, self._work.small.output_names[0]
        off, count = [0.0] * len(self._names), [0] * len(self._names)
        labelled, rows = 0.0, 0
        with torch.no_grad():
            for chunk in chunks(work.pools, work.batch):
                feeds = on(work.pools[chunk.pool].taken(chunk.index), work.small.device)
                found = work.small.run(feeds, tuple(dict.fromkeys((*self._names, first))))
                targets = work.teacher.targets(chunk)[self._first :]
                for k, (name, target) in enumerate(zip(self._names, targets, strict=True)):
                    off[k] += float((found[name].double() - target.double()).square().sum())
                    count[k] += target.numel()
                loss = work.labelled(chunk, found[first])
                labelled, rows = labelled + float(loss) * chunk.rows, rows + chunk.rows
        scales = work.teacher.scales[self._first :]
        parts = [o / max(n, 1) * s for o, n, s in zip(off, count, scales, strict=True)]
        drift = sum(parts) / len(parts)
        total = drift + labelled / max(rows, 1)
        return Score(*(each if math.isfinite(each) else math.inf for each in (total, drift)))
