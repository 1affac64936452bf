"""Group sparsity: the channels of a group shrink together, the weak ones first."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from torch import Tensor, nn


class Penalty:
    """The sum over groups and channels of gamma_k I_k; see `spa.torch.GroupSparsity`."""

    def __init__(
        self,
        module: object,
        group: np.ndarray,
        tensors: Mapping[str, Sequence[np.ndarray]],
        alpha: float,
    ) -> None:
        assert isinstance(module, nn.Module)
        self.alpha, self.module = alpha, module
        self.group = torch.from_numpy(group)
        self.count = int(group[-1]) + 1
        parameters = dict(module.named_parameters())
        self.parts: list[tuple[nn.Parameter, Tensor, Tensor]] = []
        for name in tensors.keys() & parameters.keys():
            for owner in tensors[name]:
                where = np.flatnonzero(owner >= 0)
                chosen = torch.from_numpy(where), torch.from_numpy(owner[where])
                self.parts.append((parameters[name], *chosen))

    def importance(self) -> Tensor:
        """I_k of every channel of every group, `[channels]`: sums of squares (equation 4)."""
        device = self.parts[0][0].device
        total = torch.zeros(len(self.group), device=device)
        for parameter, where, owner in self.parts:
            squares = parameter.reshape(-1)[where.to(device)].float().square()
            total = total.index_add(0, owner.to(device), squares)
        return total

    def gamma(self, importance: Tensor) -> Tensor:
        """The weight of every channel, `[channels]`, without gradients (equation 5)."""
        values, group = importance.detach(), self.group.to(importance.device)
        empty = values.new_zeros(self.count)
        most = empty.scatter_reduce(0, group, values, "amax", include_self=False)[group]
        least = empty.scatter_reduce(0, group, values, "amin", include_self=False)[group]
        return torch.exp2(self.alpha * (most - values) / (most - least).clamp_min(1e-12))

    def __call__(self) -> Tensor:
        """The penalty of the parameters as they are, a number."""
        importance = self.importance()
        return (self.gamma(importance) * importance).sum()
