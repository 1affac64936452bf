"""The groups of a file over the parameters of a module: what is `spa.torch.GroupSparsity`."""

from __future__ import annotations

from collections.abc import Callable

from spa.checkpoints.shares import shares
from spa.checkpoints.sources import Model
from spa.coupling import analyse
from spa.graph import read


def GroupSparsity(model: Model, module: object, *, alpha: float = 4.0) -> Callable[[], object]:
    """DepGraph's regulariser over the groups of a model, for a training loop of your own.

        penalty = spa.torch.GroupSparsity("model.onnx", net)
        loss = loss + 1e-4 * penalty()

    It shrinks whole channels: in every group, the squares of all weights of channel k are summed
    over all its tensors (I_k), and weighted by gamma_k = 2^(alpha (I_max - I_k) / (I_max - I_min)),
    so that the weak shrink more (Fang et al., CVPR 2023, arXiv 2301.12900, equations 4 and 5).

    Args:
        model: the ONNX file that the module was exported to.
        module: what is trained: a module of `spa.torch.load`, or your own as it was exported.
        alpha: how much more the weakest channel shrinks than the strongest: 2^alpha times.

    Returns:
        A function without arguments that gives the penalty, a number with gradients.

    Raises:
        UsageError: no parameter of the module is found in the file.
        ReadError: the file cannot be read.
    """
    from spa.torch.narrow import arrays_of
    from spa.torch.sparsity import Penalty

    found = shares(analyse(read(model)), arrays_of(module))
    return Penalty(module, found.group, found.tensors, alpha)
