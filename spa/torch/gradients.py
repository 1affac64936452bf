"""Gradients of what a model stores: of a loss, of its gradient's size, and row by row.

The loss of a row with a label is the cross-entropy of the first output.  Without labels it is the
squared error of all outputs from targets that are drawn from a normal distribution about the
outputs themselves.  (Against the outputs as they are every gradient is zero.)  So the mean of a
gradient over targets is zero as well, and its covariance is the Fisher information of the outputs:
a weight's gradient is large where the outputs hang on the weight, whatever they mean.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from onnx import ModelProto
from torch import Tensor
from torch.nn import functional

from spa.errors import ReadError, UsageError, first_line
from spa.torch.loader import load
from spa.torch.values import array_of

Array = NDArray[Any]
Feeds = Mapping[str, Array]
Found = dict[str, NDArray[np.float32]]
"""By the name of a stored tensor, one number per element, float32, of its shape."""
Steps = Callable[[int], object]
"""Hears of every run, or row, that is done."""
PROBABLE = 1e-3
"""How far the sum of a row of probabilities may be from 1."""


class Gradients:
    """A model, inputs, and the loss of its outputs on them.

    Args:
        model: the model.
        places: by name of a stored tensor, where its elements enter as floats: its own name, or
            that of the tensor which is made of its integers.
        runs: inputs by name, one dict per run; they may also hold other tensors, which then take
            the place of those in the file.
        labels: classes of the rows of each run, int64 `[rows]`; None draws targets.
        trained: whether BatchNormalization uses what it has stored, not the statistics of each run.
        seed: of the targets.
        device: where to compute.
        base_dir: the folder of external data.

    Raises:
        ReadError: the model cannot be computed, or no gradient reaches anything.
        UsageError: the labels do not fit the outputs.
    """

    def __init__(
        self,
        model: ModelProto,
        places: Mapping[str, str],
        runs: Sequence[Feeds],
        labels: Sequence[Array] | None = None,
        *,
        trained: bool = True,
        seed: int = 0,
        device: str = "cpu",
        base_dir: Path | None = None,
    ) -> None:
        own = {place for name, place in places.items() if name == place}
        norms = "frozen" if trained else "train"
        self.module = load(model, norms, own.__contains__, base_dir=base_dir)
        self.module.to(device).train(not trained)
        self.runs, self.labels, self.seed = runs, labels, seed
        known = dict(self.module.named_parameters())
        made = {p: self._made(p) for n, p in places.items() if n != p and self._has(p)}
        self.made = {p: tensor for p, tensor in made.items() if tensor is not None}
        held = {n: known.get(p, self.made.get(p)) for n, p in places.items()}
        self.leaves = {n: t for n, t in held.items() if t is not None and t.requires_grad}
        self.scales: dict[str, float] = {}

    def _has(self, place: str) -> bool:
        return place in self.module._tensors

    def _made(self, place: str) -> Tensor | None:
        """A tensor that is made of constants alone, as one that gradients end in."""
        try:
            with torch.no_grad():
                made = self.module.run({}, (place,))[place]
        except (ReadError, UsageError):  # it hangs on inputs, or torch cannot make it
            return None
        return made.detach().requires_grad_() if made.is_floating_point() else None

    def values(self) -> Found:
        """The elements themselves."""
        return {name: _plain(leaf) for name, leaf in self.leaves.items()}

    def mean(self, done: Steps = int) -> Found:
        """dL/dw of the mean loss over all rows."""
        return self._named(self._mean(done))

    def each_run(self, done: Steps = int) -> Iterator[tuple[Found, int]]:
        """dL/dw of the mean loss of every run, and how many rows it holds."""
        for k, feeds in enumerate(self.runs):
            loss, rows = self._loss(k, feeds, None if self.labels is None else self.labels[k])
            yield self._named(self._of(loss)), rows
            done(1)

    def squares(self, axes: Mapping[str, int | None], size: int = 1, done: Steps = int) -> Found:
        """The mean over rows of the square of a row's dL/dw.

        Args:
            axes: by input, along which axis rows lie; where none is known a run counts as a row.
            size: how many rows the model takes at least; so many count as one.
            done: hears of every run.
        """
        total = [torch.zeros_like(leaf, dtype=torch.float32) for leaf in self.leaves.values()]
        count = 0
        if self.labels is None and self.runs:
            with torch.no_grad():  # one row tells nothing of how far outputs spread
                self._spread(self.module.run({**self.runs[0], **self.made}))
        for k, feeds in enumerate(self.runs):
            for row, (one, label) in enumerate(self._rows(k, feeds, axes, size)):
                loss, _ = self._loss(k, one, label, row)
                for sum_, grad in zip(total, self._of(loss), strict=True):
                    sum_.addcmul_(grad, grad)
                count += 1
            done(1)
        return self._named([each / max(count, 1) for each in total])

    def hessian(self, done: Steps = int) -> Found:
        """H g: the Hessian of the mean loss times its gradient, by differentiating gᵀ dL/dw.

        Raises:
            ReadError: an operator of the model has no second derivative here.
        """
        mean = self._mean(done)
        total = [torch.zeros_like(g) for g in mean]
        whole = 0
        with _twice_differentiable():
            for k, feeds in enumerate(self.runs):
                loss, rows = self._loss(k, feeds, None if self.labels is None else self.labels[k])
                for sum_, own in zip(total, self._product(loss, mean), strict=True):
                    sum_.add_(own, alpha=rows)
                whole += rows
                done(1)
        return self._named([each / max(whole, 1) for each in total])

    def _product(self, loss: Tensor, mean: Sequence[Tensor]) -> list[Tensor]:
        try:
            grads = self._grads(loss, self.leaves.values(), twice=True)
            pairs = zip(mean, grads, strict=True)
            along = [(m * g.float()).sum() for m, g in pairs if g is not None and g.requires_grad]
            if not along:
                return [torch.zeros_like(m) for m in mean]
            return self._of(torch.stack(along).sum())
        except RuntimeError as error:
            raise ReadError(
                f"a node of the model has no second derivative in PyTorch ({first_line(error)}); "
                "choose a scorer that needs none, such as --scorer taylor"
            ) from error

    def _mean(self, done: Steps) -> list[Tensor]:
        total = [torch.zeros_like(leaf, dtype=torch.float32) for leaf in self.leaves.values()]
        whole = 0
        for k, feeds in enumerate(self.runs):
            loss, rows = self._loss(k, feeds, None if self.labels is None else self.labels[k])
            for sum_, grad in zip(total, self._of(loss), strict=True):
                sum_.add_(grad, alpha=rows)
            whole += rows
            done(1)
        if not any(bool(each.any()) for each in total):
            raise ReadError(
                "no gradient reaches the weights of this model on these inputs; choose a scorer "
                "that needs none, such as --scorer l2, or give inputs with --calib"
            )
        return [each / max(whole, 1) for each in total]

    def _of(self, loss: Tensor) -> list[Tensor]:
        """float32 gradients of all leaves, zeros where there is none."""
        leaves = list(self.leaves.values())
        grads = self._grads(loss, leaves)
        return [
            torch.zeros_like(leaf, dtype=torch.float32) if grad is None else grad.detach().float()
            for leaf, grad in zip(leaves, grads, strict=True)
        ]

    @staticmethod
    def _grads(
        loss: Tensor, leaves: Iterable[Tensor], twice: bool = False
    ) -> Sequence[Tensor | None]:
        wanted = list(leaves)
        if not loss.requires_grad:
            return [None] * len(wanted)
        grads: Sequence[Tensor | None] = torch.autograd.grad(
            loss, wanted, create_graph=twice, allow_unused=True
        )
        return grads

    def _named(self, tensors: Sequence[Tensor]) -> Found:
        return {n: _plain(t) for n, t in zip(self.leaves, tensors, strict=True)}

    def _loss(
        self, k: int, feeds: Feeds, labels: Array | None, row: int | None = None
    ) -> tuple[Tensor, int]:
        """The mean loss of a run, or of one row of it, and how many rows there are."""
        outputs = self.module.run({**feeds, **self.made})
        first = outputs[self.module.output_names[0]]
        if labels is not None:
            return self._labelled(first, labels), len(labels)
        self._spread(outputs)
        found = {n: t for n, t in outputs.items() if isinstance(t, Tensor) and t.requires_grad}
        losses = [self._drawn(f"{n} {k} {row}", n, t) for n, t in found.items()]
        if not losses:
            return torch.zeros(()), 1
        some = next(iter(found.values()))
        return torch.stack(losses).sum(), some.shape[0] if some.dim() else 1

    def _labelled(self, scores: Tensor, labels: Array) -> Tensor:
        name = self.module.output_names[0]
        if scores.dim() != 2 or len(scores) != len(labels) or not scores.is_floating_point():
            raise UsageError(
                f"--labels are classes, and output '{name}' of shape {list(scores.shape)} does not "
                "have a row of scores for each input; leave the labels out"
            )
        least, largest = int(labels.min()), int(labels.max())
        if least < 0 or largest >= scores.shape[1]:
            raise UsageError(
                f"--labels go from {least} to {largest}, and output '{name}' has "
                f"{scores.shape[1]} classes, of which the first is 0"
            )
        scores, target = scores.float(), torch.from_numpy(labels).to(scores.device)
        if _are_probabilities(scores):
            return functional.nll_loss(scores.clamp_min(1e-12).log(), target)
        return functional.cross_entropy(scores, target)

    def _spread(self, outputs: Mapping[str, Any]) -> None:
        """Learn how far the elements of outputs spread, where that is not known yet."""
        for name, each in outputs.items():
            if name not in self.scales and isinstance(each, Tensor) and each.is_floating_point():
                spread = float(each.detach().double().std(unbiased=False))
                self.scales[name] = spread if 0 < spread < float("inf") else 1.0

    def _drawn(self, words: str, name: str, output: Tensor) -> Tensor:
        """½ |z - t|² / s², the mean over elements, where t ~ N(z, s²) and s is the spread of z."""
        generator = torch.Generator().manual_seed(zlib.crc32(f"{self.seed} {words}".encode()))
        noise = torch.randn(output.shape, generator=generator).to(output.device)
        error = output.float() - output.detach().float()
        return 0.5 * (error / self.scales[name] - noise).square().mean()

    def _rows(
        self, k: int, feeds: Feeds, axes: Mapping[str, int | None], size: int
    ) -> Iterator[tuple[Feeds, Array | None]]:
        labels = None if self.labels is None else self.labels[k]
        along = {name: axis for name, axis in axes.items() if axis is not None and name in feeds}
        counts = {feeds[name].shape[axis] for name, axis in along.items()}
        if len(counts) != 1:
            yield feeds, labels
            return
        for first in range(0, counts.pop(), size):
            rows = range(first, first + size)
            one = {n: np.take(feeds[n], rows, axis) for n, axis in along.items()}
            yield {**feeds, **one}, None if labels is None else labels[first : first + size]


def _plain(tensor: Tensor) -> NDArray[np.float32]:
    return array_of(tensor.detach().float()).astype(np.float32, copy=False)


def _are_probabilities(scores: Tensor) -> bool:
    rows = scores.detach()
    return bool((rows >= 0).all() and ((rows.sum(1) - 1).abs() < PROBABLE).all())


@contextmanager
def _twice_differentiable() -> Iterator[None]:
    """Without the kernels of torch that only have a first derivative."""
    cuda = torch.backends.cuda
    before = (
        cuda.flash_sdp_enabled(),
        cuda.mem_efficient_sdp_enabled(),
        torch._C._get_mkldnn_enabled(),
    )
    _choose(False, False, False)
    try:
        yield
    finally:
        _choose(*before)


def _choose(flash: bool, efficient: bool, mkldnn: bool) -> None:
    torch.backends.cuda.enable_flash_sdp(flash)
    torch.backends.cuda.enable_mem_efficient_sdp(efficient)
    torch._C._set_mkldnn_enabled(mkldnn)
