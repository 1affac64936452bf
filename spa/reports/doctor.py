"""What a bug report needs: versions, providers, limits, and what is wrong with them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from rich.console import Group, RenderableType

from spa.reports import wording
from spa.reports.screen import filled, line, table


def screen(facts: Mapping[str, object]) -> RenderableType:
    """Show single values first, then one table per section, and problems last."""
    single = {key: value for key, value in facts.items() if not _nested(key, value)}
    sections = {key: value for key, value in facts.items() if isinstance(value, Mapping)}
    problems = facts.get("problems")
    return Group(
        *(_pairs(key, section) for key, section in {"": single, **sections}.items() if section),
        *(line("Problem", words, "bad") for words in _list(problems)),
        *([line("Problems", "none", "good")] if problems == [] else []),
    )


def _list(value: object) -> Sequence[object]:
    return value if isinstance(value, Sequence) and not isinstance(value, str) else ()


def _nested(key: str, value: object) -> bool:
    return key == "problems" or isinstance(value, Mapping)


def _pairs(title: str, section: Mapping[str, object]) -> RenderableType:
    pairs = [(name, _words(value)) for name, value in section.items()]
    return filled(table("", "", left=2, title=title or None), pairs)


def _words(value: object) -> str:
    if value is None:
        return wording.NOTHING
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, Sequence) and not isinstance(value, str):
        return ", ".join(map(str, value))
    return str(value)
