"""HTML that cannot forget to escape: text is escaped unless an element made it."""

from __future__ import annotations

from html import escape

from spa.reports import wording

VOID = frozenset({"meta", "br"})


class Markup(str):
    """HTML already safe to embed."""

    __slots__ = ()


Child = str | Markup | int | float | None


def element(tag: str, *children: Child, **attributes: str | float | None) -> Markup:
    """Build one element; a trailing underscore keeps Python's words out of the way (`class_`)."""
    written = "".join(
        f' {name.rstrip("_").replace("_", "-")}="{escape(wording.line(value))}"'
        for name, value in attributes.items()
        if value is not None
    )
    if tag in VOID:
        return Markup(f"<{tag}{written}>")
    return Markup(f"<{tag}{written}>{join(*children)}</{tag}>")


def join(*children: Child) -> Markup:
    """Put children side by side, escaping those that are plain text."""
    return Markup("".join(_safe(child) for child in children if child is not None))


def _safe(child: Child) -> str:
    if isinstance(child, Markup):
        return child
    # The spaces around a piece separate it from its neighbours, so none is dropped.
    return escape("".join(c if c.isprintable() else " " for c in str(child)))
