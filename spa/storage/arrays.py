"""Arrays as the bytes of an .npz file, under any names."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Mapping

import numpy as np


def npz(arrays: Mapping[str, np.ndarray]) -> bytes:
    """The bytes of an .npz; the same arrays give the same bytes.

    `numpy.savez` takes names as keywords, so that an input called `file` could not be written, and
    a keyword that a version does not know becomes an array.
    """
    held = io.BytesIO()
    with zipfile.ZipFile(held, "w") as file:
        for name, array in arrays.items():
            part = io.BytesIO()
            np.lib.format.write_array(part, np.asarray(array), allow_pickle=False)
            file.writestr(zipfile.ZipInfo(f"{name}.npy"), part.getvalue())
    return held.getvalue()
