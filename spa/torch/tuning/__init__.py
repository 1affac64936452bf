"""Distillation without labels: the original teaches its pruned version by gradients."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from spa.torch.module import OnnxModule
from spa.torch.tuning.checkpoint import Store, check_any
from spa.torch.tuning.match import Matched
from spa.torch.tuning.rows import Pool, digest_of_rows, pools_of
from spa.torch.tuning.tuner import Budget, Outcome, Setting, run

__all__ = [
    "Budget",
    "Matched",
    "Outcome",
    "Pool",
    "Setting",
    "Store",
    "check_any",
    "digest_of_model",
    "digest_of_rows",
    "outputs_of",
    "pools_of",
    "run",
]


def digest_of_model(module: OnnxModule) -> str:
    """What the weights of a module are, as a short text."""
    pool = Pool(dict(module.state_dict()), {}, 0, whole=True)
    return digest_of_rows([pool])


def outputs_of(module: OnnxModule, feeds: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
    """The outputs that are floating, float64 by name."""
    with torch.no_grad():
        found = module.run(feeds)
    return {
        name: np.asarray(value.double().cpu().numpy())
        for name, value in found.items()
        if isinstance(value, torch.Tensor) and value.is_floating_point()
    }
