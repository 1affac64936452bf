"""Between ONNX and torch: element types, arrays, and numbers that steer."""

from __future__ import annotations

import ml_dtypes
import numpy as np
import torch
from torch import Tensor

from spa.errors import ReadError, UsageError

_NAMES = {
    1: "float32",
    2: "uint8",
    3: "int8",
    4: "uint16",
    5: "int16",
    6: "int32",
    7: "int64",
    9: "bool",
    10: "float16",
    11: "float64",
    12: "uint32",
    13: "uint64",
    14: "complex64",
    15: "complex128",
    16: "bfloat16",
    17: "float8_e4m3fn",
    18: "float8_e4m3fnuz",
    19: "float8_e5m2",
    20: "float8_e5m2fnuz",
    21: "uint8",
    22: "int8",
    25: "uint8",
    26: "int8",
}
DTYPES: dict[int, torch.dtype] = {
    number: getattr(torch, name) for number, name in _NAMES.items() if hasattr(torch, name)
}
"""By ONNX's number of an element type; integers of 2 and 4 bits are held in bytes."""

BITS = {21: (0, 15), 22: (-8, 7), 25: (0, 3), 26: (-2, 1)}
"""Least and greatest value of element types that torch holds in bytes."""

HALF = frozenset((torch.float16, torch.bfloat16))
WIDER: dict[torch.dtype, torch.dtype] = dict.fromkeys(HALF, torch.float32) | {
    getattr(torch, name): torch.int64
    for name in ("uint16", "uint32", "uint64")
    if hasattr(torch, name)
}
"""What arithmetic on the CPU is done in, where torch has no kernels for a type or slow ones."""

FLOATS = frozenset((torch.float32, torch.float64, *HALF))
"""What can be trained."""

_BYTES = {
    np.dtype(ml_dtypes.bfloat16): (np.int16, torch.bfloat16),
    np.dtype(ml_dtypes.float8_e4m3fn): (np.uint8, torch.float8_e4m3fn),
    np.dtype(ml_dtypes.float8_e4m3fnuz): (np.uint8, torch.float8_e4m3fnuz),
    np.dtype(ml_dtypes.float8_e5m2): (np.uint8, torch.float8_e5m2),
    np.dtype(ml_dtypes.float8_e5m2fnuz): (np.uint8, torch.float8_e5m2fnuz),
}
_NARROW = {"int4": np.int8, "uint4": np.uint8, "int2": np.int8, "uint2": np.uint8}


def dtype_of(elem_type: int, what: str) -> torch.dtype:
    """The torch dtype of an ONNX element type.

    Raises:
        ReadError: torch has none; `what` says whose it is.
    """
    if elem_type not in DTYPES:
        raise ReadError(
            f"{what} is of ONNX's element type {elem_type}, which PyTorch does not have; "
            "export the model with another one"
        )
    return DTYPES[elem_type]


def tensor_of(array: np.ndarray, what: str = "a tensor") -> Tensor:
    """A tensor of its own memory with the elements of an array.

    Raises:
        ReadError: the array holds text or a type that torch does not have.
    """
    if array.dtype in _BYTES:
        carrier, dtype = _BYTES[array.dtype]
        return torch.from_numpy(np.array(array.view(carrier), order="C")).view(dtype)
    narrow = _NARROW.get(array.dtype.name)
    if narrow is not None:
        return torch.from_numpy(array.astype(narrow))
    try:
        return torch.from_numpy(np.array(array, order="C"))
    except TypeError as error:
        raise ReadError(
            f"{what} holds {array.dtype.name if array.dtype.kind != 'O' else 'text'}, which "
            "PyTorch does not have; take that part out of the model"
        ) from error


def array_of(tensor: Tensor) -> np.ndarray:
    """The elements of a tensor as an array, without a copy where it lies on the CPU."""
    held = tensor.detach().cpu().contiguous()
    for dtype, (carrier, own) in _BYTES.items():
        if held.dtype == own:
            same = torch.int16 if carrier is np.int16 else torch.uint8
            return held.view(same).numpy().view(dtype)
    array: np.ndarray = held.numpy()
    return array


def ints(value: Tensor | None) -> list[int]:
    """Integers that steer an operation, in one row; none where there are none."""
    if value is None:
        return []
    found: list[int] = value.reshape(-1).tolist()
    return found


def like(value: Tensor, other: Tensor) -> Tensor:
    """A value on the device of another."""
    return value if value.device == other.device else value.to(other.device)


def device_of(name: str, must: bool = True) -> torch.device:
    """Where to compute: "cpu", "cuda", or "auto", which is a GPU where PyTorch has one.

    Args:
        name: of an engine of onnxruntime, or `auto`.
        must: whether "cuda" may be nothing else.

    Raises:
        UsageError: this PyTorch has no GPU, and it must be one.
    """
    there = torch.cuda.is_available()
    if must and name == "cuda" and not there:
        raise UsageError(
            "--device cuda needs a PyTorch that sees a GPU, and this one does not; install one "
            "for CUDA, or leave the option out"
        )
    return torch.device("cuda" if there and name in ("auto", "cuda") else "cpu")
