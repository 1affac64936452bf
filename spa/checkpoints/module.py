"""Cut a module of PyTorch: what is `spa.torch.cut`."""

from __future__ import annotations

import copy
import warnings
from typing import TypeVar

from spa.checkpoints.carry import carry
from spa.checkpoints.sources import Guide, Model, sources

M = TypeVar("M")


def cut(
    module: M,
    plan: Guide,
    *,
    export: Model | None = None,
    pruned: Model | None = None,
    inplace: bool = False,
) -> M:
    """Narrow a module of your own as a plan says, and load what the plan keeps.

    Linear, convolutions (transposed, grouped and depthwise, too), norms, embeddings, recurrent
    layers and attention get the attributes that say how wide they are; modules of your own get
    their parameters and buffers.  Where the pruned model is at hand, the numbers are its own: those
    that were refitted, too, also behind a BatchNormalization that the export folded away.  A bias
    that the refit adds is added to a layer that has none.

    Args:
        module: the `torch.nn.Module` that was exported.
        plan: what `spa.prune` or `spa.plan` gave, a plan, its file or its content, or the file of
            a pruned model that carries its plan.
        export: the ONNX file that the module was exported to; by default the one that a result
            was made from.
        pruned: the pruned model, where `plan` does not have it.
        inplace: whether the module itself is narrowed, instead of a copy.  Parameters are new
            objects either way: make the optimizer afterwards.

    Returns:
        The narrow module.

    Raises:
        UsageError: a parameter cannot be cut or is not found; the sentence names it.
        ReadError: a file cannot be read.

    Warns:
        UserWarning: what was exported is not what the module holds now.
    """
    from spa.torch.narrow import arrays_of, narrow

    found = sources(plan, export, pruned)
    weights = arrays_of(module)
    carried = carry(weights, found.plan, found.export, found.slim)
    new = {n: array for n, array in carried.weights.items() if array is not weights[n]}
    made = copy.deepcopy(module)
    narrow(made, new, carried.kept, carried.biases)
    if inplace:
        narrow(module, new, carried.kept, carried.biases)
        made = module
    for note in carried.notes:
        warnings.warn(note, UserWarning, stacklevel=2)
    return made
