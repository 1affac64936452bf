"""Synthetic inputs by inversion: made-up inputs, moved until they agree with what a file tells.

Adam on the inputs themselves (Yin et al., "Dreaming to Distill via Data-Free Knowledge Transfer
via DeepInversion", CVPR 2020, eq. 3 to 5), from a good start: the loss is the misfit of the terms
of `spa.torch.terms`, confident balanced answers at a temperature and total variation; inputs are
shifted and turned about at random and stay in the range of the start.

Every batch leaves out some of the terms, others each time, and is judged on these before and after:
that is the only evidence on which its inputs are worth more than those it started from.
"""

from __future__ import annotations

import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import numpy as np
import torch
from torch import Tensor

from spa.errors import ReadError
from spa.events import Counted, uncounted
from spa.graph import Graph
from spa.torch.loader import load
from spa.torch.module import OnnxModule
from spa.torch.pixels import Layout, Span, blurred, jittered, variation
from spa.torch.terms import Answers, Array, Term, answers_of, terms_of, vague
from spa.torch.workload import FEWEST, Work

Feeds: TypeAlias = "Sequence[Mapping[str, Array]]"

FOLDS = 4
"""One in so many terms is left out of a batch's loss."""
FEW = 3
"""Terms below which none can be left out."""


LEFT_OUT = "misfit of statistics left out"
OPEN = "what blurred inputs leave open of the answers"


@dataclass(frozen=True)
class Weights:
    """How much each part of the loss counts, and how inputs are moved.

    Attributes:
        rate: of Adam, per step, for inputs in 0..1; it falls to nothing along half a cosine.
        answers: of the cross-entropy of answers.
        temperature: by which scores are divided.
        variation: of the total variation.
        steps: how many are usual.
    """

    rate: float
    answers: float
    temperature: float
    variation: float
    steps: int


STORED = Weights(rate=0.011, answers=0.1, temperature=1.0, variation=0.09, steps=60)
CENTRED = Weights(rate=0.011, answers=0.05, temperature=1.0, variation=0.09, steps=30)
ALONE = Weights(rate=0.0045, answers=1.0, temperature=2.0, variation=1.3, steps=40)
"""Where only answers are known."""


@dataclass(frozen=True, eq=False)
class Inverted:
    """What came of it.

    Attributes:
        name: the input that was moved.
        inputs: `[rows, ...]` in the input's type, every number one of half precision.
        steps: how often each was moved.
        before, after: what held-back terms miss, on the start and on what it was moved to.
        words: what these are.
        complete: whether all that was planned was done.
    """

    name: str
    inputs: Array = field(repr=False)
    steps: int
    before: float
    after: float
    words: str
    complete: bool


@dataclass(frozen=True, eq=False)
class Told:
    """A model as it is inverted, with what is known of its inputs."""

    module: OnnxModule
    moved: str
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    layout: Layout
    span: Span
    terms: tuple[Term, ...]
    answers: Answers | None
    weights: Weights

    def lost(self, terms: Sequence[Term], got: Mapping[str, Tensor]) -> Tensor:
        """The mean misfit of terms."""
        return torch.stack([each.misfit(got[each.name].float()) for each in terms]).mean()


def tell(
    graph: Graph,
    feeds: Feeds,
    stored: Mapping[str, tuple[Array, Array]],
    centred: Sequence[str] = (),
    *,
    pictured: bool = True,
    device: str = "cpu",
) -> Told:
    """What a file tells of its inputs.

    Args:
        graph: the model, as read by `spa.graph.read`.
        feeds: made-up inputs, one dict per run.
        stored: means and variances of channels, float32 `[channels]`, by tensor.
        centred: tensors whose channels have mean 0; they count where nothing is stored.
        pictured: whether they are pictures.
        device: of torch.

    Raises:
        ReadError: the model has no gradients, or nothing is known that inputs could be held to.
    """
    moved = _moved(graph)
    shape = feeds[0][moved].shape
    if shape[0] < FEWEST:
        raise ReadError(f"runs of {shape[0]} are too few for statistics")
    module = load(graph.proto, trainable=_none, base_dir=graph.source.base_dir)
    module.to(device)
    layout = Layout.of(shape, pictured)
    span = Span.of([feed[moved] for feed in feeds], layout, device)
    with torch.no_grad():
        answers = answers_of(module.run(_on(feeds[0], device)))
    terms = terms_of(stored, centred, device)
    if not terms and answers is None:
        raise ReadError("the file has no statistics and gives no scores of classes")
    weights = STORED if stored else CENTRED if terms else ALONE
    return Told(module, moved, shape, feeds[0][moved].dtype, layout, span, terms, answers, weights)


def _none(name: str) -> bool:
    return False


def _moved(graph: Graph) -> str:
    """The input that is moved; raises ReadError where there is not just one that can be."""
    names = [n for n in graph.inputs if graph.dtypes[n].kind == "f" and len(graph.shapes[n]) > 1]
    if len(names) != 1 or len(graph.inputs) != 1:
        raise ReadError("not just one input of numbers is there to be moved")
    return names[0]


def _on(feed: Mapping[str, Array], device: str) -> dict[str, Tensor]:
    return {name: torch.tensor(np.asarray(x)).to(device) for name, x in feed.items()}


