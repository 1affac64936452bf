"""Functions of the Python face: their sentences and docstrings say things as Python has them."""

from __future__ import annotations

import inspect as python
import re
from collections.abc import Callable
from functools import wraps
from textwrap import fill, indent
from typing import TYPE_CHECKING, Any, ParamSpec, cast

from spa.errors import SpaError
from spa.events import Callback, Event, Note
from spa.recipe import OPTIONS
from spa.spelling import in_python

if TYPE_CHECKING:
    from spa.pipeline import Result

P = ParamSpec("P")
ARGUMENTS = {
    "model": "path, bytes, stream or ModelProto; never changed.",
    "output": "where to write the model (not at all by default).",
    "force": "whether `output` may be replaced.",
    "callback": "is called with every event of progress (`spa.events`).",
}
"""What several functions take; what an option of a recipe means, its field says."""
SHELL = re.compile("; repeatable|, such as 4[MG]")
"""What a field says that only holds in a shell."""


def spoken(function: Callable[P, Result]) -> Callable[P, Result]:
    """A function whose sentences speak Python, and whose docstring has all its arguments."""

    @wraps(function)
    def call(*args: P.args, **options: P.kwargs) -> Result:
        if "callback" in options:
            options["callback"] = _spoken(cast(Callback, options["callback"]))
        try:
            result = function(*args, **options)
        except (SpaError, KeyboardInterrupt) as error:
            error.args = tuple(in_python(str(each)) for each in error.args)
            _translate(getattr(error, "report", {}))
            raise
        _translate(result.report)
        return result

    call.__doc__ = _documented(function)
    return call


def _spoken(callback: Callback) -> Callback:
    def call(event: Event) -> None:
        words = Note(in_python(event.message), event.warning) if isinstance(event, Note) else event
        callback(words)

    return call


def _translate(report: Any) -> None:
    """Let the sentences of a report, and of the rows of a sweep, speak Python."""
    for part in (report, *report.get("rows", ())):
        for name in ("warnings", "notes"):
            part.get(name, [])[:] = map(in_python, part.get(name, ()))
        if part.get("error"):
            part["error"] = in_python(part["error"])


def _documented(function: Callable[..., object]) -> str | None:
    """The docstring with all arguments, those that it lacks from `ARGUMENTS` or a field."""
    if function.__doc__ is None:  # as under -OO
        return None
    text = python.cleandoc(function.__doc__)
    own = dict(re.findall(r"^    (\w+): (.+(?:\n     +.+)*)", text, re.MULTILINE))
    known = {name: in_python(SHELL.sub("", said.help)) for name, said in OPTIONS.items()}
    known |= {**ARGUMENTS, **own}
    lines = ["Args:"]
    for name in python.signature(function).parameters:
        words = " ".join(known[name].split()).rstrip(".")
        lines.append(indent(fill(f"{name}: {words}.", 92, subsequent_indent="    "), "    "))
    section = re.compile(r"^Args:\n(?:    .*\n)+", re.MULTILINE)
    return section.sub(lambda found: "\n".join([*lines, ""]), text, count=1)
