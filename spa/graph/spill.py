"""Tensors that memory should not hold: in a temporary file until the process ends.

A model whose weights lie in a file of their own may be larger than memory, and half of it, too.
What is cut of it is set aside tensor by tensor, and goes from there to the output in pieces.
"""

from __future__ import annotations

import atexit

import numpy as np
from onnx import TensorProto, helper

from spa.errors import UsageError
from spa.graph.tensors import OWN_FILES, bits_of, lies_at
from spa.storage import Scratch, temporary_folder

HELD = 1 << 30  # bytes of new tensors that a model may keep in memory
LEAST = 1 << 20
CHUNK = 1 << 22


class Spill:
    """Where the large tensors of one model go once memory holds `HELD` bytes of them."""

    def __init__(self) -> None:
        self._left = HELD
        self._path = ""
        self._size = 0

    def take(self, tensor: TensorProto, name: str, array: np.ndarray) -> bool:
        """Write an array to the file and let `tensor` say where; False if memory may hold it.

        Raises:
            UsageError: there is no room for temporary files.
        """
        kind = TensorProto.UNDEFINED if array.dtype == object else _kind(array.dtype)
        if array.nbytes < LEAST or bits_of(kind) < 8:
            return False
        self._left -= array.nbytes
        if self._left >= 0:
            return False
        tensor.name, tensor.data_type = name, kind
        tensor.dims.extend(array.shape)
        begin = self._append(array)
        lies_at(tensor, self._path, begin, array.nbytes)
        return True

    def _append(self, array: np.ndarray) -> int:
        """Write the bytes of an array; where they begin."""
        begin = self._size + -self._size % 4096
        data = np.ascontiguousarray(array).view(np.uint8).reshape(-1)
        try:
            if not self._path:
                folder = Scratch()
                atexit.register(folder.remove)
                self._path = str(folder.path / "weights.data")
                with open(self._path, "xb"):
                    OWN_FILES.add(self._path)
            with open(self._path, "r+b") as file:
                for at in range(0, data.size, CHUNK):
                    piece = data[at : at + CHUNK]
                    if piece.any():  # a hole reads the same and costs nothing
                        file.seek(begin + at)
                        file.write(piece.data)
                file.truncate(begin + data.size)
        except OSError as error:
            raise UsageError(
                f"cannot set weights aside in '{temporary_folder()}' ({error.strerror}); make "
                "room there, or name another folder in the variable TMPDIR"
            ) from error
        self._size = begin + data.size
        return begin


def _kind(dtype: np.dtype) -> int:
    """The number of an element type; UNDEFINED where ONNX has none."""
    try:
        return int(helper.np_dtype_to_tensor_dtype(dtype))
    except (KeyError, ValueError, TypeError):
        return int(TensorProto.UNDEFINED)
