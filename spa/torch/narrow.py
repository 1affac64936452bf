"""Narrow somebody's own module: new tensors, and the attributes that say how wide it is.

What a kind of module says about itself stands below `@narrows`, one function per kind; a module of
the user's own is given its parameters and buffers, and says nothing that spa could know.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TypeAlias, TypeVar, cast

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _NormBase
from torch.nn.modules.conv import _ConvNd

from spa.errors import UsageError
from spa.torch.values import array_of

Axes: TypeAlias = Mapping[int, tuple[int, ...]]
"""Positions that are kept of each axis that was cut."""
Fix: TypeAlias = Callable[[nn.Module, "New"], None]
FIXES: dict[type[nn.Module], Fix] = {}
M = TypeVar("M", bound=nn.Module)


class New:
    """What a module gets: its own tensors that change, by their names in it."""

    def __init__(self, path: str, tensors: dict[str, Tensor], kept: dict[str, Axes]) -> None:
        self.path, self.tensors, self.kept = path, tensors, kept

    def shape(self, module: nn.Module, name: str) -> tuple[int, ...]:
        """The shape that a tensor of the module will have."""
        new = self.tensors.get(name)
        return tuple((getattr(module, name) if new is None else new).shape)

    def full(self, name: str) -> str:
        """A tensor's name from the root."""
        return f"{self.path}.{name}" if self.path else name

    def blocks(self, name: str, size: int, count: int) -> int:
        """How many of `count` equal blocks of the first axis are left.

        Raises:
            UsageError: they keep different numbers of positions.
        """
        kept = self.kept.get(name, {}).get(0)
        if kept is None:
            return count
        each = np.bincount(np.asarray(kept) // (size // count), minlength=count)
        left = each[each > 0]
        if len(set(left.tolist())) != 1:
            raise self.refused(
                name, f"its {count} groups keep {sorted(set(left.tolist()))} channels"
            )
        return len(left)

    def refused(self, name: str, why: str) -> UsageError:
        """The sentence that names the parameter."""
        return UsageError(
            f"{self.full(name)} cannot be cut: {why}; plan with --ignore for this parameter"
        )


def narrows(*kinds: type[M]) -> Callable[[Callable[[M, New], None]], Callable[[M, New], None]]:
    """The decorator of what sets a kind's attributes; called before the tensors are put in."""

    def mark(fix: Callable[[M, New], None]) -> Callable[[M, New], None]:
        FIXES.update(dict.fromkeys(kinds, cast("Fix", fix)))
        return fix

    return mark


def arrays_of(module: object) -> dict[str, np.ndarray]:
    """The parameters and buffers of a module, by name.

    Raises:
        UsageError: it is no module.
    """
    if not isinstance(module, nn.Module):
        raise UsageError(
            f"a {type(module).__name__} is no torch.nn.Module; give the network itself"
        )
    return {name: array_of(tensor) for name, tensor in module.state_dict().items()}


def narrow(
    module: object,
    weights: Mapping[str, np.ndarray],
    kept: Mapping[str, Axes],
    biases: Mapping[str, np.ndarray],
) -> None:
    """Put new tensors into a module, in place.

    Args:
        module: the user's own.
        weights: all new parameters and buffers by name.
        kept: positions that are kept of their axes.
        biases: what is added to the channels of weights whose module has no bias.

    Raises:
        UsageError: a parameter cannot be cut; the module may be half narrow then, so work on a
            copy.
    """
    assert isinstance(module, nn.Module)
    made: dict[int, Tensor] = {}
    for path, part in module.named_modules():
        tensors: dict[str, Tensor] = {}
        for name, old in (*part._parameters.items(), *part._buffers.items()):
            full = f"{path}.{name}" if path else name
            if old is not None and full in weights:
                tensors[name] = _made(old, weights[full], made, full)
        _narrow(part, path, tensors, kept)
        for name in tuple(part._parameters):
            _add_bias(part, name, f"{path}.{name}" if path else name, biases)


def _narrow(
    part: nn.Module, path: str, tensors: dict[str, Tensor], kept: Mapping[str, Axes]
) -> None:
    held = {**part._parameters, **part._buffers}
    cut = [
        n for n, new in tensors.items() if (old := held[n]) is not None and new.shape != old.shape
    ]
    if cut:
        new = New(path, tensors, {n: kept.get(f"{path}.{n}" if path else n, {}) for n in tensors})
        fix = next((FIXES[kind] for kind in type(part).__mro__ if kind in FIXES), None)
        if fix is not None:
            fix(part, new)
        elif type(part).__module__.startswith("torch.nn.modules"):
            raise new.refused(cut[0], f"spa does not know how wide a {type(part).__name__} is")
    for name, tensor in tensors.items():
        place = part._parameters if name in part._parameters else part._buffers
        place[name] = tensor  # type: ignore[assignment]
    if isinstance(part, nn.RNNBase) and tensors:
        part._flat_weights = [getattr(part, name) for name in part._flat_weights_names]
        part.flatten_parameters()


def _made(old: Tensor, array: np.ndarray, made: dict[int, Tensor], name: str) -> Tensor:
    """The new tensor in the place of an old one: of its type, on its device; shared as it was."""
    values = array.astype(np.float32) if array.dtype.name == "bfloat16" else np.array(array)
    new = torch.from_numpy(values).to(device=old.device, dtype=old.dtype)
    shared = made.get(id(old))
    if shared is not None:
        if not torch.equal(shared.detach(), new):
            raise UsageError(
                f"{name} cannot be cut: it is shared with another place that keeps other channels; "
                "plan with --ignore for this parameter"
            )
        return shared
    if isinstance(old, nn.Parameter):
        new = nn.Parameter(new, requires_grad=old.requires_grad)
    made[id(old)] = new
    return new


def _add_bias(part: nn.Module, name: str, full: str, biases: Mapping[str, np.ndarray]) -> None:
    """A bias that the refit adds, where the module can have one."""
    if full not in biases:
        return
    if name == "weight" and part._parameters.get("bias", part) is None:
        weight = part._parameters[name]
        assert weight is not None
        part._parameters["bias"] = nn.Parameter(
            torch.from_numpy(np.array(biases[full])).to(device=weight.device, dtype=weight.dtype)
        )


# What each kind says of itself


@narrows(nn.Linear)
def _linear(module: nn.Linear, new: New) -> None:
    module.out_features, module.in_features = new.shape(module, "weight")


@narrows(nn.Conv1d, nn.Conv2d, nn.Conv3d)
def _conv(module: _ConvNd, new: New) -> None:
    out, inside, *_ = new.shape(module, "weight")
    groups = new.blocks("weight", int(module.out_channels), int(module.groups))
    module.out_channels, module.in_channels, module.groups = out, inside * groups, groups


@narrows(nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d)
def _conv_transposed(module: _ConvNd, new: New) -> None:
    inside, out, *_ = new.shape(module, "weight")
    groups = new.blocks("weight", int(module.in_channels), int(module.groups))
    module.out_channels, module.in_channels, module.groups = out * groups, inside, groups


@narrows(
    nn.BatchNorm1d,
    nn.BatchNorm2d,
    nn.BatchNorm3d,
    nn.SyncBatchNorm,
    nn.InstanceNorm1d,
    nn.InstanceNorm2d,
    nn.InstanceNorm3d,
)
def _batch_norm(module: _NormBase, new: New) -> None:
    (module.num_features,) = next(
        shape for name in new.tensors if (shape := new.shape(module, name))
    )


@narrows(nn.LayerNorm)
def _layer_norm(module: nn.LayerNorm, new: New) -> None:
    module.normalized_shape = new.shape(module, "weight")


if hasattr(nn, "RMSNorm"):  # of torch 2.4
    FIXES[nn.RMSNorm] = FIXES[nn.LayerNorm]


@narrows(nn.GroupNorm)
def _group_norm(module: nn.GroupNorm, new: New) -> None:
    groups = new.blocks("weight", int(module.num_channels), int(module.num_groups))
    (channels,) = new.shape(module, "weight")
    module.num_channels, module.num_groups = channels, groups


@narrows(nn.PReLU)
def _prelu(module: nn.PReLU, new: New) -> None:
    (module.num_parameters,) = new.shape(module, "weight")


@narrows(nn.Embedding)
def _embedding(module: nn.Embedding, new: New) -> None:
    rows = new.kept.get("weight", {}).get(0)
    if rows is not None and module.padding_idx is not None:
        if module.padding_idx not in rows:
            raise new.refused("weight", "its padding index would go")
        module.padding_idx = rows.index(int(module.padding_idx))
    module.num_embeddings, module.embedding_dim = new.shape(module, "weight")


@narrows(nn.LSTM, nn.GRU, nn.RNN)
def _recurrent(module: nn.RNNBase, new: New) -> None:
    if module.proj_size:
        raise new.refused("weight_hr_l0", "a projected LSTM has no counterpart in ONNX")
    first = new.shape(module, "weight_ih_l0")
    gates = module.get_parameter("weight_ih_l0").shape[0] // module.hidden_size
    hidden = first[0] // gates
    for name in (n for n in module._flat_weights_names if n.startswith("weight")):
        rows, columns = new.shape(module, name)
        if rows != gates * hidden or (name.startswith("weight_hh") and columns != hidden):
            raise new.refused(name, f"all layers and directions of a {module.mode} are as wide")
    module.input_size, module.hidden_size = first[1], hidden


@narrows(nn.LSTMCell, nn.GRUCell, nn.RNNCell)
def _cell(module: nn.RNNCellBase, new: New) -> None:
    module.input_size = new.shape(module, "weight_ih")[1]
    module.hidden_size = new.shape(module, "weight_hh")[1]


@narrows(nn.MultiheadAttention)
def _attention(module: nn.MultiheadAttention, new: New) -> None:
    name, heads = "in_proj_weight", module.num_heads
    if module.in_proj_weight is None:
        raise new.refused("q_proj_weight", "keys or values have a width of their own")
    rows, wide = new.shape(module, name)
    kept = new.kept.get(name, {}).get(0)
    if kept is not None:
        each = np.bincount(np.asarray(kept) // module.head_dim, minlength=3 * heads).reshape(3, -1)
        if (each != each[:1]).any() or len(set(each[each > 0].tolist())) != 1:
            raise new.refused(
                name, "its heads, or queries, keys and values, keep different numbers of channels"
            )
        heads = int((each[0] > 0).sum())
    if rows != 3 * wide:
        raise new.refused(
            name, f"it would have {rows // 3} channels inside and {wide} outside, which torch ties"
        )
    module.embed_dim = module.kdim = module.vdim = wide
    module.num_heads, module.head_dim = heads, wide // heads
