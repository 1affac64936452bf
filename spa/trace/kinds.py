"""Types of tensors: in which channels may be stored."""

from __future__ import annotations

import numpy as np

SHORT = frozenset(f"int{bits}" for bits in (2, 4, 8, 16))
"""What quantised numbers are stored in; longer integers are ids, sizes and sums."""


def is_float(dtype: np.dtype | None) -> bool:
    """Whether a numpy or ml_dtypes type is a floating-point type."""
    return dtype is not None and (
        np.issubdtype(dtype, np.floating) or "float" in getattr(dtype, "name", "")
    )


def is_number(dtype: np.dtype | None) -> bool:
    """Whether channels may be stored in a type: floating-point, or integers of few bits."""
    name = "" if dtype is None else np.dtype(dtype).name
    return is_float(dtype) or name.lstrip("u") in SHORT
