"""Any ONNX file as a `torch.nn.Module` that can be trained, and back: the extra `onnx-spa[torch]`.

>>> import spa.torch
>>> module = spa.torch.load("model.onnx")            # doctest: +SKIP
>>> y = module(x)                                    # doctest: +SKIP
>>> spa.torch.save(module, "trained.onnx")           # doctest: +SKIP

Nothing outside this package imports torch, and nothing imports this package before it is needed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from spa.errors import UsageError, install

if TYPE_CHECKING:
    from spa.torch.loader import load
    from spa.torch.module import OnnxModule
    from spa.torch.writer import save

__all__ = ["GroupSparsity", "OnnxModule", "cut", "load", "save"]

_HOME = {
    "OnnxModule": "spa.torch.module",
    "GroupSparsity": "spa.checkpoints.sparsity",
    "cut": "spa.checkpoints.module",
    "load": "spa.torch.loader",
    "save": "spa.torch.writer",
}


def __getattr__(name: str) -> object:
    """Import what needs torch only when somebody asks for it.

    Raises:
        UsageError: torch is not installed.
    """
    if name not in __all__:
        raise AttributeError(f"module 'spa.torch' has no attribute {name!r}")
    from importlib import import_module

    try:
        import_module("torch")
    except ImportError as error:
        raise UsageError(
            f"gradients need PyTorch, which is not installed; {install('torch')}"
        ) from error
    return getattr(import_module(_HOME[name]), name)