def invert(
    told: Told,
    feeds: Feeds,
    work: Work,
    *,
    seed: int = 0,
    seconds: float = math.inf,
    keep: bool = False,
    counted: Counted = uncounted,
) -> Inverted | None:
    """Move inputs.

    What comes of a batch depends on its rows, its number and the seed, not on the clock.

    Args:
        told: the model, see `tell`.
        feeds: the start, one dict per run.
        work: how much to do.
        seed: of everything random.
        seconds: after which what is finished is all there is.
        keep: whether an interrupt ends this with what is finished, instead of going on.
        counted: hears of steps.

    Returns:
        None where no batch was finished.
    """
    end = time.monotonic() + seconds
    starts = _batches(told, feeds, work)
    done = counted(len(starts) * work.steps, "steps", seconds)
    made: list[tuple[Array, float, float]] = []
    complete = True
    try:
        for k, start in enumerate(starts):
            one = _Batch(told, start, work.steps, k, np.random.default_rng([seed, k]))
            while one.left and time.monotonic() < end:
                one.step()
                done()
            if one.left:
                complete = False
                break
            made.append(one.result())
    except KeyboardInterrupt:
        if not (keep and made):
            raise
        complete = False
    if not made:
        return None
    before, after = (float(np.mean([each[k] for each in made])) for k in (1, 2))
    inputs = np.concatenate([each[0] for each in made])
    words = LEFT_OUT if len(told.terms) >= FEW else OPEN
    return Inverted(told.moved, inputs, work.steps, before, after, words, complete)


def _batches(told: Told, feeds: Feeds, work: Work) -> list[Array]:
    """The start, in batches as the work has them."""
    rows = np.concatenate([feed[told.moved] for feed in feeds])[: work.rows]
    return [
        rows[k : k + work.batch]
        for k in range(0, len(rows), work.batch)
        if len(rows[k : k + work.batch]) >= min(FEWEST, len(rows))
    ]


class _Batch:
    """One batch while it is moved."""

    def __init__(
        self, told: Told, start: Array, steps: int, number: int, random: np.random.Generator
    ) -> None:
        self.told, self.left, self.steps, self.random = told, steps, steps, random
        self.dtype = start.dtype
        device = told.span.low.device
        x = torch.tensor(np.asarray(start, np.float32), device=device)
        self.pixels = told.span.enter(x).clamp_(0, 1)
        if self.pixels.dim() == 4:
            self.pixels = self.pixels.contiguous(memory_format=torch.channels_last)
        self.pixels.requires_grad_(True)
        several = len(told.terms) >= FEW
        folds = min(FOLDS, len(told.terms))
        held = [several and k % folds == number % folds for k in range(len(told.terms))]
        self.held = [t for t, out in zip(told.terms, held, strict=True) if out]
        self.used = [t for t, out in zip(told.terms, held, strict=True) if not out]
        self.adam = torch.optim.Adam([self.pixels], lr=told.weights.rate, betas=(0.5, 0.9))
        if told.answers is not None:
            order = random.permutation(told.answers.classes)
            drawn = np.resize(np.roll(order, -number * len(start)), len(start))
            self.labels = torch.tensor(drawn, device=device)
        self.before = self.judged()

    def run(self, pixels: Tensor, terms: Sequence[Term]) -> dict[str, Tensor]:
        told = self.told
        want = [term.name for term in terms]
        if told.answers is not None:
            want.append(told.answers.name)
        x = told.span.leave(pixels)
        x = x.half() if self.dtype == np.float16 else x
        return told.module.run({told.moved: x}, list(dict.fromkeys(want)))

    def judged(self) -> float:
        """What is missed that no loss has seen."""
        told = self.told
        with torch.no_grad():
            if self.held:
                return float(told.lost(self.held, self.run(self.pixels, self.held)))
            answers = told.answers
            if answers is None:
                return float(told.lost(self.used, self.run(self.pixels, self.used)))
            got = self.run(blurred(self.pixels, told.layout), ())
            return vague(answers.scores(got[answers.name].float()))

    def step(self) -> None:
        """Move once."""
        told, weights = self.told, self.told.weights
        turn = (self.steps - self.left) / self.steps
        for group in self.adam.param_groups:
            group["lr"] = weights.rate * (0.5 * (1 + math.cos(math.pi * turn)) + 0.02)
        pixels = jittered(self.pixels, told.layout, self.random)
        got = self.run(pixels, self.used)
        loss = weights.variation * variation(pixels, told.layout)
        if self.used:
            loss = loss + told.lost(self.used, got)
        if told.answers is not None:
            scores = told.answers.scores(got[told.answers.name].float()) / weights.temperature
            loss = loss + weights.answers * torch.nn.functional.cross_entropy(scores, self.labels)
        (self.pixels.grad,) = torch.autograd.grad(loss, [self.pixels])
        self.adam.step()
        with torch.no_grad():
            self.pixels.clamp_(0, 1)
        self.left -= 1

    def result(self) -> tuple[Array, float, float]:
        """The inputs, and what is missed before and after."""
        with torch.no_grad():
            x = self.told.span.leave(self.pixels.detach()).half().cpu().contiguous().numpy()
            after = self.judged()
        return x.astype(self.dtype), self.before, after
