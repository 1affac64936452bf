"""Arrays in a file, whatever they are called."""

from __future__ import annotations

import io

import numpy as np

from spa.storage.arrays import npz


def test_any_name_comes_back_and_no_other() -> None:
    arrays = {n: np.arange(k, dtype=np.float16) for k, n in enumerate(("file", "a/b", "args", "é"))}
    contents = npz(arrays)
    assert contents == npz(arrays)
    with np.load(io.BytesIO(contents)) as back:
        assert sorted(back) == sorted(arrays)
        for name, array in arrays.items():
            assert back[name].dtype == array.dtype
            np.testing.assert_array_equal(back[name], array)
