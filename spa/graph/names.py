"""Names that nobody has yet."""

from __future__ import annotations

from collections.abc import Container


def unused(wanted: str, taken: Container[str], mark: str = "_") -> str:
    """`wanted`, or the first of `wanted_2`, `wanted_3`, ... that is not taken."""
    name, count = wanted, 1
    while name in taken:
        count += 1
        name = f"{wanted}{mark}{count}"
    return name
