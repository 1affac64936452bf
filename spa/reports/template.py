"""Templates (Jinja2): whatever they print is made harmless for the file they make, unasked.

A value is printed as one line without control characters, and escaped for HTML, XML and SVG, or for
Markdown in templates named `*.md.j2`; only what a template or a macro wrote stays markup.
"""

from __future__ import annotations

import re
from functools import cache
from typing import TYPE_CHECKING

from spa.reports import wording

if TYPE_CHECKING:
    from jinja2 import Environment

FILTERS = ("change", "count", "measure", "milliseconds", "percent", "plural", "seconds", "size")
WIDTH = 1000  # of a bar's box


def render(name: str, **values: object) -> str:
    """Fill in a template; blank lines that nothing stands between are one."""
    text = _environment().get_template(f"{name}.j2").render(values)
    return re.sub(r"\n\s*\n\s*\n", "\n\n", text).strip() + "\n"


@cache
def _environment() -> Environment:
    from jinja2 import Environment, PackageLoader, StrictUndefined, pass_context
    from jinja2.runtime import Context
    from markupsafe import Markup

    @pass_context
    def harmless(context: Context, value: object) -> object:
        if value is None or isinstance(value, Markup):
            return Markup(value or "")
        words = wording.printable(value)
        in_markdown = str(context.name).endswith(".md.j2")
        return Markup(markdown(words)) if in_markdown else words

    made = Environment(
        loader=PackageLoader("spa.reports"),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=harmless,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters |= {name: getattr(wording, name) for name in FILTERS}
    made.filters |= {"width": width, "at": "{:.1f}".format, "whole": "{:,}".format}
    return made


def markdown(words: str) -> str:
    """Escape what Markdown or HTML would read as markup."""
    return re.sub(r"([\\`*_\[\]<>|~#&])", r"\\\1", words)


def width(amount: float, longest: float) -> str:
    """The width of a box; what exists gets a hair, as none would read as "no channels"."""
    return f"{max(WIDTH * amount / (longest or 1), 2 if amount > 0 else 0):.1f}"
