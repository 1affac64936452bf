"""Files of checkpoints, each by its suffix: read, and written again with other tensors.

Every library is imported only for its own kind of file.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

import numpy as np

from spa.checkpoints.exported import Arrays
from spa.errors import ReadError, SpaError, UsageError, first_line, install

if TYPE_CHECKING:
    from collections.abc import Iterator

Write: TypeAlias = "Callable[[Arrays], bytes]"
Read: TypeAlias = "Callable[[Path], tuple[Arrays, Write]]"


def is_checkpoint(path: str | Path) -> bool:
    """Whether a file is a checkpoint by its suffix."""
    return Path(path).suffix.lower() in FORMATS


def opened(path: Path) -> tuple[Arrays, Write]:
    """A checkpoint's tensors by name, and what makes the bytes of such a file of others.

    Raises:
        UsageError: what reads such files is not installed.
        ReadError: the file is missing, damaged, or holds no tensors.
    """
    if not path.is_file():
        raise ReadError(f"there is no checkpoint {path}; give the file that training wrote")
    with _said(path):
        arrays, write = FORMATS[path.suffix.lower()](path)
    if not arrays:
        raise ReadError(f"the checkpoint {path} holds no tensors; give one that training wrote")
    return arrays, write


@contextmanager
def _said(path: Path) -> Iterator[None]:
    try:
        yield
    except SpaError:
        raise
    except ImportError as error:
        package = (error.name or "").partition(".")[0] or "a package"
        raise UsageError(
            f"reading {path.suffix} needs {package}, which is not installed; pip install {package}"
        ) from error
    except Exception as error:  # each library raises types of its own
        raise ReadError(
            f"the checkpoint {path} cannot be read ({first_line(error)}); save it once more"
        ) from error


def _npz(path: Path) -> tuple[Arrays, Write]:
    def write(arrays: Arrays) -> bytes:
        made = io.BytesIO()
        np.savez(made, **arrays)  # type: ignore[arg-type]
        return made.getvalue()

    with np.load(path, allow_pickle=False) as file:
        return dict(file), write


def _safetensors(path: Path) -> tuple[Arrays, Write]:
    from safetensors import SafetensorError, safe_open
    from safetensors.numpy import load_file, save

    try:
        arrays = load_file(path)
    except (KeyError, TypeError, SafetensorError):  # bfloat16, which numpy lacks, or damaged
        import spa.torch.files

        return spa.torch.files.safetensors(path)
    with safe_open(path, "np") as file:
        metadata = file.metadata()
    return arrays, lambda new: save(dict(new), metadata)


def _torch(path: Path) -> tuple[Arrays, Write]:
    try:
        import spa.torch.files
    except ImportError as error:
        raise UsageError(
            f"reading {path.suffix} needs PyTorch, which is not installed; {install('torch')}"
        ) from error
    return spa.torch.files.pickled(path)


def _h5(path: Path) -> tuple[Arrays, Write]:
    import h5py

    arrays: dict[str, np.ndarray] = {}

    def collect(name: str, item: object) -> None:
        if isinstance(item, h5py.Dataset) and item.dtype.kind in "fiub":
            arrays[name] = item[()]

    def write(new: Arrays) -> bytes:
        made = io.BytesIO()
        with h5py.File(path, "r") as old, h5py.File(made, "w") as file:
            for key, value in old.attrs.items():
                file.attrs[key] = value
            for key in old:
                old.copy(key, file)
            for name, array in new.items():
                if file[name].shape != array.shape:
                    attributes = dict(file[name].attrs)
                    del file[name]
                    file[name] = array
                    file[name].attrs.update(attributes)
                else:
                    file[name][...] = array
        return made.getvalue()

    with h5py.File(path, "r") as file:
        file.visititems(collect)
    return arrays, write


FORMATS: Mapping[str, Read] = {
    ".safetensors": _safetensors,
    ".npz": _npz,
    ".h5": _h5,
    ".hdf5": _h5,
    ".pt": _torch,
    ".pth": _torch,
    ".bin": _torch,
    ".ckpt": _torch,
}
"""What reads a checkpoint, by its suffix."""
