"""What of the small model is held against the original: outputs, and tensors that both have.

Of all tensors with one name and one shape in both files the last of each shape is a feature: the
end of a stage of a residual net, the input of the last linear map.  What the small model does not
know better than a constant (as where channels were mixed, and the name means something else) is
none.  Each error is a squared one over the variance of the original's values,

    loss = mean over features of |s - t|² / Var(t)  +  mean over outputs of |s - t|² / Var(t).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from spa.errors import UsageError, VerifyError
from spa.torch.module import OnnxModule
from spa.torch.tuning.rows import Pool

LOOKED_AT = 4
"""Rows on which tensors are compared to choose features."""
WORSE_THAN_NOTHING = 0.9
"""Share of the variance from which on a tensor is no match."""
TRIED = 3
"""Tensors of one shape that are looked at, the last first."""
TINY = 1e-12


@dataclass(frozen=True)
class Matched:
    """Names of tensors to compare, and the axis along which each has its rows (None: unknown)."""

    features: tuple[str, ...]
    outputs: tuple[str, ...]
    axes: Mapping[str, int | None]

    @property
    def names(self) -> tuple[str, ...]:
        """All of them, features first."""
        return self.features + self.outputs

    @property
    def divisible(self) -> bool:
        """Whether the values of single rows can be told apart."""
        return all(self.axes[name] is not None for name in self.names)


def matched(dense: OnnxModule, small: OnnxModule, pool: Pool) -> Matched:
    """What both models have in common.

    Args:
        dense: the original.
        small: the model that will be changed.
        pool: some rows.

    Raises:
        VerifyError: the outputs have other shapes, or there is nothing finite to compare.
    """
    with torch.no_grad():
        return _matched(dense, small, pool)


def _matched(dense: OnnxModule, small: OnnxModule, pool: Pool) -> Matched:
    count = None if pool.whole else torch.arange(min(LOOKED_AT, pool.rows))
    feeds = pool.taken(count)
    want, have = dense.run(feeds), small.run(feeds)
    for name in dense.output_names:
        if name not in have or have[name].shape != want[name].shape:
            raise VerifyError(
                f"output '{name}' has the shape {list(want[name].shape)} in the first model and "
                f"{list(have[name].shape) if name in have else 'is missing'} in the second; give a "
                "model and its own pruned version"
            )
    outputs = tuple(n for n in dense.output_names if _comparable(want[n]))
    names = [n for n in dense.computed() if n not in dense.output_names]
    held = set(small.computed())
    names = [n for n in names if n in held]
    features = _features(dense, small, feeds, names)
    if not outputs and not features:
        raise VerifyError(
            "no output of the model is a finite number that varies with its inputs, so there is "
            "nothing to tune for; give inputs that it answers to with --calib"
        )
    chosen = features + outputs
    axes = _axes(dense, pool, chosen)
    return Matched(features, outputs, axes)


def _features(
    dense: OnnxModule, small: OnnxModule, feeds: Mapping[str, Tensor], names: Sequence[str]
) -> tuple[str, ...]:
    """The last tensor of each shape that means the same in both models, in the graph's order."""
    if not names:
        return ()
    want, have = dense.run(feeds, names), small.run(feeds, names)
    by_shape: dict[tuple[int, ...], list[str]] = {}
    for name in names:
        known, own = want[name], have[name]
        if isinstance(known, Tensor) and isinstance(own, Tensor) and known.shape == own.shape:
            by_shape.setdefault(tuple(known.shape), []).append(name)
    found = set()
    for alike in by_shape.values():
        for name in alike[: -TRIED - 1 : -1]:
            if _comparable(want[name]) and _error(have[name], want[name]) < WORSE_THAN_NOTHING:
                found.add(name)
                break
    return tuple(name for name in names if name in found)


def _comparable(value: Tensor) -> bool:
    """Whether a tensor is of finite numbers that are not all the same."""
    if not isinstance(value, Tensor) or not value.is_floating_point() or value.numel() < 2:
        return False
    return bool(value.isfinite().all()) and float(value.float().var()) > TINY


def _error(have: Tensor, want: Tensor) -> float:
    """Squared error over variance."""
    target = want.float()
    return float((have.float() - target).square().mean() / target.var().clamp(min=TINY))


def _axes(dense: OnnxModule, pool: Pool, names: Sequence[str]) -> dict[str, int | None]:
    """By tensor the axis whose size follows the number of rows, where there is just one."""
    if pool.whole or pool.rows < 3:
        return dict.fromkeys(names)
    sizes = (2, 3)
    runs = [dense.run(pool.taken(torch.arange(n)), names) for n in sizes]
    axes: dict[str, int | None] = {}
    for name in names:
        pair = list(zip(*(run[name].shape for run in runs), strict=True))
        differ = [k for k, (a, b) in enumerate(pair) if a != b]
        axes[name] = differ[0] if len(differ) == 1 and pair[differ[0]] == sizes else None
    return axes


def variances(
    values: Mapping[str, Sequence[Tensor]], axes: Mapping[str, int | None]
) -> list[float]:
    """By tensor, the variance of its values around the mean of the rows, where it has rows."""
    found = []
    for name, parts in values.items():
        total, count = 0.0, 0
        for part in parts:
            value, axis = part.double(), axes[name]
            rows = axis is not None and part.shape[axis] > 7
            centre = value.mean(axis, keepdim=True) if rows and axis is not None else value.mean()
            total += float((value - centre).square().sum())
            count += value.numel()
        found.append(max(total / max(count, 1), TINY))
    return found


def check_labels(small: OnnxModule, pools: Sequence[Pool]) -> None:
    """Raise UsageError unless the first output has a row of classes for each label."""
    for pool in pools[:1]:
        if pool.labels is None:
            return
        few = None if pool.whole else torch.arange(min(2, pool.rows))
        name = small.output_names[0]
        with torch.no_grad():
            found = small.run(pool.taken(few), (name,))[name]
        if found.dim() != 2 or found.shape[0] != (pool.rows if few is None else len(few)):
            raise UsageError(
                f"--labels are classes, and output '{name}' of shape {list(found.shape)} does not "
                "have a row of scores for each input; leave the labels out"
            )
        largest = max(int(p.labels.max()) for p in pools if p.labels is not None)
        least = min(int(p.labels.min()) for p in pools if p.labels is not None)
        if largest >= found.shape[1] or least < 0:
            raise UsageError(
                f"--labels go from {least} to {largest}, and output '{name}' has "
                f"{found.shape[1]} classes, of which the first is 0"
            )
