"""The process of an entry point: `python -m spa.check.entry module:function MODEL`.

Its standard output is the score alone: what the function prints goes to standard error.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from functools import reduce
from importlib import import_module
from typing import Any

from spa.check.own import UNKNOWN, with_rows


def main(target: str, model: str) -> int:
    """Call a function with the path of a model, and say what it returns."""
    told = os.dup(1)
    os.dup2(2, 1)
    function = _found(target)
    if isinstance(function, str):
        os.write(2, f"{function}\n".encode())
        return UNKNOWN
    value, rows = with_rows(function(model))
    os.write(told, f"{f'rows={rows} ' if rows else ''}{value!r}\n".encode())
    return 0


def _found(target: str) -> Callable[[str], Any] | str:
    """The function, or why there is none."""
    module, _, name = target.partition(":")
    try:
        found = reduce(getattr, name.split("."), import_module(module))
    except Exception as error:  # a module may raise anything while it is imported
        return f"cannot import it ({type(error).__name__}: {error})".replace("\n", " ")
    return found if callable(found) else f"{name} of {module} is no function"


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
